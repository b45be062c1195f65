"""The sizes of a data set before it is loaded: image shape, classes, split sizes, steps per epoch.

Torch-free, so that plans and cost estimates answer at once. Shapes: C channels, H, W.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

from bnexp.config.data import DATASETS, DataSettings
from bnexp.config.text import counted
from bnexp.errors import ConfigError, Problem

BACKGROUNDS = {"white": 255, "black": 0}
"""Backgrounds of transparent images, with their grey value."""


@dataclass(frozen=True)
class Findings:
    """For people and scripts; training doesn't depend on it."""

    left_out: tuple[tuple[str, int], ...] = ()
    """Files that aren't read: their ending, "hidden", or where they lie, and how many."""
    background: str = ""
    """Background of transparent images, one of BACKGROUNDS; empty where there are none."""
    remarks: tuple[str, ...] = ()
    """Surprises in how the files were read."""
    warnings: tuple[str, ...] = ()
    """Probable mistakes in the data."""

    def lines(self) -> Iterator[str]:
        """Yield all but the warnings."""
        if self.background:
            why = ", since what they show is light" if self.background == "black" else ""
            yield f"transparent images get a {self.background} background{why}"
        yield from self.remarks
        if self.left_out:
            # A place says where they lie: "2 outside the class folders".
            texts = (f"{n} {kind}" if " " in kind else counted(n, f"{kind} file") for kind, n in self.left_out)
            yield f"left out: {', '.join(texts)}"


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
    floats: bool = False
    """The images are floats in their files, not bytes."""
    findings: Findings = field(default_factory=Findings, compare=False)
    drawn: tuple[str, ...] = field(default=(), compare=False)
    """Splits that `data.split_seed` draws, of val and test; the others are sets of their own."""

    @property
    def tabular(self) -> bool:
        """True where images are none, but rows of features: C of them in one place."""
        return self.image[1:] == (1, 1)

    @property
    def size(self) -> str:
        """The size of an image for people."""
        return counted(self.image[0], "feature") if self.tabular else "x".join(map(str, self.image))


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
    drawn = ("val", "test") if spec.pooled else ("val",)
    return spec.image and DataShape(spec.image, spec.classes, train=spec.train, val=0, test=spec.test, drawn=drawn)


def known_shape(settings: DataSettings) -> DataShape | None:
    """Return the sizes that a set is cut to, as subset does; None where only its files tell."""
    whole = published(settings.name)
    return whole and subset(settings, whole)


def subset(settings: DataSettings, whole: DataShape) -> DataShape:
    """Cut a whole data set to the sizes asked for; where it has no validation images they come off the training images.

    Raises:
        ConfigError: every size that does not fit and every scaled pixel that does not exist.
    """
    train, val, test = settings.sizes(whole.train, whole.val, whole.test)
    shape = replace(whole, train=train, val=val, test=test)
    shape = replace(shape, drawn=tuple(split for split in whole.drawn if getattr(shape, split)))
    problems = [*_size_problems(settings.name, shape, whole)]
    if wrong := [index for index in settings.feature_scale if index >= prod(shape.image)]:
        there = f"there are {shape.size}," if shape.tabular else f"a {shape.size} image has pixels"
        message = f"no pixel {', '.join(map(str, wrong))}; {there} 0 to {prod(shape.image) - 1}"
        problems.append(Problem("", "data.feature_scale", message))
    if problems:
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
    own_val = whole.val > 0
    there = f"{counted(whole.train, 'training image')} of {name}"
    if train == 0 and (own_val or val < whole.train):
        yield Problem("", "data.train_size", "0 leaves no image to train on; give at least 1, or null for all")
    elif not own_val and val >= whole.train:
        yield Problem("", "data.val_size", f"{val} of the {there} leave none to train on; lower it")
    elif not own_val and train + val > whole.train:
        spare = f", or data.val_size to {whole.train - train}" if train <= whole.train else ""
        message = (
            f"{counted(train, 'image')}, and {val} for validation (data.val_size), are more than the {there}; "
            f"lower data.train_size to {whole.train - val}{spare}"
        )
        yield Problem("", "data.train_size", message)
    splits = {"train": "training", "val": "validation", "test": "test"} if own_val else {"test": "test"}
    for split, images in splits.items():
        asked, most = getattr(shape, split), getattr(whole, split)
        if asked > most:
            there = f"{counted(most, f'{images} image')} of {name}"
            yield Problem("", f"data.{split}_size", f"{asked} is more than the {there}; lower it, or set null for all")
