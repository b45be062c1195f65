"""What a finished run keeps of its test images: labels, the classes that trials predict, and the images that differ."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.analysis.runs import ComparedRun
from bnexp.config.data import DataSettings, Scaling
from bnexp.config.experiment import ExperimentConfig
from bnexp.data.dataset import Dataset, load
from bnexp.runner.kept_images import LARGEST_SIDE, MOST_KEPT, keep_images, thumbnails
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.reader import RunRecord
from tests.helpers import experiment, made_up_data, small_group


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the rest of what is made at a run's end."""
    monkeypatch.setattr("bnexp.runner.run.write_report_files", lambda run: None)


def digits(**changes: Any) -> ExperimentConfig:
    """Two arms, one epoch, 40 test images."""
    data = {"name": "digits", "train_size": 96, "val_size": 0, "test_size": 40} | changes.pop("data", {})
    model = {"depth": 2, "width": 8} | changes.pop("model", {})
    train = {"epochs": 1, "batch_size": 32} | changes.pop("train", {})
    return experiment(**{"name": "kept", "arms": ["none", "before"]} | changes, data=data, model=model, train=train)


def trained(config: ExperimentConfig, runs: Path) -> RunRecord:
    return run(prepare(config, runs, "cpu"))


def accuracies(record: RunRecord) -> Mapping[int, float]:
    """What share of the kept predictions is right, by trial."""
    assert record.images is not None
    return {trial: float(np.mean(found == record.images.labels_N)) for trial, found in record.predictions.items()}


NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"grid": {"train.lr": [0.1, 1e30]}, "train": {"stop_diverged": True, "epochs": 2}, "seeds": 2},
    "vgg": {"model": {"family": "vgg", "depth": 5, "width": 2}, "seeds": 2},
    "rnn": {"model": {"family": "rnn"}},
    "population": {"model": {"norm": {"statistics": "population"}}, "train": {"precision": "bf16"}},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kept_predictions_are_those_that_the_final_accuracy_counts(tmp_path: Path, name: str) -> None:
    record = trained(digits(**NETWORKS[name]), tmp_path)
    assert accuracies(record) == record.trials["final_test_accuracy"].to_dict()


def test_the_kept_images_are_those_of_the_data_set(record: RunRecord) -> None:
    data = load(record.config.base.data, torch.device("cpu"), torch.float32)
    assert record.images is not None
    assert record.images.labels_N.tolist() == data.test.labels_N.tolist()
    numbers = record.images.numbers_M
    assert 0 < len(numbers) <= 2 * MOST_KEPT
    assert np.array_equal(record.images.images_MCHW.reshape(len(numbers), -1), data.test.images_NP[numbers].numpy())


def test_trials_that_are_taken_over_bring_their_predictions(tmp_path: Path) -> None:
    first, more = trained(digits(), tmp_path), trained(digits(seeds=2), tmp_path)
    assert len(more.predictions) == 4
    assert accuracies(more) == more.trials["final_test_accuracy"].to_dict()
    fewer = trained(digits(arms=["before", "none"], seeds=[1]), tmp_path)  # with nothing to train
    assert fewer.images is not None
    assert first.images is not None
    assert accuracies(fewer) == fewer.trials["final_test_accuracy"].to_dict()


def test_runs_without_predictions_are_taken_over_as_they_are(tmp_path: Path) -> None:
    first = trained(digits(), tmp_path)
    for path in (first.path / "checkpoints").glob("[pt]*"):
        path.unlink()
    more = trained(digits(seeds=2), tmp_path)
    assert more.complete
    assert set(more.predictions) == set(more.trials.query("seed == 1")["trial"])


@pytest.mark.parametrize(
    "changes", [{"grid": {"data.test_size": [20, 40]}}, {"data": {"test_size": 0}}], ids=["different", "none"]
)
def test_nothing_is_kept_where_trials_are_tested_on_different_images_or_none(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    record = trained(digits(**changes), tmp_path)
    assert record.complete
    assert record.images is None


def test_predictions_of_very_many_images_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnexp.training.work.MOST_PREDICTED", 39)
    record = trained(digits(), tmp_path)
    assert (record.predictions, record.images) == ({}, None)


def made_up(**more: Any) -> Dataset:
    return made_up_data(small_group(), **more)


def test_rows_of_a_table_keep_labels_and_no_images(tmp_path: Path, record: RunRecord) -> None:
    copied = Path(shutil.copytree(record.path, tmp_path / record.path.name))
    data = made_up(test=40)
    keep_images(ComparedRun(copied), [replace(data, shape=replace(data.shape, image=(16, 1, 1)))])
    found = RunRecord(copied).images
    assert found is not None
    assert (found.labels_N.tolist(), found.images_MCHW.shape) == (data.test.labels_N.tolist(), (0, 16, 1, 1))


def test_large_images_are_made_smaller() -> None:
    data = made_up(side=2 * LARGEST_SIDE + 1, channels=3, test=4, train_images=16)
    found = thumbnails(data, np.array([1, 3]))
    assert found.shape == (2, 3, (2 * LARGEST_SIDE + 1) // 3, (2 * LARGEST_SIDE + 1) // 3)
    whole = data.test.images_NP[1].view(3, 2 * LARGEST_SIDE + 1, -1)[0, :3, 3:6].double().mean()
    assert found[0, 0, 0, 1] == round(float(whole))


@pytest.mark.parametrize("scaling", ["none", "center", "standard"])
def test_bytes_that_a_device_keeps_as_inputs_are_shown_as_they_were(scaling: Scaling) -> None:
    settings = DataSettings(
        name="digits", train_size=96, val_size=0, test_size=20, normalize=scaling, feature_scale={1: 0.0}
    )
    data = load(settings, torch.device("cpu"), torch.float32)
    images_NP = replace(data.normalization, factor_P=None)(data.test.images_NP)
    kept = replace(data, test=replace(data.test, images_NP=images_NP))
    assert np.array_equal(thumbnails(kept, np.arange(20)), thumbnails(data, np.arange(20)))


def test_inputs_that_are_no_bytes_are_stretched_from_black_to_white() -> None:
    settings = DataSettings(name="digits", train_size=96, val_size=0, test_size=20, normalize="zca_whiten")
    found = thumbnails(load(settings, torch.device("cpu"), torch.float32), np.arange(20))
    assert (found.min((1, 2, 3)).tolist(), found.max((1, 2, 3)).tolist()) == ([0] * 20, [255] * 20)
