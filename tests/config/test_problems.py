"""What people type at a first try is refused with the nearest name, or with what to write instead."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.load import resolve
from bnexp.config.problems import MOST_FINDINGS

Refused = Callable[..., list[str]]


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
        assert f": {json.dumps(key)}: expected text as a key" in line
        assert ("write numbers with a decimal point" in line) == (key == 1.5)


def test_of_very_many_problems_the_first_are_said(refused: Refused) -> None:
    *found, last = refused({"seeds": [-1 - i for i in range(5_000)]})
    assert (len(found), last) == (MOST_FINDINGS, "exp.yaml: and more; mend these first")


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
