"""What is wrong with a configuration, in words: the message, what was probably meant, and how to write it."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

from pydantic import ValidationError

from bnexp.config.base import Settings
from bnexp.config.dotted import is_key, leaf_keys, nearest_key, put
from bnexp.config.experiment import BUILT_IN_ARMS, ExperimentConfig
from bnexp.config.sweep import RANGES, arguments_of, repeated, values
from bnexp.config.synonyms import nearest_value
from bnexp.config.train import DEFAULT_EPOCHS
from bnexp.config.trial import TrialSettings
from bnexp.config.yaml import DEEPEST, MOST_DIGITS, flow, parse
from bnexp.errors import InputError

Finding = tuple[str, str]
"""A dotted key, and what is wrong with its value."""

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


def typed(key: str, value: Any) -> Any:
    """Return a value as the setting holds it; as it is where it is possible with other settings only."""
    try:
        return reduce(getattr, key.split("."), _alone(key, value))
    except ValidationError:
        return value


def _alone(key: str, value: Any) -> TrialSettings:
    raw: dict[str, Any] = {}
    put(raw, key, value, TrialSettings)
    return TrialSettings.model_validate(raw)


# What was probably meant where a value is of another kind than its setting takes, and how to write that.
#
# Several values at a setting, which takes one, are a sweep; one value where a list belongs is a list of one; and
# numbers of another unit, such as epochs for a share, are converted.

SWEPT_AS = {"data": "data.name", "model": "model.family", "model.init": "model.init.scheme"}
"""Sections with a short form, and the setting that it sets: a sweep is over that setting."""
COLUMNS = ("grid", "zip", "tune.grid")
"""Sections of lists by dotted key."""
SHARES = ("model.dropout", "train.label_smoothing")
WARM_UPS = ("train.warmup", "train.schedule_options.warmup")
SIZES = ("data.train_size", "data.val_size", "data.test_size")
SEEDS = ("seeds", "tune.seeds")
LISTS = ("train.record_at", "train.schedule_options.step_at")
"""Settings that take ranges themselves."""
MOST_VALUES = 100
"""Values of a list that are looked at: a longer one is probably no sweep."""

_CALL = re.compile(rf"(?:np\.|numpy\.)?({'|'.join(RANGES)})\((.*)\)")
_DECIMAL_COMMA = re.compile(r"([-+]?\d+),(\d+)")
_PERCENT = re.compile(r"(\d+(?:\.\d*)?) ?%")


def hint(raw: Mapping[str, Any], place: str, *, typed: bool) -> str:
    """Return what to write instead of the wrong value at a place of a raw configuration, or nothing.

    Args:
        raw: the configuration.
        place: a dotted key, perhaps of an arm or a sweep.
        typed: on the command line, and not in a file.
    """
    listed = _list_meant(raw, place)
    if listed is not None:
        return f"; write {_assigned(place, listed, typed=typed)}"
    key, value = next((each[1:] for each in _settings(raw) if each[0] == place), ("", None))
    if not key:
        return ""
    bracketed = _bracketed(key, value)
    if bracketed is not None:
        return f"; write {shlex.quote(f'{place}={flow(bracketed)}') if typed else flow(bracketed)}"
    return _sweep_hint(key, value, typed=typed) or _unit_hint(raw, key, value)


def _bracketed(key: str, value: Any) -> Any:
    """Return a setting's value with the brackets that it lacks, or without those too many; None if neither helps."""
    if isinstance(value, list):
        meant = value[0] if len(value) == 1 else None
    elif isinstance(value, Mapping):
        return None
    else:
        meant = _listed(value) if isinstance(value, str) else [value]
    return None if meant is None or [*faults(key, meant)] else meant


def _assigned(key: str, value: Any, *, typed: bool) -> str:
    if typed:
        return shlex.quote(f"{key}={flow(value)}")
    section = next((each for each in COLUMNS if key.startswith(f"{each}.")), "")
    return f"{section}: {flow({key.removeprefix(f'{section}.'): value})}" if section else f"{key}: {flow(value)}"


def _list_meant(raw: Mapping[str, Any], place: str) -> Any:
    """Return the list or range that a single value or text stands for where only these can stand; else None."""
    section = next((each for each in COLUMNS if place.startswith(f"{each}.")), "")
    if not section and place not in ("arms", *SEEDS):
        return None
    key = place.removeprefix(f"{section}.")
    columns = _at(raw, section)
    value = (columns.get(key) if isinstance(columns, Mapping) else None) if section else _at(raw, place)
    if isinstance(value, str) and (call := _CALL.fullmatch(value.strip())):
        return None if key == "arms" else _range_meant(key, call[1], _listed(call[2]))
    if value is None or isinstance(value, Mapping | list) or (key in SEEDS and not isinstance(value, str)):
        return None
    meant = _listed(value) if isinstance(value, str) else [value]
    return meant if meant and (len(meant) > 1 or _is_one(key, meant[0])) else None


def _is_one(key: str, value: Any) -> bool:
    """Tell whether a value is one of a setting, or an arm or a seed."""
    if key == "arms":
        return value in BUILT_IN_ARMS
    return type(value) is int and value >= 0 if key in SEEDS else not [*faults(key, value)]


