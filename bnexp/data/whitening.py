"""Whitening: inputs whose covariance over the training images is the identity, by principal components or nearest.

With the covariance U diag(λ) Uᵀ of the centred images x, as rows: x U diag(1/√(λ + ε)) are the principal components
(PCA), the largest variance first; times Uᵀ they are turned back into pictures (ZCA), of all whitened inputs those
nearest to x (Kessy, Lewin and Strimmer 2018, https://arxiv.org/abs/1512.00809).

Where the training images don't vary, λ is 0: at pixels that never change, and wherever there are fewer images than
pixels. In float64 an eigenvalue counts as 0 up to P · 2^-52 · λ₁, the largest one (as in numpy.linalg.matrix_rank). The
eigenvectors of these directions could be any basis, and which one it is depends on the library. PCA therefore leaves
them out: these components are 0 for every image. ZCA doesn't depend on that basis, and multiplies by 1/√ε there.

Shapes: N images, P pixels of a flattened image.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from bnexp.config.data import Scaling
from bnexp.data.room import CPU, free_memory
from bnexp.errors import InputError

WHITENINGS: tuple[Scaling, ...] = ("pca_whiten", "zca_whiten")

CHUNK_NUMBERS = 2**22
"""Numbers of images that are float64 at a time: 1365 images of 3x32x32, which fill a product."""
SQUARES = 5
"""Matrices of P × P alive at most, while the eigenvectors are computed."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """A fitted transform from bytes, z = (byte - mean) · matrix, in float64."""

    mean_P: Float64[Tensor, " P"]
    """Of the training images' bytes; exact where all of them agree, so that such a pixel is exactly 0."""
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
    those without variance are 0.

    Args:
        images_NP: the training images.
        spread_P: standard deviation of each pixel's channel.
        kind: one of WHITENINGS.
        eps: added to the variances λ.
    """
    mean_P = images_NP.sum(0, dtype=torch.int64).double() / len(images_NP)
    value_P, vector_PP = torch.linalg.eigh(_covariance(images_NP, mean_P, spread_P))
    value_P, vector_PP = value_P.flip(0), vector_PP.flip(1)
    vector_PP = vector_PP * vector_PP.gather(0, vector_PP.abs().argmax(0, keepdim=True)).sign()
    flat_P = value_P <= len(value_P) * torch.finfo(torch.float64).eps * value_P[0]
    scale_P = (value_P.masked_fill(flat_P, 0) + eps).rsqrt()
    if kind == "zca_whiten":
        matrix_PP = vector_PP * scale_P @ vector_PP.mT
    else:
        matrix_PP = vector_PP * scale_P.masked_fill(flat_P, 0)
    return Whitening(mean_P, matrix_PP / spread_P[:, None])


def check_room(kind: Scaling, images: int, pixels: int, device: torch.device, dtype: torch.dtype) -> None:
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
                "shrink the pictures, or set data.normalize: standard"
            )


def _covariance(
    images_NP: UInt8[Tensor, "N P"], mean_P: Float64[Tensor, " P"], spread_P: Float64[Tensor, " P"]
) -> Float64[Tensor, "P P"]:
    total_PP = mean_P.new_zeros(len(mean_P), len(mean_P))
    for images_BP in images_NP.split(_chunk(images_NP)):
        centred_BP = (images_BP.double() - mean_P) / spread_P
        total_PP.addmm_(centred_BP.mT, centred_BP)
    return total_PP / len(images_NP)


def _chunk(images_NP: Tensor) -> int:
    return max(1, CHUNK_NUMBERS // images_NP.shape[1])
