"""Loading: splits are cut where the catalogue says, and the normalisation sees the training images alone."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bnexp.config.data import DataSettings
from bnexp.data import digits, image_folder
from bnexp.data.catalog import describe
from bnexp.data.dataset import Dataset, load
from bnexp.data.raw import RawImages
from bnexp.errors import InputError


def load_cpu(**settings) -> Dataset:
    return load(DataSettings(**settings), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    "sizes", [{}, {"train_size": 100, "val_size": 20, "test_size": 30}, {"val_size": 0, "test_size": 0}]
)
def test_splits_have_the_described_shape(sizes: dict[str, int]) -> None:
    data = load_cpu(name="digits", **sizes)
    assert data.shape == describe(DataSettings(name="digits", **sizes))
    for split, images in ((data.train, data.shape.train), (data.val, data.shape.val), (data.test, data.shape.test)):
        assert len(split) == images
        assert split.images_NP.shape == (images, 64)
        assert split.images_NP.dtype == torch.uint8
        assert split.labels_N.shape == (images,)
        assert split.labels_N.dtype == torch.int64
        assert data.inputs(split.images_NP).shape == (images, 64)


def test_train_is_first_and_val_is_last() -> None:
    raw = digits.read(DataSettings(name="digits"))
    data = load_cpu(name="digits", train_size=100, val_size=20, test_size=30)
    images_NP, labels_N = raw.train_images_NCHW.reshape(1437, 64), raw.train_labels_N
    assert (data.train.images_NP.numpy() == images_NP[:100]).all()
    assert (data.val.images_NP.numpy() == images_NP[-20:]).all()
    assert (data.train.labels_N.numpy() == labels_N[:100]).all()
    assert (data.val.labels_N.numpy() == labels_N[-20:]).all()
    assert (data.test.labels_N.numpy() == raw.test_labels_N[:30]).all()


def test_normalisation_is_fitted_on_the_training_images_alone() -> None:
    data = load_cpu(name="digits", train_size=100)
    inputs_NP = data.inputs(data.train.images_NP)
    assert inputs_NP.dtype == torch.float32
    assert inputs_NP.mean().abs() < 1e-6
    assert inputs_NP.var(correction=0) == pytest.approx(1, abs=1e-5)
    assert data.inputs(data.val.images_NP).mean().abs() > 1e-3
    other = load_cpu(name="digits", train_size=100, val_size=5, test_size=0)
    assert torch.equal(other.normalization.shift_P, data.normalization.shift_P)


def test_scaling_and_feature_scale_reach_the_inputs() -> None:
    plain = load_cpu(name="digits", normalize="none")
    scaled = load_cpu(name="digits", normalize="unit", feature_scale={20: 50.0})
    images_NP = plain.train.images_NP
    assert torch.equal(plain.inputs(images_NP), images_NP.float())
    expected_NP = images_NP / torch.tensor(255.0)
    expected_NP[:, 20] *= 50
    assert torch.equal(scaled.inputs(images_NP), expected_NP)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"^data.train_size: 1437 images, and 143 for validation"):
        load_cpu(name="digits", train_size=1437)


def test_image_folder_as_described(pictures: Path) -> None:
    settings = {"name": "image_folder", "root": str(pictures), "val_size": 2}
    data = load_cpu(**settings)
    assert data.shape == describe(DataSettings(**settings))
    assert sorted([*data.train.labels_N.tolist(), *data.val.labels_N.tolist()]) == [0, 0, 0, 1, 1, 1]


def test_a_val_folder_is_validated_on_and_all_of_train_trained_on(pictures: Path) -> None:
    shutil.copytree(pictures / "test", pictures / "val")
    settings = {"name": "image_folder", "root": str(pictures)}
    data = load_cpu(**settings)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 2, 2)
    assert sorted(data.val.labels_N.tolist()) == [0, 1]
    assert torch.equal(data.val.images_NP, data.test.images_NP)
    assert data.shape == describe(DataSettings(**settings))
    one = load_cpu(**settings, val_size=1)
    assert torch.equal(one.val.images_NP, data.val.images_NP[:1])
    assert len(one.train) == 6


def test_real_mnist(real_mnist: str) -> None:
    data = load_cpu(name="mnist", root=real_mnist, train_size=1000)
    assert data.shape == describe(DataSettings(name="mnist", train_size=1000))
    assert data.train.labels_N[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.inputs(data.train.images_NP).std(correction=0) == pytest.approx(1, abs=1e-5)


def raw_images(train: int = 20, test: int = 4) -> RawImages:
    rng = np.random.default_rng(0)
    images_NCHW = rng.integers(0, 256, (train + test, 1, 3, 3), dtype=np.uint8)
    labels_N = np.arange(train + test) % 3
    return RawImages(images_NCHW[:train], labels_N[:train], images_NCHW[train:], labels_N[train:], classes=3)


def spoilt(field: str, change) -> RawImages:
    raw = raw_images()
    # Past the constructor, whose types the tests check and a run doesn't.
    object.__setattr__(raw, field, change(getattr(raw, field)))
    return raw


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
            "train images of float32 and shape (20, 1, 3, 3), expected uint8 and (N, C, H, W)",
        ),
        (
            spoilt("train_images_NCHW", lambda x: x[:, 0]),
            "train images of uint8 and shape (20, 3, 3), expected uint8 and (N, C, H, W)",
        ),
        (
            spoilt("val", lambda _: (raw_images().train_images_NCHW, np.full(20, 3))),
            "val label 3, expected 0 to 2",
        ),
        (
            spoilt("test_images_NCHW", lambda x: x[..., :2]),
            "test images of shape (1, 3, 2), but train images of shape (1, 3, 3)",
        ),
    ],
)
def test_what_no_network_can_train_on_is_refused_with_the_name_of_the_set(
    raw: RawImages, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folder, "read", lambda settings: raw)
    with pytest.raises(InputError, match=rf"^data\.name: image_folder can't be trained on: {re.escape(expected)}$"):
        load_cpu(name="image_folder", root="pictures")


def warnings(change, **settings) -> tuple[str, ...]:
    """What is said of a set whose training images were changed."""
    raw = raw_images()
    change(raw.train_images_NCHW)
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
    raw = RawImages(images_NCHW, np.arange(6) % 2, images_NCHW, np.arange(6) % 2, classes=2)
    message = "channel 1 (of 0, 1, 2) of the training images is 7 everywhere, so there is nothing to learn from it"
    assert raw.cut(DataSettings(name="image_folder", val_size=1)).findings.warnings == (message,)
    assert raw.cut(DataSettings(name="image_folder", val_size=0)).findings.warnings == ()


@pytest.mark.parametrize(
    ("train", "message"),
    [(1, "2 of the 3 classes have no training image"), (2, "1 of the 3 classes has no training image")],
)
def test_classes_without_a_training_image_are_warned_of(train: int, message: str) -> None:
    assert message in warnings(lambda images_NCHW: None, train_size=train)


@pytest.mark.parametrize("test", [0, 4])
def test_a_set_without_test_images_or_with_an_unseen_class_is_fine(test: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = raw_images(test=test)
    raw.train_labels_N[raw.train_labels_N == 1] = 0
    monkeypatch.setattr(image_folder, "read", lambda settings: raw)
    data = load_cpu(name="image_folder", root="pictures", val_size=2)
    assert (data.shape.classes, len(data.test)) == (3, test)
    assert set(data.train.labels_N.tolist()) == {0, 2}


def test_a_factor_beyond_floats_is_refused_unless_the_precision_holds_it() -> None:
    settings = DataSettings(name="digits", feature_scale={3: 1e300})
    with pytest.raises(InputError, match=r"^data\.feature_scale: 1e\+300 takes pixel 3 beyond .*: fp64$"):
        load(settings, torch.device("cpu"), torch.float32)
    data = load(settings, torch.device("cpu"), torch.float64)
    assert data.inputs(data.train.images_NP).isfinite().all()
