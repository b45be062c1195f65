"""From bytes or floats to network inputs: x = (pixel - shift) / spread · factor, fitted on the training images alone.

The pixels of a channel share shift and spread; under center each pixel has a shift of its own, its mean, and nothing is
divided. A row of a table is an image of one place, so that each feature is a channel of its own.

Whitening replaces the first two steps. It makes the covariance over the training images the identity, as principal
components (PCA) or as images (ZCA): with the covariance U diag(λ) Uᵀ of the centred images x, as rows, x U diag(1/√(λ +
ε)) are the principal components (PCA), the largest variance first; times Uᵀ they are images again (ZCA), of all
whitened inputs those nearest to x (Kessy, Lewin and Strimmer 2018, https://arxiv.org/abs/1512.00809).

Where the training images don't vary, λ is 0: in float64, up to P · 2^-52 · λ₁, the largest one (as in
numpy.linalg.matrix_rank). The eigenvectors of these directions could be any basis. PCA therefore leaves them out: these
components are 0 for every image. ZCA doesn't depend on that basis, and multiplies by 1/√ε there.

Bytes become inputs batch by batch, or all at once if a GPU has room for them. Whitening, and scaling floats of any
size, need float64: such images become inputs once, when the data set is loaded.

Shapes: N images, C channels, H, W, P = C·H·W pixels of a flattened image, V = 256 byte values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Float64, Real, UInt8
from torch import Tensor

from bnexp.config.data import WHITENINGS, DataSettings, Scaling
from bnexp.data.machine import check_room
from bnexp.errors import ConfigError, Problem

CPU = torch.device("cpu")

CHUNK_NUMBERS = 2**22
"""Pixels that are converted to float64 at a time: 1365 images of 3x32x32, enough for a fast product."""
KEPT_INPUTS = 2**28
"""The most bytes of a GPU for a split that is kept as inputs: MNIST's take 188 MB, CIFAR-10's 614 MB. Converting batch
by batch takes three kernels per update, which slows down small networks."""
SQUARES = 5
"""The most P × P matrices alive, while the eigenvectors are computed."""


@dataclass(frozen=True, eq=False)
class Once:
    """A fitted transform in float64 that turns images into inputs once: z = (image - mean) / spread, or · matrix."""

    mean_P: Float64[Tensor, " P"]
    """Exact where all training images agree, so that such a pixel is exactly 0."""
    spread_P: Float64[Tensor, " P"]
    matrix_PP: Float64[Tensor, "P P"] | None = None
    """From pixels to components, standardising each channel first; None if images are not whitened."""

    def __call__(self, images_P: Real[Tensor, "*batch P"]) -> Float64[Tensor, "*batch P"]:
        """Return the transformed images."""
        centred_P = images_P.double() - self.mean_P
        return centred_P / self.spread_P if self.matrix_PP is None else centred_P @ self.matrix_PP

    def of_all(self, images_NP: Real[Tensor, "N P"], dtype: torch.dtype) -> Float[Tensor, "N P"]:
        """Return many transformed images, converted in chunks of float64, on the transform's device."""
        inputs_NP = self.mean_P.new_empty(images_NP.shape, dtype=dtype)
        chunks = zip(images_NP.split(_chunk(images_NP)), inputs_NP.split(_chunk(images_NP)), strict=True)
        for images_BP, inputs_BP in chunks:
            inputs_BP.copy_(self(images_BP.to(self.mean_P.device)))
        return inputs_NP

    def extremes(self, ends_2P: Float64[Tensor, "2 P"]) -> Float64[Tensor, "2 P"]:
        """Return the least and the greatest number that any pixels between the ends can become, for each component."""
        if self.matrix_PP is None:
            return self(ends_2P)
        grow_PP, fall_PP = self.matrix_PP.clamp(min=0), self.matrix_PP.clamp(max=0)
        dark_P, bright_P = ends_2P - self.mean_P
        return torch.stack([dark_P @ grow_PP + bright_P @ fall_PP, bright_P @ grow_PP + dark_P @ fall_PP])

    def to(self, device: torch.device) -> "Once":
        """Return the same transform on a device."""
        matrix_PP = None if self.matrix_PP is None else self.matrix_PP.to(device)
        return Once(self.mean_P.to(device), self.spread_P.to(device), matrix_PP)


def fit_whitening(images_NP: Real[Tensor, "N P"], spread_P: Float64[Tensor, " P"], kind: Scaling, eps: float) -> Once:
    """Fit the transform on at least one image, on the CPU, so that every device gets the same inputs.

    Components are ordered by falling variance, each with the sign that makes its largest weight positive. Under PCA
    those without variance are 0. The spread is the standard deviation of each pixel's channel; eps is added to the λ.
    """
    mean_P = _mean(images_NP, 0)
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
    return Once(mean_P, spread_P, matrix_PP / spread_P[:, None])


