"""Normalisation layers for K trials at once: what all kinds share, batch norm, and the noise of noisy_batch.

Batch norm: Ioffe & Szegedy 2015, arXiv:1502.03167; in recurrent layers Cooijmans et al. 2017, arXiv:1603.09025. Noise:
Santurkar et al. 2018, arXiv:1805.11604, appendix A. Initialising them draws nothing: γ = 1 or norm.gamma, β = 0.

Shapes: T time steps; R rows of statistics, one for each step or one for all; N samples, the batch of one step or the
batches of all steps one after the other; P parts of them, G slices of a batch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.config.norm import NormSettings
from bnexp.nn.layers import Activations, draws_for
from bnexp.nn.plain_layers import Converter, layer_from_state
from bnexp.streams import TrialRandom


class Norm(nn.Module):
    """Base of all kinds: γ and β of every trial and feature, each learned or fixed at its start.

    Attributes:
        gamma, beta: (K, C).
    """

    gamma: Tensor
    beta: Tensor

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__()
        self.eps = 1e-5 if settings.eps is None else settings.eps
        for name, start in (("gamma", settings.gamma or 1.0), ("beta", 0.0)):
            # In float64, which the network then rounds to its own precision.
            start_KC = torch.full((trials, features), start, dtype=torch.float64)
            if settings.affine in (None, "both", name):
                setattr(self, name, nn.Parameter(start_KC))
            else:
                self.register_buffer(name, start_KC, persistent=False)

    @classmethod
    def for_steps(cls, trials: int, features: int, settings: NormSettings, steps: int) -> "Norm":
        """Return the layer for recurrent networks of so many time steps."""
        return cls(trials, features, settings)

    def forward(self, x: Activations, step: int | None = None) -> Activations:
        """Normalise activations in either layout; layers `for_steps` get the time step, or all steps without it."""
        return self.features(x) if x.ndim == 3 else self.images(x)

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Normalise outputs of fully connected layers; in training a batch of one may be refused by a ValueError."""
        raise NotImplementedError

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        """Normalise outputs of convolutions."""
        raise NotImplementedError

    def scale_and_shift(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Return γ x + β."""
        return torch.addcmul(self.beta[:, None], x_KBC, self.gamma[:, None])

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        """Yield what the first trial's layer does in evaluation, as a layer that torch or `plain_layers` has."""
        raise NotImplementedError(f"{type(self).__name__} can't be exported")

    def _scale_and_shift_state(self) -> dict[str, Tensor]:
        return {"weight": self.gamma[0], "bias": self.beta[0]}


def scale_channels(
    x: Float[Tensor, "_ D *places"], scale_D: Float[Tensor, " D"], shift_D: Float[Tensor, " D"]
) -> Float[Tensor, "_ D *places"]:
    """Return scale · x + shift in the type of x, by the kernels of batch norm, which read x only once."""
    zeros_D = torch.zeros_like(shift_D)
    return F.batch_norm(x, zeros_D, torch.ones_like(zeros_D), scale_D, shift_D, training=False, eps=NEGLIGIBLE)


NEGLIGIBLE = 1e-30
"""Changes nothing when added to 1."""


def as_channels(
    normalize: Callable[[Float[Tensor, "1 D B"]], Float[Tensor, "1 D B"]], x_KBC: Float[Tensor, "K B C"]
) -> Float[Tensor, "K B C"]:
    """Normalise the features of all trials as K·C channels, in the order in which `linear` leaves them in memory."""
    trials, batch, features = x_KBC.shape
    y_1DB = normalize(x_KBC.mT.reshape(1, trials * features, batch))
    return y_1DB.view(trials, features, batch).mT


class RunningNorm(Norm):
    """Base of kinds that normalise over the batch, and in evaluation with running statistics.

    In images all places count as well. The channels of all trials, K·C, pass at once; so every trial has the same
    statistics as alone. `momentum` weights the newest batch.

    Attributes:
        starts: the names of running statistics (K, C), each with its start.
        over: images whose statistics are taken together in training; None: those of a batch.
        averages_in_training: whether the running statistics also have a part in training.
        frozen: whether training also normalises with the running statistics, and doesn't change them.
    """

    starts: ClassVar[Mapping[str, float]]
    averages_in_training = False
    frozen = False

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        self.momentum, self.over = settings.momentum or 0.1, settings.over
        for name, start in self.starts.items():
            self.register_buffer(name, torch.full((trials, features), start))

    def slices(self, images: int) -> int:
        """Return the number of equal parts into which a batch is cut; each part is normalised by itself."""
        return images // self.over if self.over and self.training and images > self.over else 1

    def forward(self, x: Activations, step: int | None = None) -> Activations:
        """Normalise, in training slice by slice: each slice in turn updates the running statistics."""
        if x.ndim == 3:
            if (slices := self.slices(x.shape[1])) == 1:
                return self.features(x)
            # As it lies in memory.
            return torch.cat([self.features(slice_KNC).mT for slice_KNC in x.chunk(slices, 1)], -1).mT
        if (slices := self.slices(len(x))) == 1:
            return self.images(x)
        return torch.cat([self.images(slice_NDHW) for slice_NDHW in x.chunk(slices)])

    def reset_running_stats(self) -> None:
        """Put the running statistics back to their start."""
        for name, start in self.starts.items():
            self.get_buffer(name).fill_(start)

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        return as_channels(self.normalize, x_KBC)

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        return self.normalize(x_BDHW)

    def normalize(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        """Normalise every channel over all other axes, and in training update the running statistics."""
        raise NotImplementedError


class BatchNorm(RunningNorm):
    """Normalises every feature of every trial over the batch and, in images, over all places.

    As in PyTorch the batch is normalised with the biased variance, and the unbiased one is averaged.

    Attributes:
        running_mean: (K, C), starting at 0.
        running_var: (K, C), starting at 1.
        steps: parts of the samples that are normalised apart.
    """

    starts: ClassVar = {"running_mean": 0.0, "running_var": 1.0}
    running_mean: Tensor
    running_var: Tensor
    steps = 1

    def forward(self, x: Activations, step: int | None = None) -> Activations:
        """Normalise; slices of features pass in one call."""
        if self.over is None:
            return self.features(x) if x.ndim == 3 else self.images(x)
        if x.ndim == 4 or (slices := self.slices(x.shape[1])) == 1:
            return super().forward(x, step)
        y_KBC, *seen = self._normalize_parts(x, slices)
        for running_KC, batch_KCP in zip((self.running_mean, self.running_var), seen, strict=True):
            for batch_KC in batch_KCP.unbind(-1):
                running_KC.lerp_(batch_KC, self.momentum)
        return y_KBC

    def _normalize_parts(
        self, x_KNC: Float[Tensor, "K N C"], parts: int, kept: Sequence[Float[Tensor, " D"]] | None = None
    ) -> tuple[Float[Tensor, "K N C"], Float[Tensor, "K C P"], Float[Tensor, "K C P"]]:
        """Normalise P equal parts of the samples apart; return also their means and unbiased variances.

        `kept` has means and variances to normalise with, instead of those of the samples.
        """
        trials, samples, features = x_KNC.shape
        # As it lies in memory: channels are (K, C, P).
        x_1DN = x_KNC.mT.reshape(1, trials * features * parts, -1)
        mean_D, var_D = self.gamma.new_zeros(2, x_1DN.shape[1]) if kept is None else kept
        gamma_D, beta_D = (each[..., None].expand(-1, -1, parts).flatten() for each in (self.gamma, self.beta))
        # With a momentum of 1 the statistics of this batch alone are left in its arguments.
        y_1DN = F.batch_norm(x_1DN, mean_D, var_D, gamma_D, beta_D, kept is None, 1.0, self.eps)
        mean_KCP, var_KCP = (each.view(trials, features, parts) for each in (mean_D, var_D))
        return y_1DN.view(trials, features, samples).mT, mean_KCP, var_KCP

    def normalize(self, x: Float[Tensor, "_ D *places"]) -> Float[Tensor, "_ D *places"]:
        running = self.running_mean.view(-1), self.running_var.view(-1)
        affine = self.gamma.reshape(-1), self.beta.reshape(-1)
        return F.batch_norm(x, *running, *affine, self.training, self.momentum, self.eps)

    @classmethod
    def for_steps(cls, trials: int, features: int, settings: NormSettings, steps: int) -> Norm:
        return StepBatchNorm(trials, features, settings, steps)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        kind = nn.BatchNorm2d if to.images else nn.BatchNorm1d
        mean_RC, var_RC = (each[0].view(-1, each.shape[-1]) for each in (self.running_mean, self.running_var))
        for mean_C, var_C in zip(mean_RC, var_RC, strict=True):
            count = mean_C.new_zeros((), dtype=torch.int64)
            running = {"running_mean": mean_C, "running_var": var_C, "num_batches_tracked": count}
            state = self._scale_and_shift_state() | running
            yield layer_from_state(kind, state, len(mean_C), eps=self.eps, momentum=self.momentum)


MEAN, SCALE = 0.5, 1.25
"""A unit's mean is drawn from ±MEAN at every step, its scale from 1 to SCALE."""
SPREAD = 0.1
"""An activation's own mean is uniform within ±SPREAD around the unit's; its scale is normal with this deviation."""


class Noise(nn.Module):
    """In training, x becomes s·x + m with s and m of every activation's own, the same in all trials of a seed.

    Their distribution changes at every step. This undoes what batch norm was once said to be for, steady means and
    variances of a layer's inputs, and nothing else. The source's units are features here, or channels.

    A step draws, in this order: uniforms of the units' means, uniforms of their scales (both (C,)), then uniforms of
    the means and normals of the scales of all activations, (B, C) or (B, H, W, C).
    """

    def __init__(self, trials: int, features: int, draws: TrialRandom):
        super().__init__()
        # Used only for its shape: buffers are cut along the trials.
        self.register_buffer("like_KC", torch.zeros(trials, features), persistent=False)
        self.draws = draws

    like_KC: Tensor

    def forward(self, x: Activations) -> Activations:
        if not self.training:
            return x
        trials, features = self.like_KC.shape
        mean_KC = MEAN * (2 * self.draws.uniform("noise", features) - 1)
        scale_KC = 1 + (SCALE - 1) * self.draws.uniform("noise", features)
        uniform = draws_for(x, trials, lambda *shape: self.draws.uniform("noise", *shape))
        normal = draws_for(x, trials, lambda *shape: self.draws.normal("noise", *shape))
        mean = _per_feature(mean_KC, x) + SPREAD * (2 * uniform - 1)
        scale = _per_feature(scale_KC, x) + SPREAD * normal
        return x * scale.to(x.dtype) + mean.to(x.dtype)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield from ()  # evaluation has no noise


def _per_feature(numbers_KC: Tensor, x: Tensor) -> Tensor:
    return numbers_KC[:, None] if x.ndim == 3 else numbers_KC.flatten()[:, None, None]


class StepBatchNorm(BatchNorm):
    """Batch norm in recurrent layers, each time step by itself; γ and β are shared by the steps.

    In evaluation a step has running statistics of its own, or where `steps` says shared the mean over all steps, of
    batch means and of variances within a step. Both are updated once a pass, when the last step has been seen.

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
        """Normalise one step, or without its number all of them; in training every step passes once, in order."""
        steps = self.steps if step is None else 1
        slices = self.slices(x_KNC.shape[1] // steps)
        y_KNC, mean_KCP, var_KCP = self._normalize_parts(
            x_KNC, steps * slices, None if self.training else self._kept(step)
        )
        if self.training:
            mean_KCTG, var_KCTG = (each_KCP.unflatten(-1, (steps, slices)) for each_KCP in (mean_KCP, var_KCP))
            self._learn(mean_KCTG, var_KCTG, step)
        return y_KNC

    def _kept(self, step: int | None) -> tuple[Tensor, ...]:
        which = slice(None) if step is None else slice(step, step + 1)
        kept = (self.running_mean, self.running_var)
        return tuple(each.expand(-1, self.steps, -1)[:, which].mT.flatten() for each in kept)

    def _learn(self, mean_KCTG: Float[Tensor, "K C T G"], var_KCTG: Float[Tensor, "K C T G"], step: int | None) -> None:
        """Update the running statistics with a batch once all of its steps have passed, slice by slice."""
        if not step:
            self._seen.clear()  # left by an interrupted pass
        self._seen.append((mean_KCTG, var_KCTG))
        if step in (None, self.steps - 1):
            means, variances = zip(*self._seen, strict=True)
            self._seen.clear()
            for running_KRC, seen in ((self.running_mean, means), (self.running_var, variances)):
                shared = running_KRC.shape[1] < self.steps
                for batch_KCT in torch.cat(seen, 2).unbind(-1):
                    batch_KTC = batch_KCT.mT
                    running_KRC.lerp_(batch_KTC.mean(1, keepdim=True) if shared else batch_KTC, self.momentum)


def running_norms(model: nn.Module) -> list[Any]:
    """Return the norm layers that have running statistics, those of torch among them."""
    return [module for module in model.modules() if isinstance(module, RunningNorm | _BatchNorm)]


def averages_in_training(norm: nn.Module) -> bool:
    """Tell whether training uses the running statistics of a norm layer."""
    return getattr(norm, "frozen", False) or getattr(norm, "averages_in_training", False)


def freeze_statistics(model: nn.Module) -> None:
    """From now on let running statistics normalise in training mode, too, if it is set by `train_mode`."""
    for norm in running_norms(model):
        norm.frozen = True
        norm.eval()


def train_mode(model: nn.Module) -> None:
    """Put a model into training mode, except norm layers whose statistics are frozen."""
    model.train()
    for norm in running_norms(model):
        norm.train(not getattr(norm, "frozen", False))


@torch.no_grad()
def refit_statistics(model: nn.Module, batches: Iterable[Float[Tensor, "S B in"]]) -> None:
    """Replace the running statistics by averages over batches (Ioffe & Szegedy 2015, algorithm 2, line 10).

    Every batch passes in training mode but without dropout or noise; means and unbiased variances (the factor m/(m−1))
    are averaged over the batches. These should all have the size that training takes statistics over. The model is left
    in evaluation mode.
    """
    norms = running_norms(model)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
        # The first batch weighs 1, but 0 times an old NaN or infinity would still be NaN.
        norm.reset_running_stats()
    for count, batch in enumerate(batches, start=1):
        for norm in norms:
            norm.momentum = 1 / count  # a running average with this momentum is the mean so far
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
