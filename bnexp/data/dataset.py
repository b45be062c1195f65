"""A data set ready for training: three splits of images on the device, and the way to make them inputs.

Shapes: N images of one split, P = C·H·W pixels of a flattened image.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int64, Real
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

    Only whitened images are floats: whitening them takes longer than a small network's step.
    """

    images_NP: Real[Tensor, "N P"]
    labels_N: Int64[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.labels_N)

    def to(self, device: torch.device) -> "Split":
        """Return the same images on a device."""
        return Split(self.images_NP.to(device), self.labels_N.to(device))


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

        They are a new tensor, except for whitened images: these are inputs already.
        """
        return self.normalization(images_P)

    def to(self, device: torch.device) -> "Dataset":
        """Return the same set on a device."""
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        return Dataset(self.shape, train, val, test, self.normalization.to(device))

    @property
    def bytes(self) -> int:
        """Size of its images."""
        return sum(split.images_NP.nbytes for split in (self.train, self.val, self.test))


def load(settings: DataSettings, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Read a data set, cut it to size and fit its normalisation; missing files are downloaded.

    Raises:
        InputError: the files are missing, damaged or not as expected, the sizes asked for do not fit, a scaled pixel
            overflows, or whitened images don't fit the free memory.
    """
    raw = read(settings)
    try:
        raw.check()
    except ValueError as flaw:
        raise InputError(f"data.name: {settings.name} can't be trained on: {flaw}") from None
    shape = raw.cut(settings)
    if settings.normalize in WHITENINGS:
        kept = shape.train + shape.val + shape.test
        check_memory(settings.normalize, kept, prod(shape.image), device, dtype)
    parts = raw.splits(shape)
    trained = torch.from_numpy(parts["train"].images_NCHW)
    normalization = fit(trained, settings.normalize, settings.feature_scale, device, dtype, settings.whiten_eps)

    def split(images_NCHW: NDArray[np.uint8], labels_N: NDArray[np.int64]) -> Split:
        images_NP = torch.from_numpy(images_NCHW).flatten(start_dim=1)
        return Split(normalization.kept(images_NP), torch.from_numpy(labels_N).to(device))

    return Dataset(shape, **{name: split(*part) for name, part in parts.items()}, normalization=normalization)
