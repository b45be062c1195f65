"""An arm looks the same in every figure, no two arms of a figure look alike, and names and values are short."""

from dataclasses import replace

import pytest

from bnexp.report.style import KNOWN, arm_styles, point_texts, short_keys, value_text


def test_the_usual_arms_keep_their_look_in_any_company() -> None:
    styles = arm_styles(["x", "after", "y", "none", "before"])
    assert {arm: styles[arm] for arm in KNOWN} == KNOWN
    assert arm_styles(["none", "x", "y"])["y"] == styles["y"]


def test_arms_keep_their_order() -> None:
    assert list(arm_styles(["b", "none", "a"])) == ["b", "none", "a"]


def test_twenty_other_arms_can_be_told_apart() -> None:
    styles = arm_styles([*KNOWN, *(f"arm{i}" for i in range(20))])
    assert len({replace(style, letter="") for style in styles.values()}) == 23
    assert len({style.letter for style in styles.values()}) == 23
    assert "x" not in {style.letter for style in styles.values()}  # in a terminal that is a trial that diverged


def test_the_first_component_goes_unless_two_keys_would_look_the_same() -> None:
    assert short_keys(["train.lr", "model.init.scale"]) == {"train.lr": "lr", "model.init.scale": "init.scale"}
    assert short_keys(["train.name", "data.name", "train.lr"]) == {
        "train.name": "train.name",
        "data.name": "data.name",
        "train.lr": "lr",
    }
    assert short_keys(["seed"]) == {"seed": "seed"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00735642, "0.007356"),
        (1e-5, "1e-05"),
        (128, "128"),
        (1.0, "1"),
        ("relu", "relu"),
        (None, "null"),
        (True, "true"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert value_text(value) == text


def test_points() -> None:
    assert point_texts({"model.init.scale": 0.0073, "train.lr": 0.1}) == ["init.scale 0.0073", "lr 0.1"]
    assert point_texts({}) == []
