"""Update rules over the trial axis, equal to torch.optim's step for step.

Parameters, gradients and state are lists of matrices with a row per trial; rates, momentum and decay are
columns (K, 1), so every trial may have its own. The _foreach functions take a whole list in one call.
Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; NAdam: Dozat 2016.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bnexp.config.train import TrainSettings
from bnexp.nn.shards import Matrices
from bnexp.training.numerics import totals_dtype

ADAM_EPS = 1e-8
RMSPROP_ALPHA = 0.99
NADAM_MOMENTUM_DECAY = 4e-3

Column = Float[Tensor, "K 1"]


class Optimizer(ABC):
    """One update rule with its state.

    Args:
        settings: of each trial, equal in the optimiser and its betas.
        thetas: the parameters to update, in place.
        decayed: to which of them weight decay applies, unless decay_all is set.
    """

    def __init__(self, settings: Sequence[TrainSettings], thetas: Matrices, decayed: Sequence[bool]):
        self._thetas, like = list(thetas), thetas[0]
        self._matrices: dict[str, list[Tensor]] = {}
        self._columns: dict[str, Column] = {}
        self._betas = settings[0].betas
        self._momentum_K1 = like.new_tensor([train.momentum for train in settings])[:, None]
        rates = [train.weight_decay for train in settings]
        # A rate of 0 for what isn't decayed; no list at all where nothing is.
        rate_K1, zero_K1 = like.new_tensor(rates)[:, None], like.new_zeros(len(like), 1)
        each = [rate_K1 if settings[0].decay_all or flag else zero_K1 for flag in decayed]
        self._decays = each if any(rates) else None

    @property
    def state(self) -> dict[str, Tensor]:
        """Tensors with K in front: all that continuing needs."""
        numbered = {f"{name}.{i}": each for name, list_ in self._matrices.items() for i, each in enumerate(list_)}
        return numbered | self._columns

    @abstractmethod
    def step(self, grads: Matrices, rate_K1: Column) -> None:
        """Update the parameters."""

    def _remember(self, name: str) -> None:
        self._matrices[name] = [torch.zeros_like(theta_KP) for theta_KP in self._thetas]

    def _l2(self, grads: Matrices) -> list[Tensor]:
        """Return the gradient with the penalty's gradient added."""
        if self._decays is None:
            return list(grads)
        return list(torch._foreach_addcmul(list(grads), self._thetas, self._decays))

    def _velocities(self, directions: list[Tensor]) -> list[Tensor]:
        """Return the running sums of momentum with the directions added; these themselves without momentum."""
        if velocities := self._matrices.get("velocity"):
            torch._foreach_mul_(velocities, self._each(self._momentum_K1))
            torch._foreach_add_(velocities, directions)
        return velocities or directions

    def _each(self, column_K1: Column) -> list[Column]:
        return [column_K1] * len(self._thetas)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, also in Nesterov's form."""

    def __init__(self, settings: Sequence[TrainSettings], thetas: Matrices, decayed: Sequence[bool]):
        super().__init__(settings, thetas, decayed)
        self._nesterov = settings[0].nesterov
        if any(train.momentum for train in settings):
            self._remember("velocity")

    def step(self, grads: Matrices, rate_K1: Column) -> None:
        penalised = self._l2(grads)
        directions = self._velocities(penalised)
        if self._nesterov:
            directions = list(torch._foreach_addcmul(penalised, directions, self._each(self._momentum_K1)))
        torch._foreach_addcmul_(self._thetas, directions, self._each(rate_K1), value=-1)


class Adam(Optimizer):
    """Adam with the penalty in the gradient (adam) or decoupled from it (adamw)."""

    decoupled = False

    def __init__(self, settings: Sequence[TrainSettings], thetas: Matrices, decayed: Sequence[bool]):
        super().__init__(settings, thetas, decayed)
        self._remember("first")
        self._remember("second")
        self._columns["count"] = thetas[0].new_zeros(len(settings), 1, dtype=totals_dtype(thetas[0].device))

    def step(self, grads: Matrices, rate_K1: Column) -> None:
        """Make one update of every trial from its gradients, at its rate."""
        if not self.decoupled:
            grads = self._l2(grads)
        elif self._decays is not None:
            torch._foreach_mul_(self._thetas, [1 - rate_K1 * decay_K1 for decay_K1 in self._decays])
        beta1, beta2 = self._betas
        count_K1 = self._columns["count"].add_(1)
        firsts, seconds = self._matrices["first"], self._matrices["second"]
        torch._foreach_lerp_(firsts, list(grads), 1 - beta1)
        torch._foreach_mul_(seconds, beta2)
        torch._foreach_addcmul_(seconds, list(grads), list(grads), value=1 - beta2)
        roots = list(torch._foreach_sqrt(seconds))
        torch._foreach_div_(roots, self._each((1 - beta2**count_K1).sqrt().to(rate_K1)))
        torch._foreach_add_(roots, ADAM_EPS)
        torch._foreach_addcdiv_(self._thetas, self._directions(list(grads), rate_K1), roots, value=-1)

    def _directions(self, grads: list[Tensor], rate_K1: Column) -> list[Tensor]:
        """Return the rate times the mean gradient, corrected for its start at zero."""
        corrected_K1 = rate_K1 / (1 - self._betas[0] ** self._columns["count"]).to(rate_K1)
        return list(torch._foreach_mul(self._matrices["first"], self._each(corrected_K1)))


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    decoupled = True


class NAdam(Adam):
    """Adam with Nesterov momentum whose coefficient warms up."""

    def __init__(self, settings: Sequence[TrainSettings], thetas: Matrices, decayed: Sequence[bool]):
        super().__init__(settings, thetas, decayed)
        self._columns["product"] = torch.ones_like(self._columns["count"])

    def _directions(self, grads: list[Tensor], rate_K1: Column) -> list[Tensor]:
        count_K1, beta1 = self._columns["count"], self._betas[0]
        now_K1, next_K1 = (beta1 * (1 - 0.5 * 0.96 ** (t * NADAM_MOMENTUM_DECAY)) for t in (count_K1, count_K1 + 1))
        product_K1 = self._columns["product"].mul_(now_K1)
        grad_share_K1 = rate_K1 * ((1 - now_K1) / (1 - product_K1)).to(rate_K1)
        first_share_K1 = rate_K1 * (next_K1 / (1 - product_K1 * next_K1)).to(rate_K1)
        directions = list(torch._foreach_mul(grads, self._each(grad_share_K1)))
        torch._foreach_addcmul_(directions, self._matrices["first"], self._each(first_share_K1))
        return directions


class RMSprop(Optimizer):
    """The gradient over the root of its running square (Tieleman & Hinton 2012), with optional momentum."""

    def __init__(self, settings: Sequence[TrainSettings], thetas: Matrices, decayed: Sequence[bool]):
        super().__init__(settings, thetas, decayed)
        self._remember("square")
        if any(train.momentum for train in settings):
            self._remember("velocity")

    def step(self, grads: Matrices, rate_K1: Column) -> None:
        penalised, squares = self._l2(grads), self._matrices["square"]
        torch._foreach_mul_(squares, RMSPROP_ALPHA)
        torch._foreach_addcmul_(squares, penalised, penalised, value=1 - RMSPROP_ALPHA)
        roots = list(torch._foreach_sqrt(squares))
        torch._foreach_add_(roots, ADAM_EPS)
        directions = self._velocities(list(torch._foreach_div(penalised, roots)))
        torch._foreach_addcmul_(self._thetas, directions, self._each(rate_K1), value=-1)
