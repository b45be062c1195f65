"""The bundled digits: bytes in a fixed order, the last 360 for testing."""

import numpy as np
from sklearn.datasets import load_digits

from bnexp.config.data import DataSettings
from bnexp.data import digits
from bnexp.data.catalog import published
from bnexp.data.raw import fixed_order


def test_holds_what_the_catalogue_says() -> None:
    raw = digits.read(DataSettings(name="digits"))
    raw.check(published("digits"))
    assert raw.shape == published("digits")


def test_keeps_every_image_with_its_label() -> None:
    raw, bunch = digits.read(DataSettings(name="digits")), load_digits()
    images_NP = np.concatenate([raw.train_images_NCHW, raw.test_images_NCHW]).reshape(1797, 64)
    order_N = fixed_order(1797)
    # 16 ink counts become 0, 16, 32, 48, 64, 80, 96, 112, 128, 143, …, 255.
    assert np.array_equal(np.rint(images_NP * (16 / 255)), bunch.data[order_N])
    assert images_NP.min() == 0
    assert images_NP.max() == 255
    assert np.array_equal(np.concatenate([raw.train_labels_N, raw.test_labels_N]), bunch.target[order_N])


def test_golden_order() -> None:
    # Accuracies on digits are recorded for this split; it may never change.
    assert fixed_order(1797)[:6].tolist() == [1795, 549, 1527, 1733, 1692, 234]
    raw = digits.read(DataSettings(name="digits"))
    assert raw.train_labels_N[:12].tolist() == [9, 5, 7, 6, 5, 6, 0, 8, 1, 2, 2, 5]
