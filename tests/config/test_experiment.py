"""One experiment: arms, sweep and seeds in every short form, and the settings of single trials."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.norm import NormSettings
from bnexp.config.train import TrainSettings
from bnexp.config.trial import TrialSettings
from bnexp.errors import ConfigError
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


WRONG_ARMS = "expected a list of none, before, after, or a mapping from arm names to overrides"


@pytest.mark.parametrize(
    ("arms", "line"),
    [
        ([], f"arms: []: {WRONG_ARMS}"),
        ({}, f"arms: {WRONG_ARMS}"),
        ("before", f'arms: "before": {WRONG_ARMS}; write arms: [before]'),
        (3, f"arms: 3: {WRONG_ARMS}"),
        (
            ["befor"],
            'arms: ["befor"]: befor: expected one of none, before, after (nearest: before), or a mapping with its '
            "overrides",
        ),
        ({"wide": None}, "arms: wide: expected one of none, before, after, or a mapping with its overrides"),
        ({"wide": [1]}, "arms.wide: [1]: expected a mapping of keys"),
        ({"wide": {"model.widht": 3}}, "arms.wide.model.widht: unknown key (nearest: model.width)"),
        ({"wide": {"seeds": 3}}, "arms.wide.seeds: unknown key"),
        ({"slow": {"train.lr": -1}}, "arms.slow.train.lr: -1: expected a number greater than or equal to 0"),
        ({1: {}}, "arms.1: expected a string"),
    ],
)  # fmt: skip
def test_wrong_arms_are_refused_in_words(refused: Callable[..., list[str]], arms: object, line: str) -> None:
    assert refused({"arms": arms}) == [f"exp.yaml: {line}"]


@pytest.mark.parametrize("seeds", [0, -1, [], True, None, "many", 2.5])
def test_seeds_that_are_none_are_refused_in_words(refused: Callable[..., list[str]], seeds: object) -> None:
    (line,) = refused({"seeds": seeds})
    assert line.startswith(f"exp.yaml: seeds: {json.dumps(seeds)}: ")
    assert not any(jargon in line for jargon in ("tuple", "Value", "validation"))


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ([-1], "seeds.0: -1: expected a number greater than or equal to 0"),
        ([1.5], "seeds.0: 1.5: expected an integer, got a number with a fractional part"),
        ([0, True], "seeds.1: true: expected a number"),
    ],
)
def test_a_wrong_seed_is_refused_by_its_place(refused: Callable[..., list[str]], seeds: object, line: str) -> None:
    assert refused({"seeds": seeds}) == [f"exp.yaml: {line}"]


@pytest.mark.parametrize(
    ("raw", "key", "words"),
    [
        ({"zip": {"train.lr": [1, 2], "train.momentum": [0]}}, "zip", "train.lr has 2, train.momentum has 1"),
        ({"zip": {"train.lr": [1]}, "grid": {"train.lr": [1]}}, "zip", "train.lr stands in both grid and zip"),
    ],
)
def test_a_sweep_that_does_not_agree_names_its_key(
    refused: Callable[..., list[str]], raw: dict[str, Any], key: str, words: str
) -> None:
    (line,) = refused(raw)
    assert line.startswith(f"exp.yaml: {key}: ")
    assert words in line


@pytest.mark.parametrize(
    ("grid", "line"),
    [
        ({"train.lr": []}, "grid.train.lr: []: expected at least one value, the list is empty"),
        (
            {"train.lr": 0.1},
            "grid.train.lr: 0.1: expected a list of values or one of logspace, linspace, range; "
            "write grid: {train.lr: [0.1]}",
        ),
        ({"train.lrr": [1]}, "grid.train.lrr: unknown key (nearest: train.lr)"),
        ({"name": ["a"]}, "grid.name: unknown key (nearest: data.name)"),
        ({"train.lr": [1, -1]}, "grid.train.lr[1]: -1: expected a number greater than or equal to 0"),
        ({"train.lr": [True]}, "grid.train.lr[0]: true: expected a number"),
        (
            {"model.norm": ["befor"]},
            'grid.model.norm[0]: "befor": expected a mapping of keys, or one of before, after, none, batch, layer, '
            "group, whiten, noisy_batch (nearest: before)",
        ),
        ({"train.lr": {"logspace": [1, 2]}}, "grid.train.lr: logspace takes three numbers: [first, last, n]"),
        ([], "grid: []: expected a mapping of keys"),
        (None, "grid: null: expected a mapping of keys"),
    ],
)
@pytest.mark.parametrize("section", ["grid", "zip"])
def test_a_wrong_sweep_is_refused_in_words(
    refused: Callable[..., list[str]], section: str, grid: object, line: str
) -> None:
    assert refused({section: grid}) == [f"exp.yaml: {line.replace('grid', section)}"]


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (
            {"arms": {"two": {"model.width": [8, 8]}, "any": {}}, "grid": {"model.depth": [2, 3]}},
            "model: depth 3 does not fit the 2 layers that width lists (arm two)",
        ),
        (
            {"arms": {"nesterov": {"train.nesterov": True}, "any": {}}, "grid": {"train.momentum": [0, 0.9]}},
            "train: nesterov: true needs optimizer sgd and a momentum above 0 (arm nesterov)",
        ),
        (
            {"arms": {"group": {"model.norm.kind": "group"}, "any": {}}, "grid": {"model.width": [8, 12]}},
            "model: norm.groups 8 does not divide the width 12 (arm group)",
        ),
        (
            {"arms": {"short": {"train.steps": 5}, "any": {}}, "train": {"epochs": 3}},
            "train: epochs and steps exclude each other: give one of them, and null for the other (arm short)",
        ),
    ],
)
def test_what_goes_wrong_in_one_arm_at_one_grid_point_names_the_arm(
    refused: Callable[..., list[str]], raw: dict[str, Any], line: str
) -> None:
    assert refused(raw) == [f"exp.yaml: {line}"]


@pytest.mark.parametrize(
    ("name", "meaning"), [("none", {"model.norm.kind": "none"}), ("after", {"model.norm.placement": "after"})]
)
def test_a_built_in_arm_keeps_its_meaning_beside_overrides(name: str, meaning: dict[str, str]) -> None:
    config = resolve({"name": "exp", "arms": {name: {"train.lr": 1}}}, "exp.yaml")
    assert config.arms == {name: {**meaning, "train.lr": 1}}


@pytest.mark.parametrize(
    ("name", "key", "value"), [("none", "model.norm.kind", "layer"), ("before", "model.norm.placement", "after")]
)
def test_a_built_in_arm_can_not_be_made_another(name: str, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} means {key}: .*; give an arm with {key}: {value} another name"):
        resolve({"name": "exp", "arms": {name: {key: value}}}, "exp.yaml")


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


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"befor": "BN"}, "labels: no arm is named befor; the arms are none, before (nearest: before)"),
        ({"none": "x", "before": "x"}, "labels: x: two arms would be called that; give each a label of its own"),
        ({"before": "none"}, "labels: none: two arms would be called that; give each a label of its own"),
        ({"before": ""}, 'labels.before: "": expected at least 1 character'),
        ({"before": 1}, "labels.before: 1: expected a string"),
        ("with BN", 'labels: "with BN": expected a mapping of keys'),
    ],
)
def test_labels_that_are_of_no_arm_or_tell_none_apart_are_refused(labels: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(labels=labels)
    assert str(caught.value) == f"exp.yaml: {message}"
