"""The 1797 digits that come with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits

from bnexp.config.data import DATASETS, DataSettings
from bnexp.data.raw import RawImages, fixed_order


def read(settings: DataSettings) -> RawImages:
    """Return the digits in the fixed order, its last 360 as test images."""
    bunch = load_digits()
    order_N = fixed_order(len(bunch.target))
    # Ink counts 0..16 are stretched to the 0..255 of every other set.
    images_NCHW = np.rint(bunch.images[order_N, None] * (255 / 16)).astype(np.uint8)
    labels_N = bunch.target[order_N].astype(np.int64)
    train = DATASETS["digits"].train
    return RawImages(images_NCHW[:train], labels_N[:train], images_NCHW[train:], labels_N[train:], classes=10)
