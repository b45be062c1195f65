"""From bytes to network inputs: x = (byte - shift) / spread · factor, fitted on the training images alone.

Where the inputs are whitened, `whitening` says what stands in place of the first two steps. That is too slow to be
done to every batch, so a set keeps whitened images as floats, which only the factor is missing from.

Shapes: N images, C channels, H, W, P = C·H·W pixels of a flattened image, V = 256 byte values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Int64, Real, UInt8
from torch import Tensor

from bnexp.config.data import DataSettings, Scaling
from bnexp.data.whitening import WHITENINGS, Whitening, fit_whitening
from bnexp.errors import ConfigError, Problem


@dataclass(frozen=True, eq=False)
class Normalization:
    """A fitted transform; its tensors carry the device and the dtype of the inputs it makes."""

    shift_P: Float[Tensor, " P"]
    spread_P: Float[Tensor, " P"]
    """Never 0."""
    factor_P: Float[Tensor, " P"] | None
    """data.feature_scale; None where no input is scaled."""
    whitening: Whitening | None = None
    """What bytes go through in place of shift and spread; None where inputs are not whitened."""

    def __call__(self, images_P: Real[Tensor, "*batch P"]) -> Float[Tensor, "*batch P"]:
        """Return bytes or whitened images as network inputs; the latter, where there are no factors, themselves."""
        if images_P.is_floating_point():
            return images_P if self.factor_P is None else images_P * self.factor_P
        if self.whitening:
            inputs_P = self.whitening(images_P).to(self.shift_P.dtype)
        else:
            # Division, not a product with the inverse: the brightest byte under `unit` is then exactly 1.
            inputs_P = images_P.to(self.shift_P.dtype).sub_(self.shift_P).div_(self.spread_P)
        return inputs_P if self.factor_P is None else inputs_P.mul_(self.factor_P)

    def to(self, device: torch.device) -> "Normalization":
        """Return the same transform on a device."""
        factor_P = None if self.factor_P is None else self.factor_P.to(device)
        whitening = self.whitening and self.whitening.to(device)
        return Normalization(self.shift_P.to(device), self.spread_P.to(device), factor_P, whitening)

    def kept(self, images_NP: UInt8[Tensor, "N P"]) -> Real[Tensor, "N P"]:
        """Return images as a data set keeps them, on the device: bytes, or whitened once and for all."""
        if self.whitening:
            return self.whitening.of_all(images_NP, self.shift_P.dtype)
        return images_NP.to(self.shift_P.device)


def fit(
    images_NCHW: UInt8[Tensor, "N C H W"],
    scaling: Scaling,
    feature_scale: Mapping[int, float],
    device: torch.device,
    dtype: torch.dtype,
    whiten_eps: float = DataSettings().whiten_eps,
) -> Normalization:
    """Fit the transform on at least one image; a constant image or channel is shifted but not stretched.

    Raises:
        ConfigError: a factor, or whiten_eps, takes a pixel beyond the largest number of the dtype.
    """
    channels, pixels = images_NCHW.shape[1], images_NCHW[0].numel()
    fitted_C = torch.tensor(_shift_and_spread(images_NCHW, scaling), dtype=torch.float64)
    shift_P, spread_P = fitted_C.repeat_interleave(pixels // channels, dim=0).unbind(dim=1)
    factor_P = torch.ones(pixels, dtype=torch.float64)
    for index, factor in feature_scale.items():
        factor_P[index] = factor
    whitening = None
    if scaling in WHITENINGS:
        whitening = fit_whitening(images_NCHW.flatten(1), spread_P, scaling, whiten_eps).to(device)
    fitted = Normalization(
        shift_P.to(device, dtype),
        spread_P.to(device, dtype),
        factor_P.to(device, dtype) if feature_scale else None,
        whitening,
    )
    if problems := list(_overflows(fitted, feature_scale, whiten_eps)):
        raise ConfigError(problems)
    return fitted


def _overflows(fitted: Normalization, feature_scale: Mapping[int, float], whiten_eps: float) -> Iterator[Problem]:
    dtype = fitted.shift_P.dtype
    largest = f"the largest number of {str(dtype).removeprefix('torch.')}, {torch.finfo(dtype).max:.1e}"
    higher = "" if dtype == torch.float64 else ", or set train.precision: fp64"
    ends_VP = _ends(fitted)
    if not ends_VP.isfinite().all():
        yield Problem("", "data.whiten_eps", f"{whiten_eps:g} takes inputs beyond {largest}; raise it{higher}")
        return
    finite_P = fitted(ends_VP).isfinite().all(0).tolist()
    for index, factor in feature_scale.items():
        if not finite_P[index]:
            message = f"{factor:g} takes pixel {index} beyond {largest}; lower it{higher}"
            yield Problem("", "data.feature_scale", message)


def _ends(fitted: Normalization) -> Real[Tensor, "2 P"]:
    """Return what tells of all images, as a set would keep them."""
    if fitted.whitening:
        return fitted.whitening.extremes().to(fitted.shift_P.dtype)
    # Inputs rise or fall with the byte.
    ends = torch.tensor([0, 255], dtype=torch.uint8, device=fitted.shift_P.device)
    return ends[:, None].expand(-1, len(fitted.shift_P))


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
