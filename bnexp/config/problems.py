"""What is wrong with a configuration: the value, what was expected, the nearest known name, and what was meant.

Errors say how to write what was meant: several values at one setting as a sweep, a single value as a list of one, and a
number in another unit, such as per cent, in the unit that the setting has.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from itertools import chain, islice
from typing import Any

from pydantic import ValidationError

from bnexp.config.base import Settings
from bnexp.config.experiment import BUILT_IN_ARMS, ExperimentConfig, first_stage
from bnexp.config.keys import get, is_key, nearest_key, nearest_value, put
from bnexp.config.sweep import RANGES, arguments_of, values
from bnexp.config.trial import TrialSettings
from bnexp.config.yaml import flow, parse
from bnexp.errors import InputError

Finding = tuple[str, str]
"""A dotted key, and what is wrong with its value."""

MOST_FINDINGS = 100
"""The most problems of one kind that are reported at once: the first ones are enough to read."""
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
        found = _first(_repeated(config)) or _first(chain.from_iterable(map(_conflicts, first_stage(config))))
    return config, found


def _first(findings: Iterable[Finding]) -> list[Finding]:
    found = list(islice(dict.fromkeys(findings), MOST_FINDINGS + 1))
    return [*found[:MOST_FINDINGS], ("", "and more; correct these first")] if len(found) > MOST_FINDINGS else found


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
            with suppress(ValueError):  # reported already, for the column
                listed = isinstance(column, list | tuple)
                for i, value in enumerate(values(column)):
                    yield key, value, f"{section}.{key}[{i}]" if listed else f"{section}.{key}"
    for key, distribution in _mapping(get(raw, "tune.sample")).items():
        for options in _mapping(distribution).values():
            for value in options if isinstance(options, list | tuple) else ():
                yield key, value, f"tune.sample.{key}"
    for arm, settings in _mapping(raw.get("arms")).items():
        for key, value in _mapping(settings).items():
            yield key, value, f"arms.{arm}.{key}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def faults(key: Any, value: Any) -> Iterator[str]:
    """Yield what is wrong with a value of a setting; nothing if it is possible, perhaps only with other settings."""
    if not is_key(TrialSettings, str(key)):
        return  # reported already, for the key
    try:
        _alone(key, value)
    except ValidationError as error:
        # What only fails against other settings' defaults is left to the check of whole combinations.
        yield from (message for found, message in explain(error) if found.startswith(key))
    except ValueError as error:
        yield str(error)


def _converted(key: str, value: Any) -> Any:
    """Return a value as the setting stores it; unchanged if it is possible only with other settings."""
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
    ("a integer", "a whole number"),
    (", unable to parse string as a number", ""),
    (", unable to parse string as an integer", ""),
    ("expected greater", "expected a number greater"),
    ("expected less", "expected a number less"),
)
"""From pydantic's wording to ours."""


