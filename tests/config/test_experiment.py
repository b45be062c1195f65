"""One experiment: arms, sweep and seeds in every short form, and the settings of single trials."""

from typing import Any

import pytest

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.norm import NormSettings
from bnexp.config.train import TrainSettings
from bnexp.config.trial import TrialSettings
from bnexp.plan import run_name

NONE = {"model.norm.kind": "none"}


def experiment(**raw: Any) -> ExperimentConfig:
    return resolve({"name": "exp"} | raw, "exp.yaml")


@pytest.mark.parametrize(
    ("norm", "arms", "resolved"),
    [
        ({}, None, {"none": NONE, "before": {"model.norm.placement": "before"}}),
        ("after", None, {"none": NONE, "after": {"model.norm.placement": "after"}}),
        ("none", None, {"none": NONE}),
        ({}, ["after"], {"after": {"model.norm.placement": "after"}}),
        ("none", ["after"], {"after": {"model.norm.kind": "batch", "model.norm.placement": "after"}}),
        ({}, {"none": None, "wide": {"model.width": 200}}, {"none": NONE, "wide": {"model.width": 200}}),
        ({}, {"plain": {}}, {"plain": {}}),
    ],
)
def test_arms_in_every_form(norm: object, arms: object, resolved: dict[str, Any]) -> None:
    assert experiment(model={"norm": norm}, arms=arms).arms == resolved


@pytest.mark.parametrize(
    ("seeds", "resolved"), [(1, (0,)), (3, (0, 1, 2)), ([5, 2], (5, 2)), ([0], (0,)), ((7, 8), (7, 8))]
)
def test_seeds_in_every_form(seeds: object, resolved: tuple[int, ...]) -> None:
    assert experiment(seeds=seeds).seeds == resolved


def test_swept_keys_are_the_columns_zip_first() -> None:
    config = experiment(grid={"train.lr": [1], "model.depth": [2]}, zip={"train.momentum": [0.5]})
    assert config.swept == ("train.momentum", "train.lr", "model.depth")
    assert config.points() == [{"train.momentum": 0.5, "train.lr": 1, "model.depth": 2}]


@pytest.mark.parametrize(
    ("arm", "kind", "placement"),
    [("none", "none", "before"), ("before", "batch", "before"), ("after", "batch", "after")],
)
def test_an_arm_changes_the_norm_and_nothing_else(arm: str, kind: str, placement: str) -> None:
    config = experiment(model={"depth": 3, "norm": {"eps": 1e-3}}, train={"lr": 0.5}, arms=["none", "before", "after"])
    settings = config.settings(arm, {})
    assert settings.model.norm == NormSettings.model_validate({"kind": kind, "placement": placement, "eps": 1e-3})
    assert settings.model_copy(update={"model": config.model}) == TrialSettings(
        data=config.data, model=config.model, train=config.train
    )


def test_a_grid_point_sets_values_and_the_arm_has_the_last_word() -> None:
    config = experiment(
        arms={"plain": {}, "slow": {"train.lr": 1e-3}}, grid={"train.lr": [1], "model.init.scale": [0.5]}
    )
    (point,) = config.points()
    assert config.settings("plain", point).train == TrainSettings(lr=1)
    assert config.settings("slow", point).train == TrainSettings(lr=1e-3)
    assert config.settings("slow", point).model.init.scale == 0.5


@pytest.mark.parametrize(
    ("name", "meaning"), [("none", {"model.norm.kind": "none"}), ("after", {"model.norm.placement": "after"})]
)
def test_a_built_in_arm_keeps_its_meaning_beside_overrides(name: str, meaning: dict[str, str]) -> None:
    config = resolve({"name": "exp", "arms": {name: {"train.lr": 1}}}, "exp.yaml")
    assert config.arms == {name: {**meaning, "train.lr": 1}}


@pytest.mark.parametrize(
    "override",
    [
        {"model": {"norm": {"kind": "layer"}}},
        {"model.norm": {"kind": "layer"}},
        {"model.norm": "layer"},
        {"model.norm.kind": "layer"},
    ],
)
def test_an_override_of_a_section_keeps_the_settings_that_it_does_not_name(override: dict[str, Any]) -> None:
    model = {"depth": 3, "width": 7, "init": {"scheme": "he", "scale": 0.5}, "norm": {"eps": 0.1, "placement": "after"}}
    config = experiment(model=model, arms={"arm": override}, grid={"model.init": ["xavier"]})
    changed = config.settings("arm", config.points()[0]).model
    assert (changed.norm.kind, changed.norm.eps, changed.norm.placement) == ("layer", 0.1, "after")
    assert (changed.depth, changed.width, changed.init.scheme, changed.init.scale) == (3, 7, "xavier", 0.5)


def test_labels_say_what_arms_are_called_and_name_no_run_anew() -> None:
    config = experiment(labels={"before": "with BN"})
    assert [config.label(arm) for arm in config.arms] == ["none", "with BN"]
    assert run_name(config) == run_name(experiment())
