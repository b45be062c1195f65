"""A list that repeats is a slip and is refused; where the order of a list says nothing, it may be any."""

from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.load import resolve

Refused = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"arms": ["none", "none"]}, 'arms: ["none", "none"]: none is listed twice'),
        ({"seeds": [1, 2, 1]}, "seeds: [1, 2, 1]: 1 is listed twice"),
        ({"seeds": [1, 1.0]}, "seeds: [1, 1.0]: 1 is listed twice"),
        ({"train": {"record_at": [5, 3, 5]}}, "train.record_at: [5, 3, 5]: 5 is listed twice"),
        ({"probes": [{"name": "rank", "at": [0, 0]}]}, "probes.0.at: [0, 0]: 0 is listed twice"),
        ({"probes": [{"name": "rank", "layers": ["a", "a"]}]}, 'probes.0.layers: ["a", "a"]: a is listed twice'),
        ({"grid": {"train.lr": [1, 1.0]}}, "grid.train.lr: [1, 1.0]: 1.0 is listed twice"),
    ],
)
def test_a_list_that_repeats_is_refused(refused: Refused, raw: dict[str, Any], message: str) -> None:
    assert refused(raw) == [f"exp.yaml: {message}"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"grid": {"train.lr": [0.1, "0.1"]}}, 'grid.train.lr[1]: "0.1": means the same as 0.1; list it once'),
        (
            {"grid": {"model.norm": ["none", "batch", "before"]}},
            'grid.model.norm[2]: "before": means the same as "batch"; list it once',
        ),
        (
            {"grid": {"model.init": ["he", {"scheme": "he", "scale": 1}]}},
            'grid.model.init[1]: {"scheme": "he", "scale": 1}: means the same as "he"; list it once',
        ),
        (
            {"tune": {"grid": {"train.drop_last": [True, "yes"]}}},
            'tune.grid.train.drop_last[1]: "yes": means the same as true; list it once',
        ),
        (
            {"zip": {"train.lr": [1, "1"], "train.batch_size": [20, 20.0]}},
            'zip[1]: ["1", 20.0]: means the same as [1, 20]; list it once',
        ),
    ],
)
def test_a_value_written_in_two_ways_is_refused(refused: Refused, raw: dict[str, Any], message: str) -> None:
    assert refused(raw) == [f"exp.yaml: {message}"]


def test_an_override_does_not_hide_that_arms_repeat(refused: Refused) -> None:
    assert refused({"arms": ["none", "none"]}, "arms.none.train.lr=1") == [
        "command line: arms.none.train.lr=1: none is listed twice",
        'exp.yaml: arms: ["none", "none"]: none is listed twice',
    ]


def test_two_arms_may_be_alike_for_a_study_of_chance() -> None:
    arms = {"a": {"model.norm": "none"}, "b": {"model.norm": "none"}}
    assert list(resolve({"name": "exp", "arms": arms}, "").arms) == ["a", "b"]
