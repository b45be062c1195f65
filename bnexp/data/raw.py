"""A data set as its files hold it: whole, on the host, in training order, not yet normalised.

Shapes: N images (its own number in each split), C channels, H, W.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bnexp.config.data import DataSettings
from bnexp.data.catalog import DataShape, subset
from bnexp.data.findings import Findings
from bnexp.data.oddities import Split, oddities


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
