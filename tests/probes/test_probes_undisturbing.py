"""Turning probes on changes no bit of a training, whatever is measured, whenever, and whoever trains beside."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.config.probes import PROBES
from bnexp.plan import TrialGroup
from bnexp.records import ProbeRecord, Snapshot
from bnexp.training.loop import Progress, train
from tests.helpers import TOGETHER_FLOAT64, assert_close, crossed, experiment, made_up_data, only_group
from tests.probes.looking import ALL, probe, short

GROUPS: dict[str, dict[str, Any]] = {
    "mlp": {
        "model": {"depth": 2, "width": 5, "norm": "noisy_batch", "dropout": 0.3, "activation": "relu"},
        "train": {"batch_size": 16, "momentum": 0.9, "clip": {"norm_global": 0.3}},
    },
    "population": {
        "model": {"depth": 2, "width": 5, "norm": {"placement": "after", "statistics": "population"}},
        "train": {"optimizer": "adam", "lr": 0.01},
    },
    "whitening": {"model": {"depth": 2, "width": 4, "norm": "whiten"}, "train": {"sampling": "replacement"}},
    "vgg": {
        "model": {"family": "vgg", "depth": 5, "width": 2, "norm": "noisy_batch", "dropout": 0.3},
        "train": {"augment": "flip_crop_cutout", "momentum": 0.9, "precision": "bf16"},
    },
    "rnn": {
        "model": {"family": "rnn", "depth": 1, "width": 5, "activation": "tanh", "norm": {"gamma": 0.1}},
        "train": {"momentum": 0.9},
    },
    "resnet": {
        "model": {"family": "resnet", "depth": 8, "width": 2, "activation": "relu"},
        "train": {"augment": "flip_crop", "momentum": 0.9},
    },
}


@cache
def group_of(name: str, **train: Any) -> TrialGroup:
    """Two rates of two seeds, where trials compute at once; else one rate."""
    raw = GROUPS[name]
    lr = [0.01, 0.05] if raw["model"].get("family", "mlp") == "mlp" else [0.05]
    train = ({} if "steps" in train else {"epochs": 2}) | {"batch_size": 32} | raw["train"] | train
    return only_group(experiment(model=raw["model"], train=train, arms={"only": {}}, grid={"train.lr": lr}, seeds=2))


def run(
    group: TrialGroup, probes: list[dict[str, Any]], resume: Snapshot | None = None
) -> list[tuple[Progress, Snapshot]]:
    """All records with the state at each."""
    settings = [probe(written) for written in probes]
    return [(each, each.snapshot()) for each in train(group, made_up_data(group), resume, settings)]


@cache
def undisturbed(name: str) -> list[tuple[object, ...]]:
    return [shown(*each) for each in run(group_of(name), [])]


def shown(progress: Progress, snapshot: Snapshot) -> tuple[object, ...]:
    """All of a record but its seconds, and every bit of the state but what probes remember."""
    record = progress.record
    arrays = {name: array.tobytes() for name, array in snapshot.arrays.items() if not name.startswith("probe.")}
    measures = {name: np.array(row).tobytes() for name, row in record.measures.items()}
    return record.trials, record.step, measures, record.lr, record.diverged_step, progress.ended, arrays


def probed(run: list[tuple[Progress, Snapshot]]) -> list[ProbeRecord]:
    return [record for progress, _ in run for record in progress.probes]


def same(one: ProbeRecord, other: ProbeRecord) -> bool:
    """True if two records agree to the bit; NaN is NaN."""
    places = [(each.trials, each.epoch, each.step, list(each.values)) for each in (one, other)]
    numbers = [list(each.values.values()) for each in (one, other)]
    return places[0] == places[1] and np.array_equal(*numbers, equal_nan=True)  # type: ignore[misc]


WHEN: list[tuple[dict[str, Any], list[int]]] = [
    ({"every": 4}, [0, 4, 8, 12]),
    ({}, [0, 6, 12]),
    ({"at": [0, 1, 5]}, [0, 1, 5]),
]
"""When a probe is taken, in settings and in steps."""


@pytest.mark.parametrize(("name", "when"), crossed(list(PROBES), WHEN, fast=9))
def test_one_probe_changes_no_bit(name: str, when: tuple[dict[str, Any], list[int]]) -> None:
    found = run(group_of("mlp"), [short(name, **when[0])])
    assert [shown(*each) for each in found] == undisturbed("mlp")
    assert [record.step for record in probed(found)] == when[1]


@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        "population",
        "rnn",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vgg", "resnet", "whitening")),
    ],
)
def test_all_probes_at_once_change_no_bit(name: str) -> None:
    found = run(group_of(name), [each | {"at": [2]} for each in ALL])
    assert [shown(*each) for each in found] == undisturbed(name)
    assert [record.step for record in probed(found)] == [2]
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", ["mlp", pytest.param("resnet", marks=pytest.mark.slow)])
def test_a_training_that_is_continued_finds_the_same_and_remembers_what_it_had_seen(name: str) -> None:
    probes = [short(each, every=2) for each in ("drift", "update_ratio", "covariate_shift", "gradient_noise")]
    whole = run(group_of(name), probes)
    _, middle = whole[1]
    assert any(each.startswith("probe.drift.") for each in middle.arrays)
    continued = run(group_of(name), probes, middle)
    assert [shown(*each) for each in continued] == [shown(*each) for each in whole[2:]]
    later = [record for record in probed(whole) if record.step > middle.step]
    assert len(later) > 0
    assert all(same(one, other) for one, other in zip(probed(continued), later, strict=True))
    ends = [each[-1][1].arrays for each in (whole, continued)]
    remembered = [{key: array.tobytes() for key, array in end.items() if "probe." in key} for end in ends]
    assert remembered[0] == remembered[1]


def test_when_a_diverged_trial_is_dropped_the_others_go_on_being_measured() -> None:
    raw = {"model": {"depth": 2, "width": 5, "norm": "none", "activation": "relu"}, "arms": {"only": {}}}
    rule = {"batch_size": 16, "epochs": 3, "stop_diverged": True, "precision": "fp64"}
    group = only_group(experiment(**raw, train=rule, grid={"train.lr": [0.1, 1e200, 0.2]}))
    found, plain = run(group, ALL), run(group, [])
    assert [shown(*each) for each in found] == [shown(*each) for each in plain]
    assert [record.trials for record in probed(found)] == [(0, 1, 2), (0, 1, 2), (0, 2), (0, 2)]
    without = probed(run(group.only([0, 2]), ALL))
    for one, other in zip(probed(found)[2:], without[2:], strict=True):
        agree(one, other, [0, 1], [0, 1])


def agree(one: ProbeRecord, other: ProbeRecord, mine: list[int], theirs: list[int]) -> None:
    """Compare some trials' values, measure by measure over all layers."""
    assert list(one.values) == list(other.values)
    for measure in dict.fromkeys(name for _, name in one.values):
        pair = [
            np.array([np.array(row)[columns] for (_, name), row in record.values.items() if name == measure])
            for record, columns in ((one, mine), (other, theirs))
        ]
        assert np.array_equal(np.isnan(pair[0]), np.isnan(pair[1]))
        finite = np.isfinite(pair[0])
        assert_close(pair[0][finite], pair[1][finite], TOGETHER_FLOAT64)


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], pytest.param([2, 2], marks=pytest.mark.slow)], ids=str)
def test_trials_that_compute_one_after_the_other_are_measured_as_together(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = group_of("mlp", steps=2, precision="fp64")
    whole = probed(run(group, ALL))
    monkeypatch.setattr("bnexp.training.group_state.shard_sizes", lambda *_: sizes)
    cut, plain = run(group, ALL), run(group, [])
    assert [shown(*each) for each in cut] == [shown(*each) for each in plain]
    for one, other in zip(probed(cut), whole, strict=True):
        agree(one, other, [0, 1, 2, 3], [0, 1, 2, 3])


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("whitening", "vgg", "resnet")]


@pytest.mark.parametrize("name", ["mlp", *SLOW])
def test_every_trial_shows_what_it_would_show_alone(name: str) -> None:
    group = group_of(name, steps=2, precision="fp64")
    together = probed(run(group, ALL))
    for k in (0, len(group.trials) - 1):
        alone = probed(run(TrialGroup((group.trials[k],)), ALL))
        for one, other in zip(together, alone, strict=True):
            agree(one, other, [k], [0])
