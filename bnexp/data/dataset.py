"""A data set ready for training: three splits of images on the device, and the way to make them inputs.

Shapes: N images of one split, P = C·H·W pixels of a flattened image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int64, Real
from numpy.typing import NDArray
from torch import Tensor

from bnexp.config.data import DataSettings
from bnexp.data import image_folder
from bnexp.data.catalog import DataShape
from bnexp.data.normalize import WHITENINGS, Normalization, check_room, fit
from bnexp.data.raw import RawImages
from bnexp.data.sources import read_digits, read_torchvision
from bnexp.errors import InputError

READERS: dict[str, Callable[[DataSettings], RawImages]] = {
    "digits": read_digits,
    "mnist": read_torchvision,
    "fashion_mnist": read_torchvision,
    "cifar10": read_torchvision,
    "cifar100": read_torchvision,
    "image_folder": image_folder.read,
}


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
    """What a trial trains, validates and is tested on."""

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
    raw = READERS[settings.name](settings)
    _check(raw, settings.name)
    shape = raw.cut(settings)
    if settings.normalize in WHITENINGS:
        kept = shape.train + shape.val + shape.test
        check_room(settings.normalize, kept, prod(shape.image), device, dtype)
    parts = raw.splits(shape)
    normalization = fit(
        torch.from_numpy(parts["train"][0]),
        settings.normalize,
        settings.feature_scale,
        device,
        dtype,
        settings.whiten_eps,
    )

    def split(images_NCHW: NDArray[np.uint8], labels_N: NDArray[np.int64]) -> Split:
        images_NP = torch.from_numpy(images_NCHW).flatten(start_dim=1)
        return Split(normalization.kept(images_NP), torch.from_numpy(labels_N).to(device))

    return Dataset(shape, **{name: split(*part) for name, part in parts.items()}, normalization=normalization)


def _check(raw: RawImages, name: str) -> None:
    splits = {"train": (raw.train_images_NCHW, raw.train_labels_N), "test": (raw.test_images_NCHW, raw.test_labels_N)}
    for split, (images_NCHW, labels_N) in (splits | ({"val": raw.val} if raw.val else {})).items():
        if flaw := _flaw(images_NCHW, labels_N, raw.train_images_NCHW.shape[1:], raw.classes):
            raise InputError(f"data.name: {name} can't be trained on: {split} {flaw}")


def _flaw(images: np.ndarray, labels: np.ndarray, image: tuple[int, ...], classes: int) -> str:
    """Name what is wrong with a split, or nothing; later it would be an error of the device, or none."""
    if images.dtype != np.uint8 or images.ndim != 4:
        return f"images of {images.dtype} and shape {images.shape}, expected uint8 and (N, C, H, W)"
    if images.shape[1:] != image:
        return f"images of shape {images.shape[1:]}, but train images of shape {image}"
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        return f"labels of {labels.dtype} and shape {labels.shape}, expected int64 and {images.shape[:1]}"
    outside = labels[(labels < 0) | (labels >= classes)]
    return f"label {outside[0]}, expected 0 to {classes - 1}" if len(outside) else ""
