"""Loading: splits are cut where the catalogue says, and the normalisation sees the training images alone."""

import shutil
from pathlib import Path

import pytest
import torch

from bnexp.config.data import DataSettings
from bnexp.data import normalize
from bnexp.data import raw as raw_images
from bnexp.data.catalog import describe
from bnexp.data.dataset import Dataset, load
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
    raw = raw_images.read_digits(DataSettings(name="digits"))
    data = load_cpu(name="digits", train_size=100, val_size=20, test_size=30)
    images_NP, labels_N = raw.train.images_NCHW.reshape(1437, 64), raw.train.labels_N
    assert (data.train.images_NP.numpy() == images_NP[:100]).all()
    assert (data.val.images_NP.numpy() == images_NP[-20:]).all()
    assert (data.train.labels_N.numpy() == labels_N[:100]).all()
    assert (data.val.labels_N.numpy() == labels_N[-20:]).all()
    assert (data.test.labels_N.numpy() == raw.test.labels_N[:30]).all()


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


def test_a_gpu_keeps_splits_as_inputs_where_they_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    mnist, cifar = (60_000, 784), (50_000, 3072)
    kept = [normalize.keeps_inputs(*size, cuda, torch.float32) for size in (mnist, cifar)]
    assert (kept, normalize.keeps_inputs(*mnist, cpu, torch.float32)) == ([True, False], False)
    data = load_cpu(name="digits", train_size=100, val_size=20, feature_scale={20: 50.0})
    monkeypatch.setattr(normalize, "keeps_inputs", lambda images, *rest: images == 100)
    moved = data.to(cpu)
    assert (moved.train.images_NP.dtype, moved.val.images_NP.dtype) == (torch.float32, torch.uint8)
    for there in (moved, moved.to(cpu), load_cpu(name="digits", train_size=100, val_size=20, feature_scale={20: 50.0})):
        assert torch.equal(there.inputs(there.train.images_NP), data.inputs(data.train.images_NP))


def test_a_val_folder_is_validated_on_and_all_of_train_trained_on(images: Path) -> None:
    shutil.copytree(images / "test", images / "val")
    settings = {"name": "image_folder", "root": str(images)}
    data = load_cpu(**settings)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 2, 2)
    assert sorted(data.val.labels_N.tolist()) == [0, 1]
    assert torch.equal(data.val.images_NP, data.test.images_NP)
    assert data.shape == describe(DataSettings(**settings))
    one = load_cpu(**settings, val_size=1)
    assert torch.equal(one.val.images_NP, data.val.images_NP[:1])
    assert len(one.train) == 6


def test_what_no_network_can_train_on_is_refused_with_the_name_of_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = raw_images.read_digits(DataSettings(name="digits"))
    raw.train.labels_N[5] = 10
    monkeypatch.setattr(raw_images, "read_digits", lambda settings: raw)
    with pytest.raises(InputError, match=r"^data\.name: digits can't be trained on: train label 10, expected 0 to 9$"):
        load_cpu(name="digits")


def test_a_factor_beyond_floats_is_refused_unless_the_precision_holds_it() -> None:
    settings = DataSettings(name="digits", feature_scale={3: 1e300})
    with pytest.raises(InputError, match=r"^data\.feature_scale: 1e\+300 takes pixel 3 beyond .*: fp64$"):
        load(settings, torch.device("cpu"), torch.float32)
    data = load(settings, torch.device("cpu"), torch.float64)
    assert data.inputs(data.train.images_NP).isfinite().all()
