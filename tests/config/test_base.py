"""Every setting is frozen and documented; booleans and infinities are no numbers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from bnexp.config.base import Settings
from bnexp.config.keys import put
from bnexp.config.trial import TrialSettings

NUMBERS = ("data.train_size", "model.width", "model.norm.eps", "train.lr", "train.clip.value")


def sections(section: type[Settings]) -> Iterator[type[Settings]]:
    yield section
    for field in section.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from sections(field.annotation)


def raw_with(key: str, value: object) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    put(raw, key, value, TrialSettings)
    return raw


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrialSettings().train.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("key", NUMBERS)
def test_a_boolean_is_no_number(refused: Callable[..., list[str]], key: str, value: bool) -> None:
    (line,) = refused(raw_with(key, value))
    assert line.startswith(f"exp.yaml: {key}: {str(value).lower()}: expected a")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("key", NUMBERS)
def test_infinities_and_nan_are_refused(refused: Callable[..., list[str]], key: str, value: float) -> None:
    (line,) = refused(raw_with(key, value))
    assert line.startswith(f"exp.yaml: {key}: ")
    assert "expected a" in line


@pytest.mark.parametrize("key", ["train.lr", "train.clip.norm_global", "arms.fast.train.lr", "model.init.scale"])
def test_numbers_too_large_for_a_float_are_infinities(refused: Callable[..., list[str]], key: str) -> None:
    assert refused({}, f"{key}=1e400") == [f"command line: {key}: Infinity: expected a finite number"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train.lr", -0.1, "expected a number greater than or equal to 0"),
        ("train.epochs", 0, "expected a number greater than or equal to 1"),
        ("train.momentum", 1, "expected a number less than 1"),
        ("model.norm.eps", 0, "expected a number greater than 0"),
        ("data.whiten_eps", 0, "expected a number greater than 0"),
        ("model.norm.momentum", 1.5, "expected a number less than or equal to 1"),
        ("train.lr", None, "expected a number"),
        ("train.lr", [], "expected a number"),
        ("train.epochs", 2.5, "expected an integer, got a number with a fractional part"),
    ],
)
def test_a_number_out_of_bounds_says_what_was_expected(
    refused: Callable[..., list[str]], key: str, value: object, expected: str
) -> None:
    (line,) = refused(raw_with(key, value))
    assert line.startswith(f"exp.yaml: {key}: ")
    assert line.endswith(f": {expected}")
