"""A trial without its norm layers, and the proof on images that nothing else has changed."""

from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.data.dataset import Dataset, Split
from bnexp.nn.folding import Unfoldable, folded
from bnexp.nn.table import layer_table
from bnexp.plan import Trial
from bnexp.trained import TrainedTrial
from bnexp.training.measure import CHUNK_NUMBERS, chunks
from bnexp.training.numerics import dtype_of

TOLERANCE = 1e-9
"""Largest difference between logits in float64, relative to the largest logit, that rounding explains."""


@dataclass(frozen=True)
class Difference:
    """Between the logits of two networks, over images and classes."""

    largest: float
    logit: float
    """The largest logit of the first network, by its magnitude."""

    @classmethod
    def between(cls, before_NC: Float[Tensor, "N C"], after_NC: Float[Tensor, "N C"]) -> "Difference":
        """Compare logits; both numbers are NaN where one of them is."""
        return cls(float((after_NC - before_NC).abs().max()), float(before_NC.abs().max()))

    @property
    def relative(self) -> float:
        """The largest difference over the largest logit; the difference itself where all logits are 0."""
        return self.largest / (self.logit or 1.0)


@dataclass(frozen=True)
class Proof:
    """What a network does on images before and after it was folded."""

    split: str
    """Which images: test; where there are none, val; where there are none either, train."""
    images: int
    float64: Difference
    float32: Difference
    """Both networks in float32; the new weights are worked out in float64 all the same."""
    accuracy: tuple[float, float]
    """Before and after, in the precision of the run."""
    same: float
    """Share of images that both put into the same class."""
    parameters: int
    """Numbers that the folded network has."""

    @property
    def exact(self) -> bool:
        """Whether rounding explains the difference."""
        return self.float64.relative <= TOLERANCE


@dataclass(frozen=True)
class FoldedTrial:
    """What became of one trial."""

    trial: Trial
    parameters: int
    """Numbers that its network has: learned ones and running statistics."""
    proof: Proof | None
    """None where it wasn't folded."""
    reason: str = ""
    """Why it wasn't."""


@torch.no_grad()
def fold_trial(trained: TrainedTrial, data: Dataset, device: torch.device) -> FoldedTrial:
    """Fold one trial's norm layers into the weights beside them, and compare what both networks say of images.

    Args:
        trained: the trial.
        data: what it was trained on; its test images are compared.
        device: where the networks compute, and where the data are.
    """
    parameters = _numbers(trained.network(data.shape, device))
    try:
        return FoldedTrial(trained.trial, parameters, _prove(trained, data, device))
    except Unfoldable as reason:
        return FoldedTrial(trained.trial, parameters, None, str(reason))


def _prove(trained: TrainedTrial, data: Dataset, device: torch.device) -> Proof:
    if not trained.finite:
        raise Unfoldable("its weights are not finite")
    after = folded(trained.network(data.shape, device))
    split = next(name for name in ("test", "val", "train") if len(getattr(data, name)))
    images: Split = getattr(data, split)
    said = {dtype: _logits(trained, data, images, device, dtype) for dtype in (torch.float64, torch.float32)}
    float64, float32 = (Difference.between(*logits) for logits in said.values())
    if not (isfinite(float64.largest) and isfinite(float32.largest)):
        raise Unfoldable("its logits are not finite")
    before_N, after_N = (logits_NC.argmax(1) for logits_NC in said[dtype_of(trained.trial.settings.train.precision)])
    accuracy = _share(before_N, images.labels_N), _share(after_N, images.labels_N)
    same = _share(before_N, after_N)
    return Proof(split, len(images), float64, float32, accuracy, same, _numbers(after))


def _logits(
    trained: TrainedTrial, data: Dataset, images: Split, device: torch.device, dtype: torch.dtype
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C"]]:
    """Return the logits of both networks, computed in a precision from inputs in the run's own."""
    before = trained.network(data.shape, device).to(dtype)
    after = folded(before)
    layers = layer_table(trained.trial.settings.model, data.shape.image, data.shape.classes)
    size = max(1, CHUNK_NUMBERS[device.type] // max(layer.output for layer in layers))
    inputs = [data.inputs(images_BP).to(dtype) for images_BP, _ in chunks(images, size)]
    before_NC = torch.cat([before(x_BP[None])[0] for x_BP in inputs])
    return before_NC, torch.cat([after(x_BP.unflatten(1, data.shape.image)) for x_BP in inputs])


def _share(one_N: Tensor, other_N: Tensor) -> float:
    return float((one_N == other_N).double().mean())


def _numbers(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())
