"""Which settings matter: those that change a training, and no others.

Both ways: what is said to have no effect leaves a training as it is, bit for bit, and every other setting makes
another trial.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bnexp.config.data import DataSettings
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.keys import leaf_keys
from bnexp.config.trial import RECORDS, TrialSettings, effective
from bnexp.data.dataset import Dataset, load
from bnexp.plan import Trial, TrialGroup, groups, identities, trials
from tests.every_setting import ALIKE, COMPANY, CONTINUOUS, NEVER, SHAPING
from tests.helpers import experiment, finished

Change = dict[str, Any]


def two_arms(company: Change, change: Change) -> ExperimentConfig:
    """A small experiment of arms that differ in some settings."""
    return experiment(
        data={"name": "digits", "train_size": 96, "val_size": 16, "test_size": 16},
        model={"depth": 3, "width": 8, "activation": "relu", "init": "he"},
        train={"epochs": 1, "batch_size": 16},
        arms={"as_it_is": company, "changed": company | change},
    )


def settings_of(config: ExperimentConfig) -> list[TrialSettings]:
    return [trial.settings for trial in trials(config)]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrialSettings().train.lr = 1.0  # type: ignore[misc]


def test_every_setting_is_listed() -> None:
    assert {*CONTINUOUS, *SHAPING, *NEVER, *ALIKE} == set(leaf_keys(TrialSettings))


@pytest.mark.parametrize(("key", "value"), [*CONTINUOUS.items(), *SHAPING.items()])
def test_every_setting_matters_in_its_company(key: str, value: Any) -> None:
    company = COMPANY.get(key, {})
    first, second = settings_of(experiment(arms={"default": company, "other": company | {key: value}}))
    assert effective(first) != effective(second)


NONE: Change = {"model.norm.kind": "none"}
RESIDUAL: Change = {"model.residual": True}
RNN: Change = {"model.family": "rnn", "model.depth": None}
NORM: Change = {
    "model.norm.placement": "after",
    "model.norm.addition": "after",
    "model.norm.input": True,
    "model.norm.affine": "none",
    "model.norm.gamma": 0.5,
    "model.norm.momentum": 0.5,
    "model.norm.eps": 0.5,
    "model.norm.statistics": "population",
    "model.norm.groups": 3,
    "model.norm.group_size": 3,
    "model.norm.steps": "shared",
    "model.norm.recurrent": False,
}
WITHOUT_EFFECT: dict[str, tuple[Change, Change]] = {
    "how often a checkpoint is written": ({}, {"train.checkpoint_every": 1}),
    "where known images lie": ({}, {"data.root": "elsewhere"}),
    "eps of a whitening that there isn't": ({}, {"data.whiten_eps": 0.5}),
    "the number of validation images, written out": (
        {"data.train_size": None, "data.val_size": None, "train.epochs": None, "train.steps": 3},
        {"data.val_size": 143},
    ),
    "all that is left to train on, written out": (
        {"data.train_size": None, "train.epochs": None, "train.steps": 3},
        {"data.train_size": 1421},
    ),
    "all test images, written out": ({"data.test_size": None}, {"data.test_size": 360}),
    "the usual depth": ({"model.depth": None}, {"model.depth": 10}),
    "a width for every layer": ({}, {"model.width": [8, 8, 8]}),
    "a width for every layer in place of the depth": ({}, {"model.width": [8, 8, 8], "model.depth": None}),
    "no bias before BN": ({}, {"model.bias": False}),
    "a bias behind BN": ({"model.norm.placement": "after"}, {"model.bias": True}),
    "a bias without BN": (NONE, {"model.bias": True}),
    "a bias before layer norm": ({"model.norm.kind": "layer"}, {"model.bias": True}),
    "a bias in a plain rnn": (RNN | NONE, {"model.bias": True}),
    "no bias beside a learned shift in an rnn": (RNN | {"model.norm.kind": "layer"}, {"model.bias": False}),
    "skip connections of a network too shallow": ({"model.depth": 2}, RESIDUAL),
    "the place of dropout at rate 0": (NONE, {"model.dropout_at": "last"}),
    "the place of dropout at rate 0, behind BN": ({}, {"model.dropout_at": "after_norm"}),
    "all settings of no norm": (NONE | RESIDUAL, NORM),
    "recurrent of an rnn without norm": (RNN | NONE, {"model.norm.recurrent": False}),
    "the place of no norm beside dropout elsewhere": (NONE | {"model.dropout": 0.5}, {"model.norm.placement": "after"}),
    "the addition where there is none": ({}, {"model.norm.addition": "after"}),
    "momentum of layer norm": ({"model.norm.kind": "layer"}, {"model.norm.momentum": 0.5}),
    "statistics of group norm": ({"model.norm.kind": "group"}, {"model.norm.statistics": "population"}),
    "momentum of averages that aren't used": ({"model.norm.statistics": "population"}, {"model.norm.momentum": 0.5}),
    "groups of batch norm": ({}, {"model.norm.groups": 3}),
    "the group size of batch norm": ({}, {"model.norm.group_size": 3}),
    "time steps of a perceptron": ({}, {"model.norm.steps": "shared", "model.norm.recurrent": False}),
    "time steps of layer norm": (RNN | {"model.norm.kind": "layer"}, {"model.norm.steps": "shared"}),
    "the usual number of epochs": ({"train.epochs": None}, {"train.epochs": 10}),
    "a last batch that is a whole one": ({}, {"train.drop_last": False}),
    "a last batch of images drawn with replacement": (
        {"train.sampling": "replacement", "train.batch_size": 20},
        {"train.drop_last": False},
    ),
    "betas of sgd": ({}, {"train.betas": [0.5, 0.5]}),
    "momentum of adam": ({"train.optimizer": "adam"}, {"train.momentum": 0.5}),
    "a decay of 0 decoupled": ({"train.optimizer": "adam"}, {"train.optimizer": "adamw"}),
    "a decay of 0 of everything": ({}, {"train.decay_all": True}),
    "when it is recorded": ({}, {"train.record_at": [3, 6]}),
    "options of a constant rate": (
        {},
        {f"train.schedule_options.{key}": 0.5 for key in ("factor", "floor", "start")}
        | {"train.schedule_options.step_every": 1},
    ),
    "a floor under drops": ({"train.schedule": "step"}, {"train.schedule_options.floor": 0.5}),
    "the usual epochs between drops": ({"train.schedule": "step"}, {"train.schedule_options.step_every": 10}),
    "a warm-up of other schedules": ({"train.schedule": "step"}, {"train.schedule_options.warmup": 0.5}),
    "epochs of drops under a smooth decay": (
        {"train.schedule": "exponential"},
        {"train.schedule_options.step_at": [1]},
    ),
    "a cosine with a warm-up": (
        {"train.schedule": "warmup_cosine"},
        {"train.schedule": "cosine", "train.warmup": 0.1},
    ),
}


@cache
def images(data: str) -> Dataset:
    return load(DataSettings.model_validate_json(data), torch.device("cpu"), torch.float32)


@cache
def last_of(written: str) -> dict[str, np.ndarray]:
    """Train a trial with these settings; return its measures at every recorded step, and all numbers at the end."""
    settings = TrialSettings.model_validate_json(written)
    progress = finished(TrialGroup((Trial(0, "only", (), 0, settings),)), images(settings.data.model_dump_json()))
    measures = {str(each.record.step): np.array([*each.record.measures.values()]) for each in progress}
    return measures | progress[-1].snapshot().arrays


def assert_alike(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    shared = first.keys() & second.keys()
    assert {"0", "network.output.weight"} <= shared
    assert [name for name in shared if not np.array_equal(first[name], second[name])] == []


@pytest.mark.parametrize(("company", "change"), WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT)
def test_what_has_no_effect_leaves_the_training_as_it_is(company: Change, change: Change) -> None:
    both = trials(two_arms(company, change))
    first, second = (trial.settings for trial in both)
    assert first != second
    assert effective(first) == effective(second)
    assert_alike(*(last_of(settings.model_dump_json()) for settings in (first, second)))


RECORDED: dict[str, tuple[Change, Change]] = {
    "when it is recorded": WITHOUT_EFFECT["when it is recorded"],
    "averages that a probe may read": WITHOUT_EFFECT["momentum of averages that aren't used"],
}


@pytest.mark.parametrize(("company", "change"), RECORDED.values(), ids=RECORDED)
def test_what_changes_the_records_alone_makes_another_trial_of_a_run(company: Change, change: Change) -> None:
    both = trials(two_arms(company, change))
    first, second = (effective(trial.settings, varying=[RECORDS]) for trial in both)
    assert first != second
    assert len(groups(both)) == 2
    assert len({digest for digest, *_ in identities(both)}) == 2


IN_ITS_PLACE: dict[str, tuple[Change, Change]] = {
    "dropout where a norm would stand": (
        NONE | {"model.dropout": 0.5, "model.dropout_at": "before_norm"},
        {"model.norm.placement": "after"},
    ),
    "dropout of the input": (
        NONE | {"model.dropout": 0.5, "model.dropout_at": "after_norm"},
        {"model.norm.input": True},
    ),
    "dropout that keeps auto from leaving out a bias": ({}, {"model.dropout_at": "before_norm"}),
    "a bias that BN subtracts again, which rounds": ({}, {"model.bias": True}),
    "records at which a trial may be stopped": ({"train.stop_diverged": True}, {"train.record_at": [3]}),
    "a smaller last batch": ({"train.batch_size": 20}, {"train.drop_last": False}),
    "decoupled decay": ({"train.optimizer": "adam", "train.weight_decay": 0.1}, {"train.optimizer": "adamw"}),
}


@pytest.mark.parametrize(("company", "change"), IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
def test_what_looks_as_if_it_had_no_effect_but_has(company: Change, change: Change) -> None:
    first, second = settings_of(two_arms(company, change))
    assert effective(first) != effective(second)


def test_a_sweep_over_what_does_not_matter_has_repetitions_that_are_counted() -> None:
    config = experiment(arms=["none"], grid={"model.norm.momentum": [0.1, 0.2, 0.3]}, seeds=2)
    found = list(identities(trials(config)))
    assert len({digest for digest, *_ in found}) == 1
    assert [(seed, count) for _, _, seed, count in found] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]


def test_sizes_of_image_folders_are_as_written() -> None:
    first, second = settings_of(two_arms({"data.name": "image_folder"}, {"data.val_size": 143}))
    assert effective(first) != effective(second)
