"""Update rules over the trial axis, equal to torch.optim's step for step.

Parameters, gradients and state are lists of matrices in which every row belongs to a trial; rates, momentum and decay
are columns with a number per row, so every trial may have its own. The _foreach functions take a whole list at once. On
a CPU there is a matrix for each learned tensor, with a row per trial. On a GPU, where a call costs more than its
arithmetic, there is one matrix over the buffer that holds all tensors: its rows have the greatest length that divides
all tensors, so one trial has many rows. A rate that all trials share is a single number there.

Shapes: R rows; a matrix of a learned tensor has K.

Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; NAdam: Dozat 2016.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from bnexp.config.train import TrainSettings
from bnexp.nn.shards import Matrices, Parts
from bnexp.training.numerics import totals_dtype
from bnexp.training.schedules import same_rates

ADAM_EPS = 1e-8
RMSPROP_ALPHA = 0.99
NADAM_MOMENTUM_DECAY = 4e-3

PerTrial = Float[Tensor, "K 1"]
PerRow = Float[Tensor, "#R 1"]
"""A column with a number for each row, or a single number for all of them."""
Rows = Sequence[Float[Tensor, "R _"]]
"""Matrices that are updated at once."""


class Optimizer(ABC):
    """One update rule with its state.

    Args:
        settings: of each trial, equal in the optimiser and its betas.
        thetas: the parameters to update, in place: a matrix for each learned tensor.
        decayed: to which of them weight decay applies, unless decay_all is set.
        buffer: all their numbers, one tensor after the other, if they are in one buffer.
    """

    def __init__(
        self,
        settings: Sequence[TrainSettings],
        thetas: Matrices,
        decayed: Sequence[bool],
        buffer: Float[Tensor, " P"] | None = None,
    ):
        self._tensors, self._buffer, like = list(thetas), buffer, thetas[0]
        width = math.gcd(*(theta_KP.shape[1] for theta_KP in thetas))
        self._thetas = self._tensors if buffer is None else [buffer.view(-1, width)]
        self._one_rate = same_rates(settings)
        if buffer is not None:
            trial_K1 = torch.arange(len(settings), dtype=torch.int32)[:, None].to(like.device)
            self._trial_R = self._by_row([trial_K1] * len(thetas))[0].flatten()
        self._matrices: dict[str, list[Tensor]] = {}
        self._columns: dict[str, PerTrial] = {}
        self._betas = settings[0].betas
        momentum_K1 = like.new_tensor([train.momentum for train in settings])[:, None]
        self._momenta = self._each(self._by_row([momentum_K1] * len(thetas))[0])
        self._decays: list[PerRow] | None = None
        if any(rates := [train.weight_decay for train in settings]):
            rate_K1 = like.new_tensor(rates)[:, None]
            self._decays = self._by_row([rate_K1 * (settings[0].decay_all or flag) for flag in decayed])

    @property
    def state(self) -> dict[str, Tensor]:
        """Tensors with K in front: all that continuing needs."""
        numbered = {f"{name}.{i}": each for name in self._matrices for i, each in enumerate(self._by_tensor(name))}
        return numbered | self._columns

    def joined(self, parts: Parts) -> Rows:
        """Join the gradients of neighbouring trials into that of all, a matrix for each of the parameters."""
        if self._buffer is not None:
            pieces = [part_KP.flatten() for same in zip(*parts, strict=True) for part_KP in same]
            return [torch.cat(pieces).view_as(self._thetas[0])]
        return parts[0] if len(parts) == 1 else [torch.cat(same) for same in zip(*parts, strict=True)]

    def update(self, gradient: Rows, rate_K1: PerTrial) -> None:
        """Update the parameters, with a gradient from `joined` and a rate for each trial."""
        self.step(gradient, self._per_row(rate_K1))

    @abstractmethod
    def step(self, grads: Rows, rate_R1: PerRow) -> None:
        """Update the parameters; matrices and rates have equal rows."""

    def _by_row(self, columns: Sequence[Shaped[Tensor, "K 1"]]) -> list[Shaped[Tensor, "R 1"]]:
        """Return columns for the matrices, from one for each learned tensor."""
        if self._buffer is None:
            return list(columns)
        width, pairs = self._thetas[0].shape[1], zip(columns, self._tensors, strict=True)
        rows = [each_K1.expand(-1, theta_KP.shape[1] // width).reshape(-1, 1) for each_K1, theta_KP in pairs]
        return [torch.cat(rows)]

    def _per_row(self, column_K1: PerTrial) -> PerRow:
        """Return a number for each row, computed from rates and steps; a single number if all trials have one rate."""
        if self._buffer is None:
            return column_K1
        return column_K1[:1] if self._one_rate else column_K1.index_select(0, self._trial_R)

    def _each(self, column_R1: PerRow) -> list[PerRow]:
        """Return a column for each matrix."""
        return [column_R1] * len(self._thetas)

    def _by_tensor(self, name: str) -> list[Tensor]:
        """Return the state of each learned tensor."""
        if self._buffer is None:
            return self._matrices[name]
        pieces = self._matrices[name][0].view(-1).split([theta_KP.numel() for theta_KP in self._tensors])
        return [piece.view_as(theta_KP) for piece, theta_KP in zip(pieces, self._tensors, strict=True)]

    def _remember(self, name: str) -> None:
        self._matrices[name] = [torch.zeros_like(theta_KP) for theta_KP in self._thetas]

    def _l2(self, grads: Rows) -> list[Tensor]:
        """Return the gradient with the penalty's gradient added."""
        if self._decays is None:
            return list(grads)
        return list(torch._foreach_addcmul(list(grads), self._thetas, self._decays))

    def _velocities(self, directions: list[Tensor]) -> list[Tensor]:
        """Return the running sums of momentum after adding the directions; without momentum, the directions."""
        if velocities := self._matrices.get("velocity"):
            torch._foreach_mul_(velocities, self._momenta)
            torch._foreach_add_(velocities, directions)
        return velocities or directions


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, also in Nesterov's form."""

    def __init__(self, settings: Sequence[TrainSettings], *tensors: Any):
        super().__init__(settings, *tensors)
        self._nesterov = settings[0].nesterov
        if any(train.momentum for train in settings):
            self._remember("velocity")

    def step(self, grads: Rows, rate_R1: PerRow) -> None:
        penalised = self._l2(grads)
        directions = self._velocities(penalised)
        if self._nesterov:
            directions = list(torch._foreach_addcmul(penalised, directions, self._momenta))
        torch._foreach_addcmul_(self._thetas, directions, self._each(rate_R1), value=-1)


