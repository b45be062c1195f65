"""Arrays that nothing can be trained on are refused, and what is probably a mistake in them is warned of."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bnexp.config.data import DataSettings
from bnexp.data.catalog import DataShape, published
from bnexp.data.raw import RawImages, RawSplit, data_warnings, fixed_order, read_digits


def raw_images(train: int = 20, test: int = 4) -> RawImages:
    rng = np.random.default_rng(0)
    images_NCHW = rng.integers(0, 256, (train + test, 1, 3, 3), dtype=np.uint8)
    labels_N = np.arange(train + test) % 3
    return RawImages(*RawSplit(images_NCHW, labels_N).cut(train), classes=3)


def spoilt(field: str, change) -> RawImages:
    """A set one of whose arrays was changed."""
    split, _, name = field.partition("_")
    raw = getattr(raw_images(), split)
    return replace(raw_images(), **{split: raw._replace(**{name: change(getattr(raw, name))})})


def labelled(label: int):
    return lambda labels_N: np.where(np.arange(len(labels_N)) == 2, label, labels_N)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (spoilt("train_labels_N", labelled(3)), "train label 3, expected 0 to 2"),
        (spoilt("train_labels_N", labelled(-1)), "train label -1, expected 0 to 2"),
        (spoilt("test_labels_N", labelled(7)), "test label 7, expected 0 to 2"),
        (
            spoilt("test_labels_N", lambda y: y.astype(float)),
            "test labels of float64 and shape (4,), expected int64 and (4,)",
        ),
        (spoilt("train_labels_N", lambda y: y[:-1]), "train labels of int64 and shape (19,), expected int64 and (20,)"),
        (
            spoilt("train_images_NCHW", lambda x: x.astype(np.float32)),
            "test images of uint8, expected uint8 or floats, the same in all splits",
        ),
        (
            spoilt("train_images_NCHW", lambda x: x[:, 0]),
            "train images of shape (20, 3, 3), expected (N, C, H, W)",
        ),
        (
            replace(raw_images(), val=raw_images().train._replace(labels_N=np.full(20, 3))),
            "val label 3, expected 0 to 2",
        ),
        (
            spoilt("test_images_NCHW", lambda x: x[..., :2]),
            "test images of shape (4, 1, 3, 2), expected (4, 1, 3, 3)",
        ),
    ],
)
def test_what_no_network_can_train_on_is_named(raw: RawImages, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        raw.check()


def test_a_set_without_test_images_or_with_an_unseen_class_is_fine() -> None:
    raw = raw_images(test=0)
    raw.train.labels_N[raw.train.labels_N == 1] = 0
    raw.check()
    raw.check(DataShape((1, 3, 3), 3, train=20, val=0, test=0))
    with pytest.raises(ValueError, match=r"^train images of shape \(20, 1, 3, 3\), expected \(21, 1, 3, 3\)$"):
        raw.check(DataShape((1, 3, 3), 3, train=21, val=0, test=0))


def warnings(change, **settings) -> tuple[str, ...]:
    """What is said of a set whose training images were changed."""
    raw = raw_images()
    change(raw.train.images_NCHW)
    return raw.cut(DataSettings(**{"name": "image_folder", "val_size": 2} | settings)).findings.warnings


def test_ordinary_images_are_nothing_to_warn_of() -> None:
    assert warnings(lambda images_NCHW: None) == ()


def _all_equal(images_NCHW: np.ndarray) -> None:
    images_NCHW[:18] = images_NCHW[0]  # the last two validate


def test_equal_training_images_are_warned_of() -> None:
    assert warnings(_all_equal) == ("all 18 training images are equal, so there is nothing to learn from them",)
    assert warnings(_all_equal, val_size=1) == ()
    assert not any("equal" in line for line in warnings(_all_equal, train_size=1))


def test_a_constant_channel_of_the_training_images_is_warned_of() -> None:
    rng = np.random.default_rng(0)
    images_NCHW = rng.integers(0, 256, (6, 3, 2, 2), dtype=np.uint8)
    images_NCHW[:5, 1] = 7
    split = RawSplit(images_NCHW, np.arange(6) % 2)
    raw = RawImages(split, split, classes=2)
    message = "channel 1 (of 0, 1, 2) of the training images is 7 everywhere, so there is nothing to learn from it"
    assert raw.cut(DataSettings(name="image_folder", val_size=1)).findings.warnings == (message,)
    assert raw.cut(DataSettings(name="image_folder", val_size=0)).findings.warnings == ()


@pytest.mark.parametrize(
    ("train", "message"),
    [(1, "2 of the 3 classes have no training image"), (2, "1 of the 3 classes has no training image")],
)
def test_classes_without_a_training_image_are_warned_of(train: int, message: str) -> None:
    assert message in warnings(lambda images_NCHW: None, train_size=train)


def test_a_class_for_nearly_every_image_is_asked_about() -> None:
    split = RawSplit(np.random.default_rng(0).integers(0, 256, (20, 1, 3, 3), dtype=np.uint8), np.arange(20))
    said = "there are 20 classes for 20 training images; check whether the labels are an identifier, or a quantity to"
    assert any(line.startswith(said) for line in data_warnings({"train": split}, 20))
    assert list(data_warnings({"train": split._replace(labels_N=np.arange(20) % 10)}, 10)) == []


def test_images_of_one_colour_are_counted() -> None:
    noise_CHW = np.random.default_rng(0).integers(0, 256, (3, 6, 6), dtype=np.uint8)
    plain_CHW = np.full((3, 6, 6), 255, np.uint8)
    splits = {
        "train": RawSplit(np.stack([noise_CHW, plain_CHW, plain_CHW]), np.zeros(3, np.int64)),
        "val": RawSplit(noise_CHW[None], np.zeros(1, np.int64)),
        "test": RawSplit(np.stack([noise_CHW, plain_CHW]), np.zeros(2, np.int64)),
    }
    assert list(data_warnings(splits, classes=1)) == [
        "2 of 3 training images have a single colour; check whether anything should show there",
        "1 of 2 test images has a single colour; check whether anything should show there",
    ]


def test_the_digits_are_as_the_catalogue_says_and_keep_every_image_with_its_label() -> None:
    raw, bunch = read_digits(DataSettings(name="digits")), load_digits()
    raw.check(published("digits"))
    assert raw.shape == published("digits")
    images_NP = np.concatenate([raw.train.images_NCHW, raw.test.images_NCHW]).reshape(1797, 64)
    order_N = fixed_order(1797)
    # 16 ink counts become 0, 16, 32, 48, 64, 80, 96, 112, 128, 143, …, 255.
    assert np.array_equal(np.rint(images_NP * (16 / 255)), bunch.data[order_N])
    assert (images_NP.min(), images_NP.max()) == (0, 255)
    assert np.array_equal(np.concatenate([raw.train.labels_N, raw.test.labels_N]), bunch.target[order_N])


def test_golden_order() -> None:
    # Accuracies on digits are recorded for this split; it may never change.
    assert fixed_order(1797)[:6].tolist() == [1795, 549, 1527, 1733, 1692, 234]
    raw = read_digits(DataSettings(name="digits"))
    assert raw.train.labels_N[:12].tolist() == [9, 5, 7, 6, 5, 6, 0, 8, 1, 2, 2, 5]
