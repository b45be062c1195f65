"""From bytes to network inputs: x = (byte - shift) / spread · factor, fitted on the training images alone.

Whitening stands in place of the first two steps. It makes the covariance over the training images the identity, by
principal components or nearest: with the covariance U diag(λ) Uᵀ of the centred images x, as rows, x U diag(1/√(λ + ε))
are the principal components (PCA), the largest variance first; times Uᵀ they are turned back into images (ZCA), of all
whitened inputs those nearest to x (Kessy, Lewin and Strimmer 2018, https://arxiv.org/abs/1512.00809).

Where the training images don't vary, λ is 0: in float64, up to P · 2^-52 · λ₁, the largest one (as in
numpy.linalg.matrix_rank). The eigenvectors of these directions could be any basis. PCA therefore leaves them out: these
components are 0 for every image. ZCA doesn't depend on that basis, and multiplies by 1/√ε there.

Shapes: N images, C channels, H, W, P = C·H·W pixels of a flattened image, V = 256 byte values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Float64, Real, UInt8
from torch import Tensor

from bnexp.config.data import WHITENINGS, DataSettings, Scaling
from bnexp.data.machine import CPU, free_memory
from bnexp.errors import ConfigError, InputError, Problem

CHUNK_NUMBERS = 2**22
"""Numbers of images that are float64 at a time: 1365 images of 3x32x32, which fill a product."""
SQUARES = 5
"""Matrices of P × P alive at most, while the eigenvectors are computed."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """A fitted transform from bytes, z = (byte - mean) · matrix, in float64."""

    mean_P: Float64[Tensor, " P"]
    """Mean byte of the training images; exact where all of them agree, so that such a pixel is exactly 0."""
    matrix_PP: Float64[Tensor, "P P"]
    """From pixels to components, standardising each channel first."""

    def __call__(self, images_P: UInt8[Tensor, "*batch P"]) -> Float64[Tensor, "*batch P"]:
        """Return the images whitened."""
        return (images_P.double() - self.mean_P) @ self.matrix_PP

    def of_all(self, images_NP: UInt8[Tensor, "N P"], dtype: torch.dtype) -> Float[Tensor, "N P"]:
        """Return many images whitened, a chunk in float64 at a time, on the transform's device."""
        whitened_NP = self.mean_P.new_empty(images_NP.shape, dtype=dtype)
        chunks = zip(images_NP.split(_chunk(images_NP)), whitened_NP.split(_chunk(images_NP)), strict=True)
        for images_BP, whitened_BP in chunks:
            whitened_BP.copy_(self(images_BP.to(self.mean_P.device)))
        return whitened_NP

    def extremes(self) -> Float64[Tensor, "2 P"]:
        """Return the least and the greatest number that any bytes can become, for each component."""
        grow_PP, fall_PP = self.matrix_PP.clamp(min=0), self.matrix_PP.clamp(max=0)
        dark_P, bright_P = -self.mean_P, 255 - self.mean_P
        return torch.stack([dark_P @ grow_PP + bright_P @ fall_PP, bright_P @ grow_PP + dark_P @ fall_PP])

    def to(self, device: torch.device) -> "Whitening":
        """Return the same transform on a device."""
        return Whitening(self.mean_P.to(device), self.matrix_PP.to(device))


def fit_whitening(
    images_NP: UInt8[Tensor, "N P"], spread_P: Float64[Tensor, " P"], kind: Scaling, eps: float
) -> Whitening:
    """Fit the transform on at least one image, on the CPU, so that every device gets the same inputs.

    Components are ordered by falling variance, each with the sign that makes its largest weight positive. Under PCA
    those without variance are 0. The spread is the standard deviation of each pixel's channel; eps is added to the λ.
    """
    mean_P = images_NP.sum(0, dtype=torch.int64).double() / len(images_NP)
    total_PP = mean_P.new_zeros(len(mean_P), len(mean_P))
    for images_BP in images_NP.split(_chunk(images_NP)):
        centred_BP = (images_BP.double() - mean_P) / spread_P
        total_PP.addmm_(centred_BP.mT, centred_BP)
    value_P, vector_PP = torch.linalg.eigh(total_PP / len(images_NP))
    value_P, vector_PP = value_P.flip(0), vector_PP.flip(1)
    vector_PP = vector_PP * vector_PP.gather(0, vector_PP.abs().argmax(0, keepdim=True)).sign()
    flat_P = value_P <= len(value_P) * torch.finfo(torch.float64).eps * value_P[0]
    scale_P = (value_P.masked_fill(flat_P, 0) + eps).rsqrt()
    if kind == "zca_whiten":
        matrix_PP = vector_PP * scale_P @ vector_PP.mT
    else:
        matrix_PP = vector_PP * scale_P.masked_fill(flat_P, 0)
    return Whitening(mean_P, matrix_PP / spread_P[:, None])