def _sweep_hint(key: str, value: Any, *, typed: bool) -> str:
    """Return how to sweep a setting, or nothing unless several values are there."""
    if (
        key == "model.norm"
        and isinstance(value, list)
        and len(value) > 1
        and all(each in BUILT_IN_ARMS for each in value)
    ):
        return f"; to compare them: {_assigned('arms', value, typed=typed)}"
    key = SWEPT_AS.get(key, key)
    meant = _several(key, value)
    if meant is None:
        return ""
    return f"; to sweep it: {_assigned(f'grid.{key}', meant, typed=typed)}{_with_a_point(key, value)}"


def _with_a_point(key: str, value: Any) -> str:
    parts = _DECIMAL_COMMA.fullmatch(value) if isinstance(value, str) else None
    number = f"{parts[1]}.{parts[2]}" if parts else ""
    return f"; or with a decimal point: {number}" if parts and not [*faults(key, float(number))] else ""


def _unit_hint(raw: Mapping[str, Any], key: str, value: Any) -> str:
    """Say which unit is wanted where another was given: epochs or per cent for a share, a share for a count."""
    per_cent = float(found[1]) if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())) else None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if key in SIZES and (per_cent is not None or (number is not None and 0 < number < 1)):
        return "; it is a number of images"
    if key in WARM_UPS and number is not None and number >= 1:
        return f"; it is a share of the training, such as {_share_of_training(raw, number)}"
    if per_cent is None and key in SHARES and number is not None and number > 1:
        per_cent = number
    if key in (*SHARES, *WARM_UPS) and per_cent is not None and per_cent < 100:
        return f"; it is a share: {per_cent:g} % is {per_cent / 100:g}"
    return ""


def _share_of_training(raw: Mapping[str, Any], number: float) -> str:
    """Write the share that so many epochs of the training are, or so many steps where it is counted in steps."""
    steps, epochs = _at(raw, "train.steps"), _at(raw, "train.epochs")
    total, unit = (epochs or DEFAULT_EPOCHS, "epochs") if steps is None else (steps, "steps")
    if (
        not isinstance(total, int)
        or number >= total
        or any(f"train.{unit}" in (_at(raw, each) or ()) for each in COLUMNS)
    ):
        return "0.1"
    return f"{number / total:.3g} for {number:g} of {total} {unit}"


def _at(raw: Any, key: str) -> Any:
    """Return what a raw configuration has under a dotted key; None where it has nothing."""
    for part in key.split("."):
        raw = raw.get(part) if isinstance(raw, Mapping) else None
    return raw


def _settings(raw: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (place, dotted key, value) of every setting and section that is given, also in arms and in sweeps."""
    keys = [*leaf_keys(TrialSettings, sections=True)]
    yield from ((key, key, here) for key in keys if (here := _at(raw, key)) is not None)
    arms = raw.get("arms")
    for arm, overrides in arms.items() if isinstance(arms, Mapping) else ():
        for key, value in overrides.items() if isinstance(overrides, Mapping) else ():
            if key in keys:
                yield f"arms.{arm}.{key}", key, value
    for section in COLUMNS:
        columns = _at(raw, section)
        for key, column in columns.items() if isinstance(columns, Mapping) else ():
            if key in keys and isinstance(column, list):
                yield from ((f"{section}.{key}[{number}]", key, value) for number, value in enumerate(column))


def _several(key: str, value: Any) -> Any:
    """Return the list or range of a sweep that a value stands for; None where it is no sweep of possible values."""
    if isinstance(value, str) and (call := _CALL.fullmatch(value.strip())):
        return _range_meant(key, call[1], _listed(call[2]))
    if isinstance(value, Mapping) and len(value) == 1 and (kind := next(iter(value))) in RANGES and key not in LISTS:
        return _range_meant(key, kind, value[kind])
    written = _listed(value) if isinstance(value, str) else value
    return written if _possible(key, written) else None


def _range_meant(key: str, kind: str, arguments: Any) -> Any:
    """Return a range; where a number is missing, or these numbers are impossible, with names in their place."""
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
    return 1 < len(each) <= MOST_VALUES and not repeated(each) and all(_is_one(key, one) for one in each)


def _listed(text: str) -> Any:
    """Return what text with commas in between lists."""
    try:
        return parse(f"[{text}]", "")
    except InputError:
        return None


_TOO_LONG = 10**MOST_DIGITS


def odd_values(value: Any, key: str = "", level: int = 0) -> Iterator[Finding]:
    """Yield every part that a configuration can't hold: files have few of them, but a script can pass anything."""
    if level > DEEPEST:
        yield key, f"nested more than {DEEPEST} levels deep"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if oddity := _oddity(name):
                yield key, f"a key is {oddity}"
            else:
                yield from odd_values(inner, f"{key}.{name}" if key else str(name), level + 1)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from odd_values(inner, f"{key}[{i}]", level + 1)
    elif oddity := _oddity(value):
        yield key, oddity


def plain(value: Any) -> Any:
    """Return a value without odd parts in the types that a file is read into, which YAML is written from.

    Scripts also pass what is as good: tuples, other mappings, and subclasses such as NumPy's float64 or enums.
    """
    if isinstance(value, Mapping):
        return {plain(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enum may be its name
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return int(value) if isinstance(value, int) else float(value)


def _oddity(value: Any) -> str:
    """Say what is wrong with a single value; empty where nothing is."""
    if isinstance(value, str):
        return "" if value.isascii() or _encodes(value) else "text that can't be written as UTF-8"
    if isinstance(value, int):
        return "" if abs(value) < _TOO_LONG else f"a whole number of more than {MOST_DIGITS} digits"
    if value is None or isinstance(value, float):
        return ""
    return f"of type {type(value).__name__}, expected text, a number, true, false, null, a list or a mapping"


def _encodes(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False
