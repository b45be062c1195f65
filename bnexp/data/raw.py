"""A data set as its files hold it: whole, on the host, in training order, not yet normalised.

Shapes: N images (its own number in each split), C channels, H, W.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bnexp.config.data import DATASETS, DataSettings
from bnexp.config.text import counted, have, listed
from bnexp.data.catalog import BACKGROUNDS, DataShape, Findings, subset

FAINT = 8
"""An image shows something if a pixel differs from the background by more than so many grey values, of 255."""

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images (N, C, H, W) and their labels."""


@dataclass(frozen=True, eq=False)
class RawImages:
    """What every reader returns."""

    train_images_NCHW: NDArray[np.uint8]
    train_labels_N: NDArray[np.int64]
    test_images_NCHW: NDArray[np.uint8]
    test_labels_N: NDArray[np.int64]
    classes: int
    val: Split | None = None
    """None where validation images are split off the training images."""
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
        warnings = tuple(data_warnings(self.splits(shape), self.classes, self.findings.background))
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

    def check(self, published: DataShape | None = None) -> None:
        """Check that a network can be trained on these arrays; later it would be an error of the device, or none.

        Args:
            published: sizes that they should have, where these are known.

        Raises:
            ValueError: naming the first flaw.
        """
        splits = {"train": (self.train_images_NCHW, self.train_labels_N)}
        splits |= {"test": (self.test_images_NCHW, self.test_labels_N)} | ({"val": self.val} if self.val else {})
        for name, (images, labels) in splits.items():
            if images.dtype != np.uint8 or images.ndim != 4:
                raise ValueError(
                    f"{name} images of {images.dtype} and shape {images.shape}, expected uint8 and (N, C, H, W)"
                )
            if images.shape[1:] != self.train_images_NCHW.shape[1:]:
                train = self.train_images_NCHW.shape[1:]
                raise ValueError(f"{name} images of shape {images.shape[1:]}, but train images of shape {train}")
            if published and images.shape != (count := getattr(published, name), *published.image):
                raise ValueError(f"{name} images of shape {images.shape}, expected {(count, *published.image)}")
            if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
                expected = f"int64 and {images.shape[:1]}"
                raise ValueError(f"{name} labels of {labels.dtype} and shape {labels.shape}, expected {expected}")
            if len(outside := labels[(labels < 0) | (labels >= self.classes)]):
                raise ValueError(f"{name} label {outside[0]}, expected 0 to {self.classes - 1}")


def read(settings: DataSettings) -> RawImages:
    """Read the data set that the settings name; missing files are downloaded.

    Raises:
        InputError: its files are missing, damaged or not as expected.
    """
    raw: RawImages = DATASETS[settings.name].load()(settings)
    return raw


def fixed_order(images: int) -> NDArray[np.int64]:
    """Return the one permutation of N images that sets sorted by class are put in, whatever the seeds.

    Sets whose files come shuffled keep the file order, so that "the first 1000" means the same everywhere.
    """
    return np.random.default_rng(20150211).permutation(images)


def data_warnings(splits: Mapping[str, Split], classes: int, background: str) -> Iterator[str]:
    """Yield what is probably a mistake in the images, the gravest first.

    Args:
        splits: train, val and test, as they will be used.
        classes: how many there should be.
        background: of BACKGROUNDS, where transparent images were laid on it; else empty.
    """
    images_NCHW, labels_N = splits["train"]
    count = len(images_NCHW)
    if count > 1 and all(np.array_equal(image_CHW, images_NCHW[0]) for image_CHW in images_NCHW):
        yield f"all {count} training images are equal, so there is nothing to learn from them"
    else:
        yield from _constant_channels(images_NCHW)
        yield from _blank_images({name: images_NCHW for name, (images_NCHW, _) in splits.items()}, background)
    if missing := classes - len(np.unique(labels_N)):
        yield f"{missing} of the {classes} classes {have(missing)} no training image"


def _constant_channels(images_NCHW: NDArray[np.uint8]) -> Iterator[str]:
    channels = images_NCHW.shape[1]
    for channel in range(channels):
        value = images_NCHW[0, channel, 0, 0]
        if all((image_CHW[channel] == value).all() for image_CHW in images_NCHW):
            place = f"channel {channel} (of {', '.join(map(str, range(channels)))})"
            yield f"{place} of the training images is {value} everywhere, so there is nothing to learn from it"


def _blank_images(splits: Mapping[str, NDArray[np.uint8]], background: str) -> Iterator[str]:
    found = {name: (len(images_NCHW), *count_blank(images_NCHW, background)) for name, images_NCHW in splits.items()}
    if vanished := {name: (count, total) for name, (total, count, _) in found.items() if count}:
        ink, become = ("light" if background == "white" else "dark"), _verb(vanished, "becomes", "become")
        yield (
            f"{_counts(vanished)} {become} one colour on the {background} background ({ink} ink on transparency?); "
            "save the images on a background on which everything shows"
        )
    if plain := {name: (count, total) for name, (total, _, count) in found.items() if count}:
        yield f"{_counts(plain)} {_verb(plain, 'is', 'are')} of one colour; check whether anything should show there"


def _counts(found: Mapping[str, tuple[int, int]]) -> str:
    names = {"train": "training", "val": "validation", "test": "test"}
    return listed(f"{count} of {counted(total, f'{names[split]} image')}" for split, (count, total) in found.items())


def _verb(found: Mapping[str, tuple[int, int]], one: str, many: str) -> str:
    return one if sum(count for count, _ in found.values()) == 1 else many


def count_blank(images_NCHW: NDArray[np.uint8], background: str) -> tuple[int, int]:
    """Return how many images show hardly anything but the background, and how many others are of one colour."""
    darkest_NC, lightest_NC = images_NCHW.min((2, 3)).astype(int), images_NCHW.max((2, 3)).astype(int)
    plain_N = (darkest_NC == lightest_NC).all(1)
    if not background:
        return 0, int(plain_N.sum())
    grey = BACKGROUNDS[background]
    vanished_N = ((abs(darkest_NC - grey) <= FAINT) & (abs(lightest_NC - grey) <= FAINT)).all(1)
    return int(vanished_N.sum()), int((plain_N & ~vanished_N).sum())
