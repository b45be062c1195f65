"""A data set as in its files: whole, on the host, in training order, not yet normalised.

Shapes: N images (its own number in each split), C channels, H, W.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import distribution
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnexp.config.data import DATASETS, DataSettings
from bnexp.config.text import counted, escaped, have
from bnexp.data.catalog import DataShape, Findings, subset
from bnexp.data.machine import check_room
from bnexp.errors import ConfigError, Problem


class RawSplit(NamedTuple):
    """Images for one purpose, and their labels."""

    images_NCHW: NDArray[Any]
    """Bytes or floats."""
    labels_N: NDArray[np.int64]

    def cut(self, at: int) -> "tuple[RawSplit, RawSplit]":
        """Return the first images, up to a number, and the others, as views."""
        before, after = zip(*((part[:at], part[at:]) for part in self), strict=True)
        return RawSplit(*before), RawSplit(*after)

    def reordered(self, order_N: NDArray[np.int64]) -> "RawSplit":
        """Return copies of the images in another order.

        Raises:
            InputError: they don't fit the free memory.
        """
        check_room("data: images in another order", self.images_NCHW.nbytes, "keep fewer of them")
        return RawSplit(self.images_NCHW[order_N], self.labels_N[order_N])


@dataclass(frozen=True, eq=False)
class RawImages:
    """The images and labels that every reader returns."""

    train: RawSplit
    test: RawSplit
    classes: int
    val: RawSplit | None = None
    """None where validation images are split off the training images."""
    pooled: bool = False
    """The test images were drawn by `data.split_seed`, from one set that nobody split."""
    features: tuple[str, ...] = ()
    """Names of the features of a table; empty where they have numbers only."""
    findings: Findings = field(default_factory=Findings)

    @property
    def shape(self) -> DataShape:
        """Sizes of the whole set, before validation images are split off."""
        channels, height, width = self.train.images_NCHW.shape[1:]
        train, val, test = (len(split.labels_N) if split else 0 for split in (self.train, self.val, self.test))
        floats = self.train.images_NCHW.dtype != np.uint8
        drawn = () if self.val else ("val", "test") if self.pooled else ("val",)
        return DataShape((channels, height, width), self.classes, train, val, test, floats, self.findings, drawn)

    def cut(self, settings: DataSettings) -> DataShape:
        """Return the sizes that are asked for, with warnings of what is probably a mistake in these images.

        Raises:
            ConfigError: sizes that don't fit.
        """
        shape = subset(settings, self.shape)
        warnings = data_warnings(self.splits(shape), self.classes, self.features)
        return replace(shape, findings=replace(self.findings, warnings=(*self.findings.warnings, *warnings)))

    def splits(self, shape: DataShape) -> dict[str, RawSplit]:
        """Return train, val and test, as views, cut to sizes that fit."""
        val = self.val or self.train.cut(len(self.train.labels_N) - shape.val)[1]
        whole = {"train": self.train, "val": val, "test": self.test}
        return {name: split.cut(getattr(shape, name))[0] for name, split in whole.items()}

    def check(self, published: DataShape | None = None) -> None:
        """Raise ValueError with the first flaw because of which no network can be trained on these arrays.

        Later it would be an error of the device, or go unnoticed. If sizes are published, they are compared, too.
        """
        whole = {"train": self.train, "test": self.test} | ({"val": self.val} if self.val else {})
        for name, (images, labels) in whole.items():
            floats = images.dtype.kind == "f"
            if (images.dtype != np.uint8 and not floats) or floats != (self.train.images_NCHW.dtype.kind == "f"):
                raise ValueError(f"{name} images of {images.dtype}, expected uint8 or floats, the same in all splits")
            if images.ndim != 4:
                raise ValueError(f"{name} images of shape {images.shape}, expected (N, C, H, W)")
            count = getattr(published, name) if published else len(images)
            expected = (count, *(published.image if published else self.train.images_NCHW.shape[1:]))
            if images.shape != expected:
                raise ValueError(f"{name} images of shape {images.shape}, expected {expected}")
            if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
                found = f"{labels.dtype} and shape {labels.shape}"
                raise ValueError(f"{name} labels of {found}, expected int64 and {images.shape[:1]}")
            if len(outside := labels[(labels < 0) | (labels >= self.classes)]):
                raise ValueError(f"{name} label {outside[0]}, expected 0 to {self.classes - 1}")


def read(settings: DataSettings) -> RawImages:
    """Read the data set that the settings name, and draw the validation images where `data.split_seed` says so.

    Missing files are downloaded. A reader draws the test images itself where nobody has split its set.

    Raises:
        InputError: the files can't be had, or another order of the images doesn't fit the free memory.
    """
    raw: RawImages = DATASETS[settings.name].load()(settings)
    if not settings.split_seed or raw.pooled or raw.val or settings.val_size == 0:
        return raw
    return replace(raw, train=raw.train.reordered(_random_order(len(raw.train.labels_N), settings)))


def _random_order(images: int, settings: DataSettings) -> NDArray[np.int64]:
    return np.random.default_rng(settings.split_seed).permutation(images)


def fixed_order(images: int) -> NDArray[np.int64]:
    """Return the one permutation of N images that sets sorted by class are put in, whatever the seeds.

    Sets whose files come shuffled keep the file order, so that "the first 1000" means the same everywhere.
    """
    return np.random.default_rng(20150211).permutation(images)


def split_off(whole: RawSplit, settings: DataSettings) -> tuple[RawSplit, RawSplit, str]:
    """Return training and test images drawn at random from images that nobody split, and what to say of it.

    Raises:
        ConfigError: no image is left to train on.
    """
    count, asked = len(whole.labels_N), settings.test_size
    held = max(1, count // 5) if asked is None else asked
    if held >= count:
        message = f"{held} of the {counted(count, 'image')} leave none to train on; lower it"
        raise ConfigError([Problem("", "data.test_size", message)])
    test, train = whole.reordered(_random_order(count, settings)).cut(held)
    return (
        train,
        test,
        f"{counted(held, 'test image')} of {count} drawn at random, by data.split_seed",
    )


def read_digits(settings: DataSettings) -> RawImages:
    """Return the 1797 digits that come with scikit-learn, the last 360 of the fixed or of a random order to test on."""
    rows_NP = digit_rows()
    rows_NP = rows_NP[_random_order(len(rows_NP), settings) if settings.split_seed else fixed_order(len(rows_NP))]
    # Ink counts 0..16 are stretched to the 0..255 of every other set.
    images_NCHW = np.rint(rows_NP[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels_N = rows_NP[:, -1].astype(np.int64)
    return RawImages(*RawSplit(images_NCHW, labels_N).cut(DATASETS["digits"].train), classes=10, pooled=True)


def digit_rows() -> NDArray[np.float64]:
    """Return the digits as scikit-learn keeps them: a row for each, its 64 ink counts and its label."""
    # Its file alone: to import scikit-learn takes longer than many a training on these images.
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    return np.loadtxt(str(path), delimiter=",")


MANY_CLASSES = 10
"""Numbers of classes from which on a warning is due."""
MOST_NAMED = 5
"""The most features that a warning names."""


def data_warnings(splits: Mapping[str, RawSplit], classes: int, features: Sequence[str] = ()) -> Iterator[str]:
    """Yield probable mistakes in train, val and test as they will be used, the gravest first."""
    images_NCHW, labels_N = splits["train"]
    lowest_CHW, highest_CHW = images_NCHW.min(0), images_NCHW.max(0)
    if len(images_NCHW) > 1 and np.array_equal(lowest_CHW, highest_CHW):
        yield f"all {len(images_NCHW)} training images are equal, so there is nothing to learn from them"
    elif images_NCHW.shape[2:] == (1, 1):
        if len(constant := np.flatnonzero(lowest_CHW == highest_CHW)):
            named = [escaped(features[each]) if features else str(each) for each in constant[:MOST_NAMED]]
            more = ", …" if len(constant) > MOST_NAMED else ""
            said = f"{len(constant)} of {counted(len(lowest_CHW), 'feature')} {'is' if len(constant) == 1 else 'are'}"
            yield f"{said} constant over the training images: {', '.join(named)}{more}"
    else:
        lowest_C, highest_C = lowest_CHW.min((1, 2)), highest_CHW.max((1, 2))
        for channel in np.flatnonzero(lowest_C == highest_C):
            place = f"channel {channel} (of {', '.join(map(str, range(len(lowest_C))))})"
            value = lowest_C[channel]
            yield f"{place} of the training images is {value} everywhere, so there is nothing to learn from it"
        for name, (images, _) in splits.items():
            if plain := int((images.min((2, 3)) == images.max((2, 3))).all(1).sum()):
                kind = {"train": "training", "val": "validation", "test": "test"}[name]
                said = f"{plain} of {counted(len(images), f'{kind} image')} {have(plain)} a single colour"
                yield f"{said}; check whether anything should show there"
    if classes > MANY_CLASSES and 2 * classes > len(labels_N):
        said = f"{classes} classes for {counted(len(labels_N), 'training image')}"
        yield f"there are {said}; check whether the labels are an identifier, or a quantity to predict"
    if missing := classes - len(np.unique(labels_N)):
        yield f"{missing} of the {classes} classes {have(missing)} no training image"
