"""The 1797 handwritten digits of 8x8 pixels that come with scikit-learn: no download, no files."""

import numpy as np

from bnexp.config.data import DataSettings
from bnexp.data.catalog import KNOWN_SETS
from bnexp.data.raw import RawImages, fixed_order


def read(settings: DataSettings) -> RawImages:
    """Return the digits in their fixed order, the last 360 of it as test images."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order_N = fixed_order(len(bunch.target))
    # Ink counts 0..16 are stretched to the 0..255 of every other set.
    images_NCHW = np.rint(bunch.images[order_N, None] * (255 / 16)).astype(np.uint8)
    labels_N = bunch.target[order_N].astype(np.int64)
    train = KNOWN_SETS["digits"].train
    return RawImages(images_NCHW[:train], labels_N[:train], images_NCHW[train:], labels_N[train:], classes=10)
