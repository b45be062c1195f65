"""A data set ready for training: three splits of images on the device, and the way to make them inputs.

Shapes: N images of one split, P = C·H·W pixels of a flattened image.
"""

import warnings
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Real
from numpy.typing import NDArray
from torch import Tensor

from bnexp.config.data import WHITENINGS, DataSettings
from bnexp.data.catalog import DataShape
from bnexp.data.normalize import Normalization, check_memory, fit
from bnexp.data.raw import read
from bnexp.errors import InputError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels for one purpose, on the device; images stay bytes, a quarter of their size as floats.

    Images that were floats in their files, whitened ones, and on a GPU those of small splits are floats: they have been
    made inputs already.
    """

    images_NP: Real[Tensor, "N P"]
    labels_N: Int64[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images that a trial trains, validates and is tested on."""

    shape: DataShape
    train: Split
    val: Split
    test: Split
    normalization: Normalization
    """Fitted on the images of `train`."""

    def inputs(self, images_P: Real[Tensor, "*batch P"]) -> Float[Tensor, "*batch P"]:
        """Return images of a split as normalised network inputs of the dtype the set was loaded with.

        They are a new tensor, except where images are floats: these are inputs already.
        """
        return self.normalization(images_P)

    def to(self, device: torch.device) -> "Dataset":
        """Return the same set on a device, which may keep bytes as the inputs that they make."""
        normalization = self.normalization.to(device)

        def moved(split: Split) -> Split:
            made = split.images_NP.is_floating_point()
            images_NP = split.images_NP.to(device) if made else normalization.kept(split.images_NP)
            return Split(images_NP, split.labels_N.to(device))

        return Dataset(self.shape, moved(self.train), moved(self.val), moved(self.test), normalization)

    @property
    def bytes(self) -> int:
        """Size of its images."""
        return sum(split.images_NP.nbytes for split in (self.train, self.val, self.test))


def load(settings: DataSettings, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Read a data set, cut it to size and fit its normalisation; missing files are downloaded.

    Raises:
        InputError: the files are missing, damaged or not as expected, the sizes asked for do not fit, a scaled pixel
            overflows, or what is made of the images doesn't fit the free memory.
    """
    raw = read(settings)
    try:
        raw.check()
    except ValueError as flaw:
        raise InputError(f"data.name: {settings.name} can't be trained on: {flaw}") from None
    shape = raw.cut(settings)
    if shape.floats or settings.normalize in WHITENINGS:
        kept = shape.train + shape.val + shape.test
        check_memory(settings.normalize, kept, prod(shape.image), device, dtype)
    parts = raw.splits(shape)
    ends_2P = _ends([part.images_NCHW for part in parts.values() if len(part.labels_N)]) if shape.floats else None
    trained = _tensor(parts["train"].images_NCHW)
    scale, eps = settings.feature_scale, settings.whiten_eps
    normalization = fit(trained, settings.normalize, scale, device, dtype, eps, ends_2P)

    def split(images_NCHW: NDArray[Any], labels_N: NDArray[np.int64]) -> Split:
        images_NP = _tensor(images_NCHW).flatten(start_dim=1)
        return Split(normalization.kept(images_NP), torch.from_numpy(labels_N).to(device))

    return Dataset(shape, **{name: split(*part) for name, part in parts.items()}, normalization=normalization)


def _ends(images: list[NDArray[Any]]) -> Float64[Tensor, "2 P"]:
    """Return the least and the greatest value of each pixel."""
    low_P = np.min([part_NCHW.min(0) for part_NCHW in images], axis=0).ravel()
    high_P = np.max([part_NCHW.max(0) for part_NCHW in images], axis=0).ravel()
    return torch.from_numpy(np.stack([low_P, high_P]).astype(float))


def _tensor(images_NCHW: NDArray[Any]) -> Real[Tensor, "N C H W"]:
    """Return an array as a tensor of the same memory."""
    with warnings.catch_warnings(action="ignore"):  # of files in memory, which nobody may write to
        return torch.from_numpy(images_NCHW)
