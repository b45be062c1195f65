"""A data set as its files hold it: whole, on the host, in training order, not yet normalised.

Shapes: N images (its own number in each split), C channels, H, W.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnexp.data.catalog import DataShape


@dataclass(frozen=True, eq=False)
class RawImages:
    """What every reader returns."""

    train_images_NCHW: NDArray[np.uint8]
    train_labels_N: NDArray[np.int64]
    test_images_NCHW: NDArray[np.uint8]
    test_labels_N: NDArray[np.int64]
    classes: int

    @property
    def shape(self) -> DataShape:
        """Sizes of the whole set, before validation images are split off."""
        channels, height, width = self.train_images_NCHW.shape[1:]
        train, test = len(self.train_images_NCHW), len(self.test_images_NCHW)
        return DataShape((channels, height, width), self.classes, train=train, val=0, test=test)

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
