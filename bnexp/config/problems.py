"""What is wrong with a configuration, in words that name the value, what was expected, and the nearest known name."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import reduce
from typing import Any

from pydantic import ValidationError

from bnexp.config.base import Settings
from bnexp.config.dotted import get, is_key, nearest_key, put
from bnexp.config.experiment import ExperimentConfig, first_stage
from bnexp.config.sweep import values
from bnexp.config.synonyms import nearest_value
from bnexp.config.trial import TrialSettings
from bnexp.config.yaml import LARGEST

Finding = tuple[str, str]
"""A dotted key, and what is wrong with its value."""

MOST_FINDINGS = 100
"""Problems that are said at once of each kind: the first of them are enough to read."""
LONGEST_RESOLVED = LARGEST // 8
"""Characters of the resolved form as JSON. YAML takes up to five times as many, and it has to be read again."""
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
        found = _first(_same_values(config)) or list(_too_long(config))
        found = found or _first(_conflicts(first_stage(config)))
    return config, found


def _first(findings: Iterator[Finding]) -> list[Finding]:
    """Return what was found, each once; of very many the first ones."""
    kept: dict[Finding, None] = {}
    for each in findings:
        if len(kept) == MOST_FINDINGS:
            return [*kept, ("", "and more; mend these first")]
        kept[each] = None
    return list(kept)


def _same_values(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield values of a sweep that are written in two ways and mean one setting: 0.1 and "0.1", or batch and before."""
    columns = {f"grid.{key}": {key: column} for key, column in config.grid.items()}
    columns |= {f"tune.grid.{key}": {key: column} for key, column in config.tune.grid.items()}
    for place, column in ({"zip": config.zip} | columns).items():
        rows = list(zip(*column.values(), strict=True))
        if all(isinstance(value, int | float) for row in rows for value in row):
            continue  # equal numbers are found where the column is read
        meant = [repr([converted(key, value) for key, value in zip(column, row, strict=True)]) for row in rows]
        first: dict[str, int] = {}
        for number, row in enumerate(rows):
            if (before := first.setdefault(meant[number], number)) < number:
                twins = (json.dumps(each[0] if len(each) == 1 else each, default=str) for each in (row, rows[before]))
                yield f"{place}[{number}]", "{}: means the same as {}; list it once".format(*twins)


def _conflicts(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield what makes an arm at a grid point impossible although each setting alone is fine."""
    for arm in config.arms:
        for point in config.points():
            try:
                config.settings(arm, point)
            except ValidationError as error:
                for key, message in explain(error):
                    yield key, f"{message} (arm {arm})"


def _too_long(config: ExperimentConfig) -> Iterator[Finding]:
    if (length := len(config.model_dump_json())) > LONGEST_RESOLVED:
        yield (
            "",
            f"written out it takes {length:,} characters, more than {LONGEST_RESOLVED:,}; "
            "shorten seeds, grid, zip, arms, model.width or train.record_at",
        )


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


def converted(key: str, value: Any) -> Any:
    """Return a value as the setting holds it; as it is where it is possible with other settings only."""
    try:
        return reduce(getattr, key.split("."), _alone(key, value))
    except ValidationError:
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
        yield key, _message(item, key, section)


def _message(item: Mapping[str, Any], key: str, section: type[Settings]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key{nearest_key(section, key)}"
    if item["type"] == "unknown_key":
        return f"unknown key{nearest_key(TrialSettings, item['input'])}"
    expected = _expected(item, key)
    # A check across keys names them in its own words, and a wrong key is named already: no value then.
    if isinstance(item["input"], Mapping) or "[key]" in item["loc"] or not key:
        return expected
    shown = json.dumps(item["input"], default=str, ensure_ascii=False)
    return f"{shown if len(shown) <= 60 else shown[:57] + '…'}: {expected}"


def _expected(item: Mapping[str, Any], key: str) -> str:
    kind, message = item["type"], item["msg"]
    if kind == "invalid_key" and isinstance(item["input"], int | float) and not isinstance(item["input"], bool):
        return KEYS
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        return "expected letters, digits and _ . + - only, beginning with a letter or digit"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "expected a mapping of keys"
    if kind == "literal_error":
        known = [name.strip("'") for name in item["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"expected one of {', '.join(known)}{nearest_value(key, item['input'], known)}"
    return in_our_words(message)


def in_our_words(message: str) -> str:
    """Return what pydantic says, put as everything else is."""
    for theirs, ours in WORDS:
        message = message.replace(theirs, ours)
    return message
