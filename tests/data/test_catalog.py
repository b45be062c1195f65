"""Sizes are known before anything is read, and every size that does not fit is refused with a way out."""

import subprocess
import sys
from pathlib import Path

import pytest

from bnexp.config.data import DataSettings
from bnexp.data.catalog import DataShape, describe, steps_per_epoch, subset
from bnexp.errors import ConfigError, InputError


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (DataSettings(name="digits"), DataShape((1, 8, 8), 10, train=1294, val=143, test=360)),
        (DataSettings(name="mnist"), DataShape((1, 28, 28), 10, train=55_000, val=5_000, test=10_000)),
        (DataSettings(name="fashion_mnist", val_size=0), DataShape((1, 28, 28), 10, 60_000, 0, 10_000)),
        (DataSettings(name="cifar10", train_size=1000), DataShape((3, 32, 32), 10, 1_000, 5_000, 10_000)),
        (
            DataSettings(name="cifar100", train_size=49_999, val_size=1, test_size=0),
            DataShape((3, 32, 32), 100, 49_999, 1, 0),
        ),
    ],
)
def test_known_sets(settings: DataSettings, expected: DataShape, shared_folder: Path) -> None:
    assert describe(settings) == expected
    assert not shared_folder.exists()


def test_describing_imports_no_torch() -> None:
    code = "import sys, bnexp.data.catalog; print({'torch', 'numpy', 'PIL', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"train_size": 58_000},
            (
                "data.train_size: 58000 images, and 5000 for validation (data.val_size), are more than the 60000 "
                "training images of mnist; lower data.train_size to 55000, or data.val_size to 2000"
            ),
        ),
        (
            {"train_size": 60_001, "val_size": 0},
            (
                "data.train_size: 60001 images, and 0 for validation (data.val_size), are more than the 60000 "
                "training images of mnist; lower data.train_size to 60000"
            ),
        ),
        ({"train_size": 0}, "data.train_size: 0 leaves no image to train on; give at least 1, or null for all"),
        (
            {"val_size": 60_000},
            "data.val_size: 60000 of the 60000 training images of mnist leave none to train on; lower it",
        ),
        (
            {"test_size": 10_001},
            "data.test_size: 10001 is more than the 10000 test images of mnist; lower it, or set null for all",
        ),
        (
            {"feature_scale": {783: 2, 784: 2}},
            "data.feature_scale: no pixel 784; a 1x28x28 image has pixels 0 to 783",
        ),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        describe(DataSettings(name="mnist", **sizes))
    assert str(caught.value) == message


OWN_VAL = DataShape((1, 8, 8), 2, train=80, val=20, test=20)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, (80, 20)),
        ({"train_size": 10}, (10, 20)),
        ({"val_size": 5}, (80, 5)),
        ({"val_size": 0, "train_size": 80}, (80, 0)),
    ],
)
def test_validation_images_of_their_own_take_none_from_training(sizes: dict, expected: tuple[int, int]) -> None:
    shape = subset(DataSettings(name="image_folder", **sizes), OWN_VAL)
    assert (shape.train, shape.val) == expected


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"val_size": 21},
            "data.val_size: 21 is more than the 20 validation images of image_folder; lower it, or set null for all",
        ),
        (
            {"train_size": 81},
            "data.train_size: 81 is more than the 80 training images of image_folder; lower it, or set null for all",
        ),
        ({"train_size": 0}, "data.train_size: 0 leaves no image to train on; give at least 1, or null for all"),
    ],
)
def test_sizes_that_do_not_fit_validation_images_of_their_own(sizes: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        subset(DataSettings(name="image_folder", **sizes), OWN_VAL)
    assert str(caught.value) == message


def test_every_problem_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        describe(DataSettings(name="digits", val_size=2000, test_size=361, feature_scale={64: 1, 65: 1}))
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["data.val_size", "data.test_size", "data.feature_scale"]


@pytest.mark.parametrize(
    ("images", "batch_size", "sampling", "drop_last", "steps"),
    [
        (1000, 128, "epoch", True, 7),
        (1000, 128, "epoch", False, 8),
        (1024, 128, "epoch", False, 8),
        (100, 128, "epoch", False, 1),
        (1000, 128, "replacement", True, 7),
        (1000, 128, "replacement", False, 7),
        (100, 128, "replacement", True, 1),
    ],
)
def test_steps_per_epoch(images: int, batch_size: int, sampling, drop_last: bool, steps: int) -> None:
    assert steps_per_epoch(images, batch_size, sampling, drop_last) == steps