def check_memory(kind: Scaling, images: int, pixels: int, device: torch.device, dtype: torch.dtype) -> None:
    """Check that so many images can be whitened and kept on a device.

    Raises:
        InputError: they, or the matrices that it takes, don't fit the free memory.
    """
    chunks = 2 * 8 * max(CHUNK_NUMBERS, pixels)
    needed = {CPU: SQUARES * 8 * pixels**2 + chunks}
    needed[device] = needed.get(device, 8 * pixels**2 + chunks) + images * pixels * dtype.itemsize
    for place, count in needed.items():
        if count > (free := free_memory(place)):
            raise InputError(
                f"data.normalize: {kind} of {images} images with {pixels} values each takes {count / 2**30:.1f} GiB, "
                f"and {free / 2**30:.1f} GiB of memory are free on {place}; lower data.train_size and data.test_size, "
                "shrink the images, or set data.normalize: standard"
            )


def _chunk(images_NP: Tensor) -> int:
    return max(1, CHUNK_NUMBERS // images_NP.shape[1])


@dataclass(frozen=True, eq=False)
class Normalization:
    """A fitted transform; its tensors carry the device and the dtype of the inputs it makes."""

    shift_P: Float[Tensor, " P"]
    spread_P: Float[Tensor, " P"]
    """Never 0."""
    factor_P: Float[Tensor, " P"] | None
    """data.feature_scale; None where no input is scaled."""
    whitening: Whitening | None = None
    """Takes the place of shift and spread; None where inputs are not whitened."""

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
    factor_P[list(feature_scale)] = torch.tensor(list(feature_scale.values()), dtype=torch.float64)
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
    if fitted.whitening:
        ends_2P = fitted.whitening.extremes().to(dtype)
    else:  # inputs rise or fall with the byte
        ends_2P = torch.tensor([[0], [255]], dtype=torch.uint8, device=fitted.shift_P.device)
        ends_2P = ends_2P.expand(-1, len(fitted.shift_P))
    if not ends_2P.isfinite().all():
        yield Problem("", "data.whiten_eps", f"{whiten_eps:g} takes inputs beyond {largest}; raise it{higher}")
        return
    finite_P = fitted(ends_2P).isfinite().all(0)
    for index, factor in feature_scale.items():
        if not finite_P[index]:
            message = f"{factor:g} takes pixel {index} beyond {largest}; lower it{higher}"
            yield Problem("", "data.feature_scale", message)


def _shift_and_spread(images_NCHW: UInt8[Tensor, "N C H W"], scaling: Scaling) -> list[tuple[float, float]]:
    """Return (shift, spread) for each channel."""
    channels = images_NCHW.unbind(dim=1)
    if scaling == "none":
        return [(0.0, 1.0)] * len(channels)
    if scaling == "unit":
        low, high = int(images_NCHW.min()), int(images_NCHW.max())
        return [(float(low), float(high - low or 1))] * len(channels)
    return [_mean_and_std(torch.bincount(channel.reshape(-1), minlength=256).tolist()) for channel in channels]


def _mean_and_std(counts_V: list[int]) -> tuple[float, float]:
    """Return mean and population standard deviation, 1 in place of 0, of bytes given by their counts."""
    # Python integers are exact, so a constant channel has a variance of exactly 0.
    n = sum(counts_V)
    total = sum(value * count for value, count in enumerate(counts_V))
    squares = sum(value * value * count for value, count in enumerate(counts_V))
    return total / n, sqrt((n * squares - total * total) / (n * n)) or 1.0
