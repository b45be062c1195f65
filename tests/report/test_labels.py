"""Names and values where space is short."""

import pytest

from bnexp.report.style import point_texts, short_keys, value_text


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