def check_memory(kind: Scaling, images: int, pixels: int, device: torch.device, dtype: torch.dtype) -> None:
    """Check that this many images can become inputs once and be kept on a device.

    Raises:
        InputError: they, or the matrices that whitening them takes, don't fit the free memory.
    """
    chunks = 2 * 8 * max(CHUNK_NUMBERS, pixels)
    square = 8 * pixels**2 if kind in WHITENINGS else 0
    needed = {CPU: SQUARES * square + chunks}
    needed[device] = needed.get(device, square + chunks) + images * pixels * dtype.itemsize
    remedy = "lower data.train_size and data.test_size, or keep fewer values of each"
    for place, count in needed.items():
        what = f"data.normalize: {kind}: inputs made of {images} images with {pixels} values each"
        check_room(what, count, f"{remedy}, or set data.normalize: standard" if square else remedy, place)


def keeps_inputs(images: int, pixels: int, device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether this many images in bytes are kept as inputs on a device."""
    return device.type == "cuda" and images * pixels * dtype.itemsize <= KEPT_INPUTS


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
    once: Once | None = None
    """Takes the place of shift and spread where images are whitened, or floats."""

    def __call__(self, images_P: Real[Tensor, "*batch P"]) -> Float[Tensor, "*batch P"]:
        """Return bytes, or images in their kept form, as network inputs; the latter unchanged if there are no
        factors."""
        if images_P.is_floating_point():
            return images_P if self.factor_P is None else images_P * self.factor_P
        inputs_P = self.once(images_P).to(self.shift_P.dtype) if self.once else self._scaled(images_P)
        return inputs_P if self.factor_P is None else inputs_P.mul_(self.factor_P)

    def to(self, device: torch.device) -> "Normalization":
        """Return the same transform on a device."""
        factor_P = None if self.factor_P is None else self.factor_P.to(device)
        once = self.once and self.once.to(device)
        return Normalization(self.shift_P.to(device), self.spread_P.to(device), factor_P, once)

    def kept(self, images_NP: Real[Tensor, "N P"]) -> Real[Tensor, "N P"]:
        """Return images in the form that a data set keeps, on the device: bytes, or finished inputs."""
        if self.once:
            return self.once.of_all(images_NP, self.shift_P.dtype)
        images_NP = images_NP.to(self.shift_P.device)
        made = keeps_inputs(len(images_NP), images_NP.shape[1], images_NP.device, self.shift_P.dtype)
        return self._scaled(images_NP) if made else images_NP

    def pixels(self, kept_NP: Real[Tensor, "N P"]) -> Real[Tensor, "N P"]:
        """Return the pixels of kept images, up to rounding; if they are whitened, the inputs as they are."""
        if not kept_NP.is_floating_point() or (self.once and self.once.matrix_PP is not None):
            return kept_NP
        shift_P, spread_P = (self.once.mean_P, self.once.spread_P) if self.once else (self.shift_P, self.spread_P)
        return kept_NP * spread_P + shift_P

    def _scaled(self, images_P: UInt8[Tensor, "*batch P"]) -> Float[Tensor, "*batch P"]:
        # Division, not a product with the inverse: the brightest byte under `unit` is then exactly 1.
        return images_P.to(self.shift_P.dtype).sub_(self.shift_P).div_(self.spread_P)


def fit(
    images_NCHW: Real[Tensor, "N C H W"],
    scaling: Scaling,
    feature_scale: Mapping[int, float],
    device: torch.device,
    dtype: torch.dtype,
    whiten_eps: float = DataSettings().whiten_eps,
    ends_2P: Float64[Tensor, "2 P"] | None = None,
) -> Normalization:
    """Fit the transform on at least one image; a constant image or channel is shifted but not stretched.

    Args:
        images_NCHW: bytes or floats.
        scaling: what the transform does.
        feature_scale: factors by pixel.
        device: of the inputs.
        dtype: of the inputs.
        whiten_eps: what whitening adds to variances.
        ends_2P: the least and the greatest value that any image has at each pixel; None: 0 and 255.

    Raises:
        ConfigError: a value, or what a factor or whiten_eps makes of it, is beyond the largest number of the dtype.
    """
    pixels = images_NCHW[0].numel()
    shift_P, spread_P = (
        fitted.repeat_interleave(pixels // len(fitted)) for fitted in _shift_and_spread(images_NCHW, scaling)
    )
    factor_P = torch.ones(pixels, dtype=torch.float64)
    factor_P[list(feature_scale)] = torch.tensor(list(feature_scale.values()), dtype=torch.float64)
    once = None
    if scaling in WHITENINGS:
        once = fit_whitening(images_NCHW.flatten(1), spread_P, scaling, whiten_eps)
    elif images_NCHW.is_floating_point():
        once = Once(shift_P, spread_P)
    if ends_2P is None:
        ends_2P = torch.tensor([[0.0], [255.0]], dtype=torch.float64).expand(-1, pixels)
    inputs_2P = (once or Once(shift_P, spread_P)).extremes(ends_2P).to(dtype)
    if problems := list(_overflows(inputs_2P, scaling, feature_scale, whiten_eps)):
        raise ConfigError(problems)
    return Normalization(
        shift_P.to(device, dtype),
        spread_P.to(device, dtype),
        factor_P.to(device, dtype) if feature_scale else None,
        once and once.to(device),
    )


def _overflows(
    inputs_2P: Float[Tensor, "2 P"], scaling: Scaling, feature_scale: Mapping[int, float], whiten_eps: float
) -> Iterator[Problem]:
    """Yield what makes the least and the greatest inputs overflow."""
    dtype = inputs_2P.dtype
    largest = f"the largest number of {str(dtype).removeprefix('torch.')}, {torch.finfo(dtype).max:.1e}"
    higher = "" if dtype == torch.float64 else ", or set train.precision: fp64"
    if not inputs_2P.isfinite().all():
        if scaling in WHITENINGS:
            yield Problem("", "data.whiten_eps", f"{whiten_eps:g} takes inputs beyond {largest}; raise it{higher}")
        else:
            yield Problem("", "data.normalize", f"{scaling} leaves inputs beyond {largest}; divide the values{higher}")
        return
    for index, factor in feature_scale.items():
        if not (inputs_2P[:, index] * torch.tensor(factor, dtype=dtype)).isfinite().all():
            message = f"{factor:g} takes pixel {index} beyond {largest}; lower it{higher}"
            yield Problem("", "data.feature_scale", message)


def _shift_and_spread(
    images_NCHW: Real[Tensor, "N C H W"], scaling: Scaling
) -> tuple[Float64[Tensor, " _"], Float64[Tensor, " _"]]:
    """Return shift and spread of each channel, under center of each pixel."""
    channels = images_NCHW.shape[1]
    if scaling == "center":
        mean_P = _mean(images_NCHW.flatten(1), 0)
        return mean_P, torch.ones_like(mean_P)
    if scaling == "none":
        return torch.zeros(channels, dtype=torch.float64), torch.ones(channels, dtype=torch.float64)
    if scaling != "unit" and not images_NCHW.is_floating_point():
        moments = torch.tensor([_mean_and_std(_counts(each)) for each in images_NCHW.unbind(1)], dtype=torch.float64)
        return moments[:, 0], moments[:, 1]
    low_CHW, high_CHW = images_NCHW.aminmax(dim=0)
    low_C, high_C = low_CHW.amin((1, 2)).double(), high_CHW.amax((1, 2)).double()
    if scaling == "unit":
        if images_NCHW.shape[2:] != (1, 1):  # the channels of a picture share their brightness, features don't
            low_C, high_C = low_C.amin().expand(channels), high_C.amax().expand(channels)
        return low_C, torch.where(high_C > low_C, high_C - low_C, 1.0)
    mean_C = _mean(images_NCHW, (0, 2, 3))
    parts = images_NCHW.split(max(1, CHUNK_NUMBERS // images_NCHW[0].numel()))
    squares = (((part.double() - mean_C[:, None, None]) ** 2).sum((0, 2, 3)) for part in parts)
    std_C = (torch.stack(list(squares)).sum(0) * (channels / images_NCHW.numel())).sqrt()
    return mean_C, torch.where(high_C > low_C, std_C, 1.0)


def _mean(images: Real[Tensor, "..."], axes: int | tuple[int, ...]) -> Float64[Tensor, "..."]:
    """Return a mean in float64, which is exactly the one value where all are equal."""
    if not images.is_floating_point():
        total = images.sum(axes, dtype=torch.int64)
        return total.double() / (images.numel() // total.numel())
    mean = images.sum(axes, dtype=torch.float64)
    mean = mean / (images.numel() // mean.numel())
    low, high = images.amin(axes).double(), images.amax(axes).double()
    return mean.clamp(low, high)


def _counts(channel_NHW: UInt8[Tensor, "N H W"]) -> list[int]:
    """Return how often each byte occurs."""
    parts = (torch.bincount(part.reshape(-1), minlength=256) for part in channel_NHW.split(2**12))
    return sum(parts, start=torch.zeros(256, dtype=torch.int64)).tolist()


def _mean_and_std(counts_V: list[int]) -> tuple[float, float]:
    """Return mean and population standard deviation, 1 in place of 0, of bytes given by their counts."""
    # Python integers are exact, so a constant channel has a variance of exactly 0.
    n = sum(counts_V)
    total = sum(value * count for value, count in enumerate(counts_V))
    squares = sum(value * value * count for value, count in enumerate(counts_V))
    return total / n, sqrt((n * squares - total * total) / (n * n)) or 1.0
