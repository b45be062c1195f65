"""What a data set will hold once it is loaded: image shape, classes, split sizes, steps per epoch.

Torch-free, so that plans and cost estimates answer at once. Shapes: C channels, H, W.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

from bnexp.config.data import DATASETS, DataSettings
from bnexp.config.text import counted
from bnexp.errors import ConfigError, Problem

BACKGROUNDS = {"white": 255, "black": 0}
"""What transparent images can be laid on, with the grey value."""


@dataclass(frozen=True)
class Findings:
    """For people and scripts; training doesn't depend on it."""

    left_out: tuple[tuple[str, int], ...] = ()
    """Files and folders that aren't read: the reason, or their ending, and how many."""
    background: str = ""
    """What transparent images were laid on, one of BACKGROUNDS; empty where there are none."""
    remarks: tuple[str, ...] = ()
    """What may surprise in how the files were read."""
    warnings: tuple[str, ...] = ()
    """What is probably a mistake in the data."""

    def lines(self) -> Iterator[str]:
        """Yield all but the warnings."""
        if self.background:
            why = ", since what they show is light" if self.background == "black" else ""
            yield f"transparent images are laid on {self.background}{why}"
        yield from self.remarks
        if self.left_out:
            yield f"left out: {self.left_out_text()}"

    def left_out_text(self) -> str:
        """Write what was left out, such as "3 .txt files, 1 hidden"."""
        return ", ".join(_text(reason, count) for reason, count in self.left_out)


def most_frequent_first(reasons: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Return how often each reason occurred, where it did; equally frequent ones by name."""
    return tuple(sorted((+reasons).items(), key=lambda item: (-item[1], item[0])))


def _text(reason: str, count: int) -> str:
    if reason[0] == ".":
        return counted(count, f"{reason} file")
    return counted(count, reason) if reason.endswith("folder") else f"{count} {reason}"


Sampling = Literal["epoch", "replacement", "by_class"]


@dataclass(frozen=True)
class DataShape:
    """Size of one image and of every split."""

    image: tuple[int, int, int]
    """C, H, W."""
    classes: int
    train: int
    """Images to train on."""
    val: int
    """Images to validate on; 0 = none."""
    test: int
    """Images to test on; 0 = none."""
    findings: Findings = field(default_factory=Findings, compare=False)


Named = tuple[str, DataShape]
"""A data set's name, and what was read of it."""


def describe(settings: DataSettings) -> DataShape:
    """Return the sizes that `load` will cut a set to; its images are read only where nothing else tells them.

    Raises:
        InputError: the sizes do not fit, a scaled pixel does not exist, or the files can't be read.
    """
    if shape := known_shape(settings):
        return shape
    from bnexp.data.raw import read  # takes numpy

    return read(settings).cut(settings)


def published(name: str) -> DataShape | None:
    """Return the sizes of a whole data set, before validation images are split off; None where only files tell."""
    spec = DATASETS[name]
    return spec.image and DataShape(spec.image, spec.classes, train=spec.train, val=0, test=spec.test)


def known_shape(settings: DataSettings) -> DataShape | None:
    """Return the sizes that a set is cut to; None where only its files tell.

    Raises:
        ConfigError: as subset.
    """
    whole = published(settings.name)
    return whole and subset(settings, whole)


def subset(settings: DataSettings, whole: DataShape) -> DataShape:
    """Cut a whole data set to the sizes asked for; where it has no validation images they come off the training images.

    Raises:
        ConfigError: every size that does not fit and every scaled pixel that does not exist.
    """
    train, val, test = settings.sizes(whole.train, whole.val, whole.test)
    shape = replace(whole, train=train, val=val, test=test)
    if problems := [*_size_problems(settings.name, shape, whole), *_pixel_problems(settings, shape)]:
        raise ConfigError(problems)
    return shape


def steps_per_epoch(images: int, batch_size: int, sampling: Sampling, drop_last: bool) -> int:
    """Return the updates in one pass over `images` training images.

    Raises:
        ConfigError: dropping the last, smaller batch would leave no batch at all.
    """
    if sampling == "replacement":
        return max(1, images // batch_size)
    if not drop_last:
        return -(-images // batch_size)
    if batch_size > images:
        there = counted(images, "training image")
        message = f"{batch_size} is more than the {there}; lower it, or set train.drop_last=false"
        raise ConfigError([Problem("", "train.batch_size", message)])
    return images // batch_size


def _size_problems(name: str, shape: DataShape, whole: DataShape) -> Iterator[Problem]:
    train, val = shape.train, shape.val
    if train == 0 and (whole.val or val < whole.train):
        yield Problem("", "data.train_size", "0 leaves no image to train on; give at least 1, or null for all")
    elif whole.val:
        yield from _too_many("data.val_size", val, whole.val, "validation", name)
        yield from _too_many("data.train_size", train, whole.train, "training", name)
    elif val >= whole.train:
        message = f"{val} of the {counted(whole.train, 'training image')} of {name} leave none to train on; lower it"
        yield Problem("", "data.val_size", message)
    elif train + val > whole.train:
        spare = f", or data.val_size to {whole.train - train}" if train <= whole.train else ""
        message = (
            f"{counted(train, 'image')}, and {val} for validation (data.val_size), are more than the "
            f"{counted(whole.train, 'training image')} of {name}; lower data.train_size to {whole.train - val}{spare}"
        )
        yield Problem("", "data.train_size", message)
    yield from _too_many("data.test_size", shape.test, whole.test, "test", name)


def _too_many(key: str, asked: int, there: int, split: str, name: str) -> Iterator[Problem]:
    if asked > there:
        images = counted(there, f"{split} image")
        yield Problem("", key, f"{asked} is more than the {images} of {name}; lower it, or null for all")


def _pixel_problems(settings: DataSettings, shape: DataShape) -> list[Problem]:
    pixels = prod(shape.image)
    size = "x".join(map(str, shape.image))
    return [
        Problem("", "data.feature_scale", f"no pixel {index}; a {size} image has pixels 0 to {pixels - 1}")
        for index in settings.feature_scale
        if index >= pixels
    ]
