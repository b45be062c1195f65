"""What is wrong with a configuration, in words that name the value, what was expected, and the nearest known name."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from itertools import islice
from typing import Any

from pydantic import ValidationError

from bnexp.config.base import Settings
from bnexp.config.dotted import get, is_key, nearest_key, put
from bnexp.config.experiment import ExperimentConfig, first_stage
from bnexp.config.sweep import values
from bnexp.config.synonyms import nearest_value
from bnexp.config.trial import TrialSettings

Finding = tuple[str, str]
"""A dotted key, and what is wrong with its value."""

MOST_FINDINGS = 100
"""Problems of a kind that are said at once: the first are enough to read."""
COLUMNS = ("grid", "zip", "tune.grid")
"""Sections of lists by dotted key."""


def check(raw: Mapping[str, Any]) -> tuple[ExperimentConfig | None, list[Finding]]:
    """Return the configuration, or None, and all that is wrong with it."""
    config, found = None, []
    try:
        config = ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        found = _first(explain(error))
    found += _first((place, fault) for key, value, place in swept_values(raw) for fault in faults(key, value))
    if config and not found:
        found = _first(_repeated(config)) or _first(_conflicts(first_stage(config)))
    return config, found


def _first(findings: Iterable[Finding]) -> list[Finding]:
    found = list(islice(dict.fromkeys(findings), MOST_FINDINGS + 1))
    return [*found[:MOST_FINDINGS], ("", "and more; mend these first")] if len(found) > MOST_FINDINGS else found


def _repeated(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield values of a sweep that are listed twice, perhaps written in two ways: 0.1 and "0.1", batch and before."""
    columns = {"zip": config.zip} | {f"grid.{key}": {key: column} for key, column in config.grid.items()}
    columns |= {f"tune.grid.{key}": {key: column} for key, column in config.tune.grid.items()}
    for place, column in columns.items():
        rows = list(zip(*column.values(), strict=True))
        meant = [repr([_converted(*each) for each in zip(column, row, strict=True)]) for row in rows]
        if len(set(meant)) < len(rows):
            again = next(row for number, row in enumerate(rows) if meant[number] in meant[:number])
            yield place, f"{', '.join(map(str, again))} is listed twice"


def _conflicts(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield what makes an arm at a grid point impossible although each setting alone is fine."""
    for arm in config.arms:
        for point in config.points():
            try:
                config.settings(arm, point)
            except ValidationError as error:
                for key, message in explain(error):
                    yield key, f"{message} (arm {arm})"


def swept_values(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted key, value, place in the file) of every value in lists of the sweep and in the arms."""
    for section in COLUMNS:
        for key, column in _mapping(get(raw, section)).items():
            with suppress(ValueError):  # said already, for the column
                listed = isinstance(column, list | tuple)
                for i, value in enumerate(values(column)):
                    yield key, value, f"{section}.{key}[{i}]" if listed else f"{section}.{key}"
    for arm, settings in _mapping(raw.get("arms")).items():
        for key, value in _mapping(settings).items():
            yield key, value, f"arms.{arm}.{key}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def faults(key: Any, value: Any) -> Iterator[str]:
    """Yield what is wrong with a value at a setting; nothing where it is possible, if only with other settings."""
    if not is_key(TrialSettings, str(key)):
        return  # said already, for the key
    try:
        _alone(key, value)
    except ValidationError as error:
        # What only fails against other settings' defaults is left to the check of whole combinations.
        yield from (message for found, message in explain(error) if found.startswith(key))
    except ValueError as error:
        yield str(error)


def _converted(key: str, value: Any) -> Any:
    """Return a value as the setting holds it; as it is where it is possible with other settings only."""
    with suppress(ValidationError):
        return reduce(getattr, key.split("."), _alone(key, value))
    return value


def _alone(key: str, value: Any) -> TrialSettings:
    raw: dict[str, Any] = {}
    put(raw, key, value, TrialSettings)
    return TrialSettings.model_validate(raw)


KEYS = "expected text as a key; write numbers with a decimal point (0.1), and several values in brackets ([0.1, 1])"
WORDS = (
    ("Value error, ", ""),
    ("Input should be", "expected"),
    ("String should have", "expected"),
    ("Keys should be strings", "expected text as a key"),
    ("a valid ", "a "),
    ("a tuple", "a list"),
    ("Field required", "missing"),
    ("a integer", "an integer"),
    (", unable to parse string as a number", ""),
    (", unable to parse string as an integer", ""),
    ("expected greater", "expected a number greater"),
    ("expected less", "expected a number less"),
)
"""From pydantic's way of putting things to ours."""


def explain(error: ValidationError, section: type[Settings] = ExperimentConfig) -> Iterator[Finding]:
    """Yield everything that the validation of a section found."""
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        if item["type"] == "extra_forbidden":
            yield key, f"unknown key{nearest_key(section, key)}"
        # A check across keys names them in its own words, and a wrong key is named already: no value then.
        elif isinstance(item["input"], Mapping) or "[key]" in item["loc"] or not key:
            yield key, _expected(item, key)
        else:
            shown = json.dumps(item["input"], default=str, ensure_ascii=False)
            yield key, f"{shown if len(shown) <= 60 else shown[:57] + '…'}: {_expected(item, key)}"


def _expected(item: Mapping[str, Any], key: str) -> str:
    kind, given = item["type"], item["input"]
    if kind == "invalid_key" and isinstance(given, int | float) and not isinstance(given, bool):
        return KEYS
    if kind == "string_pattern_mismatch":
        return "expected letters, digits and _ . + - only, beginning with a letter or digit"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "expected a mapping of keys"
    if kind == "literal_error":
        known = [name.strip("'") for name in item["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"expected one of {', '.join(known)}{nearest_value(key, item['input'], known)}"
    return in_our_words(item["msg"])


def in_our_words(message: str) -> str:
    """Return what pydantic says, put as everything else is."""
    for theirs, ours in WORDS:
        message = message.replace(theirs, ours)
    return message
