"""Batch norm in recurrent layers, with statistics of every time step (Cooijmans et al. 2017, arXiv:1603.09025).

Shapes: T time steps, R rows of statistics: one for each step, or one for all; N samples: the batch of one step, or the
batches of all steps one after the other.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from bnexp.config.norm import NormSettings
from bnexp.nn.norm import BatchNorm


class StepBatchNorm(BatchNorm):
    """Normalises every feature over the batch, each time step by itself; γ and β are shared by the steps.

    In evaluation a step has running statistics of its own, or where `steps` says shared the mean over all steps, of
    batch means and of variances within a step. Both are updated once a pass, when the last step has been seen.

    Args:
        trials, features: K, C.
        settings: of the norm.
        steps: T.

    Attributes:
        running_mean, running_var: (K, R, C).
    """

    def __init__(self, trials: int, features: int, settings: NormSettings, steps: int):
        super().__init__(trials, features, settings)
        self.steps = steps
        rows = steps if settings.steps == "each" else 1
        self.running_mean = torch.zeros(trials, rows, features)
        self.running_var = torch.ones(trials, rows, features)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x_KNC: Float[Tensor, "K N C"], step: int | None = None) -> Float[Tensor, "K N C"]:
        """Normalise one step, or without its number all of them at once.

        In training every step passes once, the first one first.

        Raises:
            ValueError: a batch of one in training mode.
        """
        trials, samples, features = x_KNC.shape
        steps = self.steps if step is None else 1
        # As it lies in memory: channels are (K, C, T).
        x_1DB = x_KNC.mT.reshape(1, trials * features * steps, -1)
        mean_D, var_D = self._blank(x_1DB) if self.training else self._kept(step)
        gamma_D, beta_D = (each[..., None].expand(-1, -1, steps).flatten() for each in (self.gamma, self.beta))
        # With a momentum of 1 the statistics of this batch alone are left in its arguments.
        y_1DB = F.batch_norm(x_1DB, mean_D, var_D, gamma_D, beta_D, self.training, 1.0, self.eps)
        if self.training:
            mean_KCT, var_KCT = (each.view(trials, features, steps) for each in (mean_D, var_D))
            self._learn(mean_KCT.mT, var_KCT.mT, step)
        return y_1DB.view(trials, features, samples).mT

    def _blank(self, x_1DB: Float[Tensor, "1 D B"]) -> tuple[Tensor, Tensor]:
        return self.gamma.new_zeros(x_1DB.shape[1]), self.gamma.new_zeros(x_1DB.shape[1])

    def _kept(self, step: int | None) -> tuple[Tensor, ...]:
        which = slice(None) if step is None else slice(step, step + 1)
        kept = (self.running_mean, self.running_var)
        return tuple(each.expand(-1, self.steps, -1)[:, which].mT.flatten() for each in kept)

    def _learn(self, mean_KTC: Float[Tensor, "K T C"], var_KTC: Float[Tensor, "K T C"], step: int | None) -> None:
        """Let the running statistics learn of a batch once all of its steps have passed."""
        if not step:
            self._seen.clear()  # of a pass that was broken off
        self._seen.append((mean_KTC, var_KTC))
        if step in (None, self.steps - 1):
            means, variances = zip(*self._seen, strict=True)
            self._seen.clear()
            for running_KRC, seen in ((self.running_mean, means), (self.running_var, variances)):
                batch_KTC = torch.cat(seen, 1)
                shared = running_KRC.shape[1] < self.steps
                running_KRC.lerp_(batch_KTC.mean(1, keepdim=True) if shared else batch_KTC, self.momentum)
