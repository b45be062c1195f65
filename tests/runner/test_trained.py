"""Finished trials come back with the weights that they ended with."""

from pathlib import Path

import pytest
import torch

from bnexp.data.dataset import load
from bnexp.errors import InputError
from bnexp.runner.trained import trained_trials
from bnexp.store.reader import RunRecord
from bnexp.training.group_state import measure
from bnexp.training.numerics import dtype_of

CPU = torch.device("cpu")


def test_a_network_classifies_as_it_did_when_its_training_ended(record: RunRecord) -> None:
    found = trained_trials(record)
    assert [each.trial.number for each in found] == list(range(4))
    for each in found:
        settings = each.trial.settings
        data = load(settings.data, CPU, dtype_of(settings.train.precision))
        accuracy = float(measure(each.network(data.shape, CPU), 1, 64, data, data.test)[1, 0])
        (recorded,) = record.trials.loc[record.trials["trial"] == each.trial.number, "final_test_accuracy"]
        assert accuracy == recorded, each.trial


def test_trials_come_in_the_order_of_their_numbers_and_only_those_asked_for(record: RunRecord) -> None:
    assert [each.trial.number for each in trained_trials(record, [3, 1])] == [1, 3]


def test_a_trial_that_is_asked_for_twice_is_refused(record: RunRecord) -> None:
    with pytest.raises(InputError, match=r"^trial 3: named twice; name it once$"):
        trained_trials(record, [3, 1, 3])


def test_a_trial_that_is_not_there_is_named(record: RunRecord) -> None:
    with pytest.raises(InputError, match="no trial 4; there are 0 to 3"):
        trained_trials(record, [4])


def test_a_trial_without_weights_is_named(record: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((record.path / "config.yaml").read_bytes())
    (tmp_path / "checksums.txt").write_bytes((record.path / "checksums.txt").read_bytes())
    with pytest.raises(InputError, match="trial 2 has no weights yet"):
        trained_trials(RunRecord(tmp_path), [2])
    with pytest.raises(InputError, match=r"no trial has weights yet.*--retry-failed also what failed$"):
        trained_trials(RunRecord(tmp_path))