def explain(error: ValidationError, section: type[Settings] = ExperimentConfig) -> Iterator[Finding]:
    """Yield everything that the validation of a section found."""
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        if item["type"] == "extra_forbidden":
            space = "; write a space after the colon" if ":" in key else ""
            yield key, f"unknown key{nearest_key(section, key)}{space}"
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
    if kind == "too_short" and item["ctx"]["min_length"] == 1:
        return "expected at least one"
    if kind == "literal_error":
        known = [name.strip("'") for name in item["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"expected one of {', '.join(known)}{nearest_value(key, item['input'], known)}"
    return in_our_words(item["msg"])


def in_our_words(message: str) -> str:
    """Return pydantic's message in our wording."""
    for theirs, ours in WORDS:
        message = message.replace(theirs, ours)
    return message


SEEDS = ("seeds", "tune.seeds")
SWEPT_AS = {"data": "data.name", "model": "model.family", "model.init": "model.init.scheme"}
"""Sections with a short form, and the setting that it sets: a sweep is over that setting."""
WARM_UPS = ("train.warmup", "train.schedule_options.warmup")
SHARES = ("model.dropout", "train.label_smoothing", *WARM_UPS)
SIZES = ("data.train_size", "data.val_size", "data.test_size")
MOST_VALUES = 100
"""The most values of a list that are checked: a longer list is probably no sweep."""

_CALL = re.compile(rf"(?:np\.|numpy\.)?({'|'.join(RANGES)})\((.*)\)")
_DECIMAL_COMMA = re.compile(r"([-+]?\d+),(\d+)")
_PERCENT = re.compile(r"(\d+(?:\.\d*)?) ?%")


def hint(raw: Mapping[str, Any], place: str, *, typed: bool) -> str:
    """Return what to write, in a file or typed as an override, instead of the wrong value at a place, or nothing.

    The place is a dotted key of the raw configuration, perhaps of an arm or a sweep.
    """
    if place.endswith("]") or place.startswith("arms."):
        within = ((key, value) for key, value, where in swept_values(raw) if where == place)
        key, value = next(within, ("", None))
        return _setting_hint(key, value, place, typed=typed)
    section = next((each for each in COLUMNS if place.startswith(f"{each}.")), "")
    key = place.removeprefix(f"{section}.")
    value = (get(raw, section) or {}).get(key) if section else get(raw, place)
    if value is None:
        return ""
    if section or key in ("arms", *SEEDS):
        meant = _list_meant(key, value)
        return f"; write {_assigned(section, key, meant, typed=typed)}" if meant else ""
    return _setting_hint(key, value, place, typed=typed)


def _assigned(section: str, key: str, value: Any, *, typed: bool) -> str:
    if typed:
        return shlex.quote(f"{section}.{key}={flow(value)}".lstrip("."))
    return f"{section}: {flow({key: value})}" if section else f"{key}: {flow(value)}"


def _list_meant(key: str, value: Any) -> Any:
    """Return the list or range that a single value or text stands for, if only these are allowed; else None."""
    if isinstance(value, dict | list) or (key in SEEDS and not isinstance(value, str)):
        return None
    meant = _as_list(key, value)
    if isinstance(meant, dict):
        return None if key == "arms" else meant
    return meant if meant and (len(meant) > 1 or _fits(key, meant[0])) else None


def _setting_hint(key: str, value: Any, place: str, *, typed: bool) -> str:
    """Return how to write one value of a setting with the right brackets, how to sweep it, or which unit it has."""
    several = _as_list(key, value)
    one = value[0] if isinstance(value, list) and len(value) == 1 else several
    if _fits(key, one) and not isinstance(value, dict):
        return f"; write {shlex.quote(f'{place}={flow(one)}') if typed else flow(one)}"
    if key == "model.norm" and isinstance(value, list) and value and all(_fits("arms", each) for each in value):
        return f"; to compare them: {_assigned('', 'arms', value, typed=typed)}"
    key = SWEPT_AS.get(key, key)
    if _possible(key, several) or (isinstance(several, dict) and not _fits(key, [1])):  # lists are its own values
        comma = _DECIMAL_COMMA.fullmatch(value) if isinstance(value, str) else None
        point = f"; or with a decimal point: {comma[1]}.{comma[2]}" if comma else ""
        return f"; to sweep it: {_assigned('grid', key, several, typed=typed)}{point}"
    return _unit_hint(key, value)


def _unit_hint(key: str, value: Any) -> str:
    """Say which unit is expected if another was given: per cent or epochs for a share, a share for a count."""
    per_cent = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    number = float(per_cent[1]) if per_cent else value if type(value) in (int, float) else 0.0
    if key in SIZES and (per_cent or 0 < number < 1):
        return "; it is a number of images"
    if key in WARM_UPS and number >= 1 and not per_cent:
        return "; it is a share of the training, such as 0.1"
    if key in SHARES and (per_cent or number > 1) and number < 100:
        return f"; it is a share: {number:g} % is {number / 100:g}"
    return ""


def _as_list(key: str, value: Any) -> Any:
    """Return the list or the range that a value stands for; None if it stands for neither."""
    if isinstance(value, str):
        call = _CALL.fullmatch(value.strip())
        return _range_meant(key, call[1], _listed(call[2])) if call else _listed(value)
    if isinstance(value, dict):
        kind = next(iter(value), "")
        return _range_meant(key, kind, value[kind]) if len(value) == 1 and kind in RANGES else None
    return value if isinstance(value, list) else [value]


def _range_meant(key: str, kind: str, arguments: Any) -> Any:
    """Return a range; if a number is missing, or the numbers are impossible, with their names instead."""
    if _possible(key, {kind: arguments}):
        return {kind: arguments}
    names = arguments_of(kind)
    ends = isinstance(arguments, list) and len(arguments) == 2 and kind != "logspace"
    return {kind: [*arguments, names[2]] if ends else names}


def _possible(key: str, written: Any) -> bool:
    """Tell whether something lists several different values of a setting, or several seeds."""
    try:
        each = values(written)
    except ValueError:
        return False
    differ = len(set(map(repr, each))) == len(each)
    return 1 < len(each) <= MOST_VALUES and differ and all(_fits(key, one) for one in each)


def _fits(key: str, value: Any) -> bool:
    """Tell whether a value is one of a setting, or an arm or a seed."""
    if key == "arms":
        return value in BUILT_IN_ARMS
    if key in SEEDS:
        return type(value) is int and value >= 0
    return isinstance(key, str) and is_key(TrialSettings, key) and value is not None and not [*faults(key, value)]


def _listed(text: str) -> Any:
    """Return the entries of a text with commas in between."""
    try:
        return parse(f"[{text}]", "")
    except InputError:
        return None
