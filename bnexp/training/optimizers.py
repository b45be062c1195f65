"""Update rules over the trial axis, equal to torch.optim's step for step.

Parameters, gradients and state are matrices (K, P); rates, momentum and decay are columns (K, 1), so
every trial may have its own. Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; NAdam: Dozat 2016.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bnexp.config.train import TrainSettings

ADAM_EPS = 1e-8
RMSPROP_ALPHA = 0.99
NADAM_MOMENTUM_DECAY = 4e-3

Matrix = Float[Tensor, "K P"]
Column = Float[Tensor, "K 1"]


class Decay:
    """Weight decay of K trials on the columns that it applies to.

    Args:
        settings: of each trial.
        decayed_P: columns that are decayed unless decay_all is set.
        like: the parameters, for device and precision.
    """

    def __init__(self, settings: Sequence[TrainSettings], decayed_P: Bool[Tensor, " P"], like: Matrix):
        rates = [train.weight_decay for train in settings]
        mask_P = torch.ones_like(decayed_P) if settings[0].decay_all else decayed_P
        self._rate_KP = like.new_tensor(rates)[:, None] * mask_P if any(rates) else None

    def l2(self, theta_KP: Matrix, grad_KP: Matrix) -> Matrix:
        """Return the gradient with the penalty's gradient added."""
        return grad_KP if self._rate_KP is None else torch.addcmul(grad_KP, theta_KP, self._rate_KP)

    def decoupled(self, theta_KP: Matrix, rate_K1: Column) -> None:
        """Shrink the parameters themselves, in place."""
        if self._rate_KP is not None:
            theta_KP.mul_(1 - rate_K1 * self._rate_KP)


class Optimizer(ABC):
    """One update rule with its state.

    Args:
        settings: of each trial, equal in the optimiser and its betas.
        decay: their weight decay.
        theta_KP: the parameters that will be updated.
    """

    state: dict[str, Tensor]
    """Tensors with K in front: all that continuing needs."""

    @abstractmethod
    def __init__(self, settings: Sequence[TrainSettings], decay: Decay, theta_KP: Matrix): ...

    @abstractmethod
    def step(self, theta_KP: Matrix, grad_KP: Matrix, rate_K1: Column) -> None:
        """Update the parameters in place."""


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, also in Nesterov's form."""

    def __init__(self, settings: Sequence[TrainSettings], decay: Decay, theta_KP: Matrix):
        momenta = [train.momentum for train in settings]
        self._decay, self._nesterov = decay, settings[0].nesterov
        self._momentum_K1 = theta_KP.new_tensor(momenta)[:, None]
        self.state = {"velocity": torch.zeros_like(theta_KP)} if any(momenta) else {}

    def step(self, theta_KP: Matrix, grad_KP: Matrix, rate_K1: Column) -> None:
        grad_KP = self._decay.l2(theta_KP, grad_KP)
        if self.state:
            velocity_KP = self.state["velocity"].mul_(self._momentum_K1).add_(grad_KP)
            grad_KP = torch.addcmul(grad_KP, velocity_KP, self._momentum_K1) if self._nesterov else velocity_KP
        theta_KP.addcmul_(grad_KP, rate_K1, value=-1)


class Adam(Optimizer):
    """Adam with the penalty in the gradient (adam) or decoupled from it (adamw)."""

    decoupled = False

    def __init__(self, settings: Sequence[TrainSettings], decay: Decay, theta_KP: Matrix):
        self._decay, self._betas = decay, settings[0].betas
        count_K1 = theta_KP.new_zeros(len(theta_KP), 1, dtype=torch.float64)
        self.state = {"first": torch.zeros_like(theta_KP), "second": torch.zeros_like(theta_KP), "count": count_K1}

    def step(self, theta_KP: Matrix, grad_KP: Matrix, rate_K1: Column) -> None:
        if self.decoupled:
            self._decay.decoupled(theta_KP, rate_K1)
        else:
            grad_KP = self._decay.l2(theta_KP, grad_KP)
        beta1, beta2 = self._betas
        count_K1 = self.state["count"].add_(1)
        first_KP = self.state["first"].lerp_(grad_KP, 1 - beta1)
        second_KP = self.state["second"].mul_(beta2).addcmul_(grad_KP, grad_KP, value=1 - beta2)
        root_KP = second_KP.sqrt().div_((1 - beta2**count_K1).sqrt().to(theta_KP)).add_(ADAM_EPS)
        self._apply(theta_KP, grad_KP, first_KP, root_KP, rate_K1)

    def _apply(self, theta_KP: Matrix, grad_KP: Matrix, first_KP: Matrix, root_KP: Matrix, rate_K1: Column) -> None:
        corrected_K1 = rate_K1 / (1 - self._betas[0] ** self.state["count"]).to(theta_KP)
        theta_KP.addcdiv_(first_KP * corrected_K1, root_KP, value=-1)


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    decoupled = True


class NAdam(Adam):
    """Adam with Nesterov momentum whose coefficient warms up."""

    def __init__(self, settings: Sequence[TrainSettings], decay: Decay, theta_KP: Matrix):
        super().__init__(settings, decay, theta_KP)
        self.state["product"] = torch.ones_like(self.state["count"])

    def _apply(self, theta_KP: Matrix, grad_KP: Matrix, first_KP: Matrix, root_KP: Matrix, rate_K1: Column) -> None:
        count_K1, beta1 = self.state["count"], self._betas[0]
        now_K1, next_K1 = (beta1 * (1 - 0.5 * 0.96 ** (t * NADAM_MOMENTUM_DECAY)) for t in (count_K1, count_K1 + 1))
        product_K1 = self.state["product"].mul_(now_K1)
        grad_share_K1 = ((1 - now_K1) / (1 - product_K1)).to(theta_KP)
        first_share_K1 = (next_K1 / (1 - product_K1 * next_K1)).to(theta_KP)
        direction_KP = torch.addcmul(grad_KP * grad_share_K1, first_KP, first_share_K1)
        theta_KP.addcdiv_(direction_KP * rate_K1, root_KP, value=-1)


class RMSprop(Optimizer):
    """The gradient over the root of its running square (Tieleman & Hinton 2012), with optional momentum."""

    def __init__(self, settings: Sequence[TrainSettings], decay: Decay, theta_KP: Matrix):
        momenta = [train.momentum for train in settings]
        self._decay = decay
        self._momentum_K1 = theta_KP.new_tensor(momenta)[:, None]
        self.state = {"square": torch.zeros_like(theta_KP)}
        if any(momenta):
            self.state["velocity"] = torch.zeros_like(theta_KP)

    def step(self, theta_KP: Matrix, grad_KP: Matrix, rate_K1: Column) -> None:
        grad_KP = self._decay.l2(theta_KP, grad_KP)
        square_KP = self.state["square"].mul_(RMSPROP_ALPHA).addcmul_(grad_KP, grad_KP, value=1 - RMSPROP_ALPHA)
        direction_KP = grad_KP / square_KP.sqrt().add_(ADAM_EPS)
        if "velocity" in self.state:
            direction_KP = self.state["velocity"].mul_(self._momentum_K1).add_(direction_KP)
        theta_KP.addcmul_(direction_KP, rate_K1, value=-1)


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "nadam": NAdam, "rmsprop": RMSprop}
"""Update rules by the name in train.optimizer."""