class Adam(Optimizer):
    """Adam with the penalty in the gradient (adam) or decoupled from it (adamw)."""

    decoupled = False

    def __init__(self, settings: Sequence[TrainSettings], *tensors: Any):
        super().__init__(settings, *tensors)
        self._remember("first")
        self._remember("second")
        like = self._tensors[0]
        self._columns["count"] = like.new_zeros(len(settings), 1, dtype=totals_dtype(like.device))

    def step(self, grads: Rows, rate_R1: PerRow) -> None:
        """Make one update of every trial from its gradients, at its rate."""
        if not self.decoupled:
            grads = self._l2(grads)
        elif self._decays is not None:
            torch._foreach_mul_(self._thetas, [1 - rate_R1 * decay_R1 for decay_R1 in self._decays])
        beta1, beta2 = self._betas
        count_K1 = self._columns["count"].add_(1)
        firsts, seconds = self._matrices["first"], self._matrices["second"]
        torch._foreach_lerp_(firsts, list(grads), 1 - beta1)
        torch._foreach_mul_(seconds, beta2)
        torch._foreach_addcmul_(seconds, list(grads), list(grads), value=1 - beta2)
        roots = list(torch._foreach_sqrt(seconds))
        torch._foreach_div_(roots, self._each(self._per_row((1 - beta2**count_K1).sqrt().to(rate_R1))))
        torch._foreach_add_(roots, ADAM_EPS)
        torch._foreach_addcdiv_(self._thetas, self._directions(list(grads), rate_R1), roots, value=-1)

    def _directions(self, grads: list[Tensor], rate_R1: PerRow) -> list[Tensor]:
        """Return the rate times the mean gradient, corrected for its start at zero."""
        corrected_R1 = rate_R1 / self._per_row((1 - self._betas[0] ** self._columns["count"]).to(rate_R1))
        return list(torch._foreach_mul(self._matrices["first"], self._each(corrected_R1)))


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    decoupled = True


class NAdam(Adam):
    """Adam with Nesterov momentum whose coefficient warms up."""

    def __init__(self, settings: Sequence[TrainSettings], *tensors: Any):
        super().__init__(settings, *tensors)
        self._columns["product"] = torch.ones_like(self._columns["count"])

    def _directions(self, grads: list[Tensor], rate_R1: PerRow) -> list[Tensor]:
        count_K1, beta1 = self._columns["count"], self._betas[0]
        now_K1, next_K1 = (beta1 * (1 - 0.5 * 0.96 ** (t * NADAM_MOMENTUM_DECAY)) for t in (count_K1, count_K1 + 1))
        product_K1 = self._columns["product"].mul_(now_K1)
        grad_share_R1 = rate_R1 * self._per_row(((1 - now_K1) / (1 - product_K1)).to(rate_R1))
        first_share_R1 = rate_R1 * self._per_row((next_K1 / (1 - product_K1 * next_K1)).to(rate_R1))
        directions = list(torch._foreach_mul(grads, self._each(grad_share_R1)))
        torch._foreach_addcmul_(directions, self._matrices["first"], self._each(first_share_R1))
        return directions


class RMSprop(Optimizer):
    """The gradient over the root of its running square (Tieleman & Hinton 2012), with optional momentum."""

    def __init__(self, settings: Sequence[TrainSettings], *tensors: Any):
        super().__init__(settings, *tensors)
        self._remember("square")
        if any(train.momentum for train in settings):
            self._remember("velocity")

    def step(self, grads: Rows, rate_R1: PerRow) -> None:
        penalised, squares = self._l2(grads), self._matrices["square"]
        torch._foreach_mul_(squares, RMSPROP_ALPHA)
        torch._foreach_addcmul_(squares, penalised, penalised, value=1 - RMSPROP_ALPHA)
        roots = list(torch._foreach_sqrt(squares))
        torch._foreach_add_(roots, ADAM_EPS)
        directions = self._velocities(list(torch._foreach_div(penalised, roots)))
        torch._foreach_addcmul_(self._thetas, directions, self._each(rate_R1), value=-1)
