"""Probes of finished trials: what they find on the final weights is what training would have found at its end."""

import numpy as np
import pytest
import torch

from bnexp.engines.local import Local
from bnexp.errors import ConfigError, InputError
from bnexp.records import ProbeRecord
from bnexp.runner.posthoc_probes import probe_run, probe_settings
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.files import locked
from bnexp.store.reader import RunRecord
from tests.helpers import TOGETHER_FLOAT64, assert_close
from tests.runner.conftest import TAKEN

CPU = torch.device("cpu")
ALONE, TWO = Local((CPU,), cores=1), Local((CPU,), cores=2)


def test_they_find_what_training_found_after_its_last_update(record: RunRecord) -> None:
    # Dropout included, since its draws are named by the moment and not by what was drawn before.
    taken, key = RunRecord(record.path).probes, ["trial", "layer", "probe"]
    probe_run(record, probe_settings(TAKEN), None, ALONE)
    late = RunRecord(record.path).late_probes
    assert set(late["step"]) == {5}
    last = taken[taken["step"] == 5].set_index(key)["value"].sort_index()
    found = late.set_index(key)["value"].sort_index()
    assert found.index.equals(last.index)
    assert np.abs(found / last - 1).max() <= TOGETHER_FLOAT64
    assert len(RunRecord(record.path).probes) == len(taken)
    assert RunRecord(record.path).complete


def test_only_the_trials_asked_for_are_measured(record: RunRecord) -> None:
    found = probe_run(record, probe_settings(["rank"]), [3, 1], ALONE)
    assert {trial for each in found for trial in each.trials} == {1, 3}
    late = RunRecord(record.path).late_probes
    assert set(late.loc[late["probe"] == "rank", "trial"]) == {1, 3}


def test_a_run_that_another_process_works_on_is_left_alone(record: RunRecord) -> None:
    before = (record.path / "checksums.txt").read_bytes()
    with locked(record.path), pytest.raises(InputError, match="is running this experiment"):
        probe_run(record, probe_settings(["rank"]), [0], ALONE)
    assert (record.path / "checksums.txt").read_bytes() == before


def test_trials_are_measured_together_and_side_by_side_and_how_long_it_takes_is_said(record: RunRecord) -> None:
    probes, said = probe_settings(["gradient_norm"]), list[str]()
    together = probe_run(record, probes, None, ALONE)
    assert sorted(len(each.trials) for each in together) == [1, 1, 2]  # one trial tells how long the others take
    assert_close(values(probe_run(record, probes, None, TWO, said.append)), values(together), TOGETHER_FLOAT64)
    first, estimate, *others = said
    assert first == "1/4 trials"
    assert estimate == "3 more trials in 2 groups: about 1 s"
    assert others[-1] == "4/4 trials"


def values(found: list[ProbeRecord]) -> list[float]:
    rows = (row for each in found for row in each.rows())
    return [float(row["value"]) for row in sorted(rows, key=lambda row: (row["trial"], row["layer"]))]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["sharpnes"], r"^--probe: sharpnes: expected one of default, .* \(nearest: sharpness\)$"),
        (
            ["update_ratio"],
            "^--probe update_ratio: compares the weights before and after an update, so it is taken in ",
        ),
        (["covariate_shift"], "bnexp run CONFIG probes=.covariate_shift.$"),
        (["{name: rank, every: 2}"], "^--probe rank: every and at are for training, which is over; leave them out"),
        (["{name: rank, at: [2]}"], "^--probe rank: every and at are for training"),
    ],
)
def test_what_cant_be_measured_afterwards_is_refused_in_words(written: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        probe_settings(written)


def test_default_stands_for_what_weights_suffice_for() -> None:
    names = [probe.name for probe in probe_settings(["default, rank"])]
    assert names == ["gradient_norm", "saturation", "dead_units", "drift", "rank"]


def test_a_layer_that_is_not_there_is_named(record: RunRecord) -> None:
    with pytest.raises(ConfigError, match=r"^--probe rank: layers: hiden\.0\.activation: no layer has this name"):
        probe_run(record, probe_settings(["{name: rank, layers: [hiden.0.activation]}"]), None, ALONE)


def test_a_run_whose_probes_are_others_is_not_taken_over(record: RunRecord) -> None:
    config = record.config.model_copy(update={"probes": (), "seeds": (0, 1, 2)})
    assert prepare(config, record.path.parent, "cpu").reusable == ()
    more = record.config.model_copy(update={"seeds": (0, 1, 2)})
    (reusable,) = prepare(more, record.path.parent, "cpu").reusable
    assert len(reusable.numbers) == 4


def test_what_is_taken_over_brings_its_probes_along(record: RunRecord) -> None:
    swapped = run(prepare(record.config.model_copy(update={"seeds": (1, 0)}), record.path.parent, "cpu"))
    key, renumbered = ["trial", "step", "layer", "probe"], {0: 1, 1: 0, 2: 3, 3: 2}
    found, expected = (table[~table["probe"].str.startswith("rank")] for table in (swapped.probes, record.probes))
    moved = found.assign(trial=found["trial"].map(renumbered)).set_index(key)["value"].sort_index()
    assert moved.equals(expected.set_index(key)["value"].sort_index())
