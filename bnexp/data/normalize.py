"""From bytes to network inputs: x = (byte - shift) / spread · factor, fitted on the training images alone.

Shapes: N images, C channels, H, W, P = C·H·W pixels of a flattened image, V = 256 byte values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from bnexp.errors import ConfigError, Problem

Scaling = Literal["none", "unit", "standard"]


@dataclass(frozen=True, eq=False)
class Normalization:
    """A fitted transform; its tensors carry the device and the dtype of the inputs it makes."""

    shift_P: Float[Tensor, " P"]
    spread_P: Float[Tensor, " P"]
    """Never 0."""
    factor_P: Float[Tensor, " P"] | None
    """data.feature_scale; None where no pixel is scaled."""

    def __call__(self, images_P: UInt8[Tensor, "*batch P"]) -> Float[Tensor, "*batch P"]:
        """Return the images as network inputs."""
        # Division, not a product with the inverse: the brightest byte under `unit` is then exactly 1.
        inputs_P = images_P.to(self.shift_P.dtype).sub_(self.shift_P).div_(self.spread_P)
        return inputs_P if self.factor_P is None else inputs_P.mul_(self.factor_P)


def fit(
    images_NCHW: UInt8[Tensor, "N C H W"],
    scaling: Scaling,
    feature_scale: Mapping[int, float],
    device: torch.device,
    dtype: torch.dtype,
) -> Normalization:
    """Fit the transform on at least one image; a constant image or channel is shifted but not stretched.

    Raises:
        ConfigError: a factor takes a pixel beyond the largest number of the dtype.
    """
    channels, pixels = images_NCHW.shape[1], images_NCHW[0].numel()
    fitted_C = torch.tensor(_shift_and_spread(images_NCHW, scaling), dtype=torch.float64)
    shift_C, spread_C = fitted_C.unbind(dim=1)
    factor_P = torch.ones(pixels, dtype=torch.float64)
    for index, factor in feature_scale.items():
        factor_P[index] = factor
    fitted = Normalization(
        shift_C.repeat_interleave(pixels // channels).to(device, dtype),
        spread_C.repeat_interleave(pixels // channels).to(device, dtype),
        factor_P.to(device, dtype) if feature_scale else None,
    )
    if problems := list(_overflows(fitted, feature_scale)):
        raise ConfigError(problems)
    return fitted


def _overflows(fitted: Normalization, feature_scale: Mapping[int, float]) -> Iterator[Problem]:
    # Inputs rise or fall with the byte, so the two ends tell of all.
    dtype, device = fitted.shift_P.dtype, fitted.shift_P.device
    ends_VP = torch.tensor([0, 255], dtype=torch.uint8, device=device)[:, None].expand(-1, len(fitted.shift_P))
    finite_P = fitted(ends_VP).isfinite().all(0).tolist()
    largest = f"the largest number of {str(dtype).removeprefix('torch.')}, {torch.finfo(dtype).max:.1e}"
    remedy = "lower it" if dtype == torch.float64 else "lower it, or set train.precision: fp64"
    for index, factor in feature_scale.items():
        if not finite_P[index]:
            yield Problem("", "data.feature_scale", f"{factor:g} takes pixel {index} beyond {largest}; {remedy}")


def _shift_and_spread(images_NCHW: UInt8[Tensor, "N C H W"], scaling: Scaling) -> list[tuple[float, float]]:
    """Return (shift, spread) for each channel."""
    channels = images_NCHW.shape[1]
    if scaling == "none":
        return [(0.0, 1.0)] * channels
    counts_CV = _byte_counts(images_NCHW)
    if scaling == "unit":
        present = counts_CV.sum(0).nonzero()
        low, high = int(present.min()), int(present.max())
        return [(float(low), float(high - low or 1))] * channels
    return [_mean_and_std(counts_V) for counts_V in counts_CV.tolist()]


def _byte_counts(images_NCHW: UInt8[Tensor, "N C H W"]) -> Int64[Tensor, "C V"]:
    """Count how often each byte value occurs in each channel."""
    channels = images_NCHW.unbind(dim=1)
    return torch.stack([torch.bincount(channel.reshape(-1), minlength=256) for channel in channels])


def _mean_and_std(counts_V: list[int]) -> tuple[float, float]:
    """Return mean and population standard deviation, 1 in place of 0, of bytes given by their counts."""
    # Python integers are exact, so a constant channel has a variance of exactly 0.
    n = sum(counts_V)
    total = sum(value * count for value, count in enumerate(counts_V))
    squares = sum(value * value * count for value, count in enumerate(counts_V))
    return total / n, sqrt((n * squares - total * total) / (n * n)) or 1.0
