"""A data set as its files hold it: whole, on the host, in training order, not yet normalised.

Shapes: N images (its own number in each split), C channels, H, W.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bnexp.config.data import DataSettings
from bnexp.config.text import counted, have, listed
from bnexp.data.catalog import GROUNDS, DataShape, Findings, subset

# What is odd in a data set and probably a mistake: images with nothing on them, and classes without any.
#
# Shapes: N images of a split, C channels, H, W, P = H·W pixels of a channel.

FAINT = 8
"""An image shows something if a pixel differs by more than so many grey values, of 255, from the ground."""
LOOKED_AT = 64
"""Pixels of each channel that are looked at first: in most images they suffice to see something."""

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images (N, C, H, W) and their labels."""


def oddities(splits: Mapping[str, Split], classes: int, ground: str) -> Iterator[str]:
    """Yield warnings, the gravest first.

    Args:
        splits: train, val and test, as they will be used.
        classes: how many there should be.
        ground: white or black, where transparent pictures were laid on that; else nothing.
    """
    images_NCHW, labels_N = splits["train"]
    count = len(images_NCHW)
    if count > 1 and all(np.array_equal(image_CHW, images_NCHW[0]) for image_CHW in images_NCHW):
        yield f"all {count} training images are equal, so there is nothing to learn from them"
    else:
        yield from _constant_channels(images_NCHW)
        yield from _nothing_to_see({name: images_NCHW for name, (images_NCHW, _) in splits.items()}, ground)
    if missing := classes - len(np.unique(labels_N)):
        yield f"{missing} of the {classes} classes {have(missing)} no training image"


def _constant_channels(images_NCHW: NDArray[np.uint8]) -> Iterator[str]:
    channels = images_NCHW.shape[1]
    for channel in range(channels):
        value = images_NCHW[0, channel, 0, 0]
        if all((image_CHW[channel] == value).all() for image_CHW in images_NCHW):
            place = f"channel {channel} (of {', '.join(map(str, range(channels)))})"
            yield f"{place} of the training images is {value} everywhere, so there is nothing to learn from it"


def _nothing_to_see(splits: Mapping[str, NDArray[np.uint8]], ground: str) -> Iterator[str]:
    """Yield how many images vanish on the ground that they were laid on, and how many others are of one colour."""
    counts = [(name, len(images_NCHW), *blank(images_NCHW, ground)) for name, images_NCHW in splits.items()]
    vanished = {name: (there, on_ground) for name, there, on_ground, _ in counts if on_ground}
    plain = {name: (there, of_one_colour) for name, there, _, of_one_colour in counts if of_one_colour}
    if vanished:
        ink, (images, single) = "light" if ground == "white" else "dark", _counted(vanished)
        yield (
            f"{images} {'becomes' if single else 'become'} one colour on the {ground} background ({ink} ink on "
            "transparency?); save the pictures on a background on which everything shows"
        )
    if plain:
        images, single = _counted(plain)
        yield f"{images} {'is' if single else 'are'} of one colour; check whether anything should show there"


def _counted(found: Mapping[str, tuple[int, int]]) -> tuple[str, bool]:
    """Write how many images of each split were found, and tell whether it is a single one in all."""
    names = {"train": "training", "val": "validation", "test": "test"}
    text = listed(f"{count} of {counted(there, f'{names[split]} image')}" for split, (there, count) in found.items())
    return text, sum(count for _, count in found.values()) == 1


def blank(images_NCHW: NDArray[np.uint8], ground: str) -> tuple[int, int]:
    """Return how many images show hardly anything but the ground, and how many others are of one colour."""
    count, channels, height, width = images_NCHW.shape
    pixels_NCP = images_NCHW.reshape(count, channels, height * width)
    some_NCP = pixels_NCP[:, :, :: max(1, height * width // LOOKED_AT)]
    candidates = np.flatnonzero((np.ptp(some_NCP, axis=2) <= FAINT).all(axis=1))
    vanished = plain = 0
    for pixels_CP in (pixels_NCP[index] for index in candidates):
        if ground and np.abs(pixels_CP.astype(int) - GROUNDS[ground]).max() <= FAINT:
            vanished += 1
        else:
            plain += bool((pixels_CP == pixels_CP[:, :1]).all())
    return vanished, plain


@dataclass(frozen=True, eq=False)
class RawImages:
    """What every reader returns."""

    train_images_NCHW: NDArray[np.uint8]
    train_labels_N: NDArray[np.int64]
    test_images_NCHW: NDArray[np.uint8]
    test_labels_N: NDArray[np.int64]
    classes: int
    val: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None
    """Images and labels; None where validation images are split off the training images."""
    findings: Findings = field(default_factory=Findings)

    @property
    def shape(self) -> DataShape:
        """Sizes of the whole set, before validation images are split off."""
        channels, height, width = self.train_images_NCHW.shape[1:]
        train, test = len(self.train_images_NCHW), len(self.test_images_NCHW)
        val = 0 if self.val is None else len(self.val[1])
        return DataShape((channels, height, width), self.classes, train, val, test, self.findings)

    def cut(self, settings: DataSettings) -> DataShape:
        """Return the sizes that are asked for, with warnings of what is probably a mistake in these images.

        Raises:
            ConfigError: sizes that don't fit.
        """
        shape = subset(settings, self.shape)
        warnings = tuple(oddities(self.splits(shape), self.classes, self.findings.ground))
        return replace(shape, findings=replace(self.findings, warnings=warnings))

    def splits(self, shape: DataShape) -> dict[str, Split]:
        """Return the images and labels of train, val and test, as views, cut to sizes that fit."""
        images_NCHW, labels_N, whole = self.train_images_NCHW, self.train_labels_N, len(self.train_labels_N)
        own = (images_NCHW[whole - shape.val :], labels_N[whole - shape.val :])
        val_NCHW, val_labels_N = self.val or own
        return {
            "train": (images_NCHW[: shape.train], labels_N[: shape.train]),
            "val": (val_NCHW[: shape.val], val_labels_N[: shape.val]),
            "test": (self.test_images_NCHW[: shape.test], self.test_labels_N[: shape.test]),
        }

    def check(self, expected: DataShape) -> None:
        """Compare with what the files should hold.

        Raises:
            ValueError: naming the first difference.
        """
        splits = (
            ("train", self.train_images_NCHW, self.train_labels_N, expected.train),
            ("test", self.test_images_NCHW, self.test_labels_N, expected.test),
        )
        for split, images_NCHW, labels_N, count in splits:
            if images_NCHW.shape != (count, *expected.image):
                raise ValueError(f"{split} images of shape {images_NCHW.shape}, expected {(count, *expected.image)}")
            if labels_N.shape != (count,):
                raise ValueError(f"{len(labels_N)} labels for {count} {split} images")
            if not 0 <= labels_N.min() <= labels_N.max() < expected.classes:
                span = f"{labels_N.min()} to {labels_N.max()}"
                raise ValueError(f"{split} labels from {span}, expected 0 to {expected.classes - 1}")


def fixed_order(images: int) -> NDArray[np.int64]:
    """Return the one permutation of N images that sets sorted by class are put in, whatever the seeds.

    Sets whose files come shuffled keep the file order, so that "the first 1000" means the same everywhere.
    """
    return np.random.default_rng(20150211).permutation(images)
