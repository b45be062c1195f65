"""What people type at a first try is refused with the nearest name, or with what to write instead."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.dotted import is_key
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.problems import MOST_FINDINGS
from bnexp.config.synonyms import SYNONYMS
from bnexp.config.yaml import parse
from bnexp.errors import bare

Refused = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {lr: [0.1, 1]}", "train.lr: [0.1, 1]: expected a number; to sweep it: grid: {train.lr: [0.1, 1]}"),
        (
            "train:\n  schedule: step, cosine",
            'train.schedule: "step, cosine": expected one of constant, step, exponential, cosine, warmup_cosine, '
            "one_cycle (nearest: cosine); to sweep it: grid: {train.schedule: [step, cosine]}",
        ),
        (
            "model: {init: [he, xavier]}",
            'model.init: ["he", "xavier"]: expected a mapping of keys; to sweep it: grid: {model.init: [he, xavier]}',
        ),
    ],
)
def test_several_values_at_a_setting_are_a_sweep(refused: Refused, text: str, message: str) -> None:
    assert refused(parse(text, "exp.yaml")) == [f"exp.yaml: {message}"]


@pytest.mark.parametrize("value", ["[0.9]", "a,b", "[0.1, -1]", "[]", "[[1], [2]]"])
def test_values_that_can_not_be_swept_are_not_proposed(refused: Refused, value: str) -> None:
    (line,) = refused({}, f"train.lr={value}")
    assert "to sweep it" not in line


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("train.schedule=MultiStepLR", "step with train.schedule_options.step_at"),
        ("train.schedule=none", "constant"),
        ("train.optimizer=SGD", "sgd"),
        ("train.precision=fp16", "bf16"),
        ("model.norm=BatchNorm2d", "batch"),
        ("model.norm.kind=InstanceNorm", "group"),
        ("model.init=kaiming_normal", "he"),
        ("model.family=CNN", "vgg"),
        ("data.normalize=true", "standard"),
        ("arms=[none, batch_norm]", "before"),
    ],
)
def test_the_name_that_a_value_has_elsewhere_leads_to_it(refused: Refused, typed: str, nearest: str) -> None:
    (line,) = refused({}, typed)
    assert f" (nearest: {nearest})" in line


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("arms.b.norm=none", "model.norm"),
        ("learning_rate=1", "train.lr"),
        ("train.learning-rate=1", "train.lr"),
        ("BatchSize=3", "train.batch_size"),
        ("model.dropout_rate=0.1", "model.dropout"),
        ("momentum=0.9", "train.momentum"),
        ("model.momentum=0.9", "model.norm.momentum"),
    ],
)
def test_the_name_that_a_setting_has_elsewhere_leads_to_it(refused: Refused, typed: str, nearest: str) -> None:
    (line,) = refused({}, typed)
    assert line.endswith(f": unknown key (nearest: {nearest})")


def test_other_names_are_of_settings_and_each_of_one() -> None:
    settings = {meant: names.split() for meant, names in SYNONYMS.items() if "=" not in meant}
    assert all(is_key(ExperimentConfig, meant.partition("=")[0]) for meant in SYNONYMS)
    names = [bare(name) for each in settings.values() for name in each]
    assert len(names) == len(set(names))
    assert not any(is_key(ExperimentConfig, name) for each in settings.values() for name in each)


@pytest.mark.parametrize(
    ("value", "instead"), [("true", "before or after, the place of batch norm"), ("false", "none"), ("null", "none")]
)
def test_norm_is_no_switch(refused: Refused, value: str, instead: str) -> None:
    message = f"expected {instead}; to compare with and without it, use arms"
    assert refused({}, f"model.norm={value}") == [f"command line: model.norm: {value}: {message}"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"arms": ["none", "none"]}, 'arms: ["none", "none"]: none is listed twice'),
        ({"seeds": [1, 1.0]}, "seeds: [1, 1.0]: 1 is listed twice"),
        ({"train": {"record_at": [5, 3, 5]}}, "train.record_at: [5, 3, 5]: 5 is listed twice"),
        ({"probes": [{"name": "rank", "layers": ["a", "a"]}]}, 'probes.0.layers: ["a", "a"]: a is listed twice'),
        ({"grid": {"train.lr": [1, 1.0]}}, "grid.train.lr: 1.0 is listed twice"),
        ({"grid": {"train.lr": [0.1, "0.1"]}}, "grid.train.lr: 0.1 is listed twice"),
        ({"grid": {"model.norm": ["none", "batch", "before"]}}, "grid.model.norm: before is listed twice"),
        ({"tune": {"grid": {"train.drop_last": [True, "yes"]}}}, "tune.grid.train.drop_last: yes is listed twice"),
        ({"zip": {"train.lr": [1, "1"], "train.batch_size": [20, 20.0]}}, "zip: 1, 20.0 is listed twice"),
    ],
)
def test_a_list_that_repeats_is_refused_however_it_is_written(
    refused: Refused, raw: dict[str, Any], message: str
) -> None:
    assert refused(raw) == [f"exp.yaml: {message}"]


def test_two_arms_may_be_alike_for_a_study_of_chance() -> None:
    arms = {"a": {"model.norm": "none"}, "b": {"model.norm": "none"}}
    assert list(resolve({"name": "exp", "arms": arms}, "").arms) == ["a", "b"]


@pytest.mark.parametrize("key", [None, 1.5, True])
def test_keys_of_settings_are_text(refused: Refused, key: object) -> None:
    for raw, section in (({key: 1}, ""), ({"train": {key: 1}}, "train.")):
        (line,) = refused(raw)
        assert line.startswith(f"exp.yaml: {section}")
        assert line.endswith(f": {json.dumps(key)}: expected text as a key")


def test_of_very_many_problems_the_first_are_said(refused: Refused) -> None:
    assert len(refused({"seeds": [-1 - i for i in range(5_000)]})) == MOST_FINDINGS


def test_every_problem_is_listed_at_once_with_source_key_value_expected_and_nearest(refused: Refused) -> None:
    raw = {
        "data": {"name": "minst"},
        "model": {"activation": "rellu", "width": 0},
        "train": {"lr": -1, "epoch": 3},
        "arms": {"wide": {"model.widht": 3}},
        "grid": {"train.lr": ["q"], "train.momentum": []},
        "seeds": [0.5],
    }
    found = refused(raw, "train.batch_size=0", "nonsense", "model.depht=3")
    assert sorted(found) == sorted(
        [
            'exp.yaml: data.name: "minst": expected one of digits, mnist, fashion_mnist, cifar10, cifar100, '
            "image_folder (nearest: mnist)",
            'exp.yaml: model.activation: "rellu": expected one of relu, leaky_relu, elu, selu, gelu, silu, tanh, '
            "sigmoid, identity (nearest: relu)",
            "exp.yaml: model.width: 0: expected a whole number of units above 0, or a list of them",
            "exp.yaml: train.lr: -1: expected a number greater than or equal to 0",
            "exp.yaml: train.epoch: unknown key (nearest: train.epochs)",
            "exp.yaml: arms.wide.model.widht: unknown key (nearest: model.width)",
            'exp.yaml: grid.train.lr[0]: "q": expected a number',
            "exp.yaml: grid.train.momentum: []: expected at least one value, the list is empty",
            "exp.yaml: seeds.0: 0.5: expected an integer, got a number with a fractional part",
            "command line: train.batch_size: 0: expected a number greater than or equal to 1",
            "command line: nonsense: expected dotted.key=value",
            "command line: model.depht=3: unknown key (nearest: model.depth)",
        ]
    )


def test_long_values_are_cut_short(refused: Refused) -> None:
    (line,) = refused({"train": {"lr": ["x" * 500]}})
    assert line.endswith("xxx…: expected a number")
    assert len(line) < 120


def test_one_mistake_is_said_once(refused: Refused) -> None:
    raw = {"arms": ["none", "before"], "grid": {"train.lr": [1, 2, 3]}, "train": {"nesterov": True}}
    assert len(refused(raw)) == 1
