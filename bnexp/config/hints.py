"""What was probably meant where a value is of another kind than its setting takes, and how to write that.

Several values at a setting, which takes one, are a sweep; one value where a list belongs is a list of one; and numbers
of another unit, such as epochs for a share, are converted.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from bnexp.config.dotted import leaf_keys
from bnexp.config.experiment import BUILT_IN_ARMS
from bnexp.config.reader import flow, parse
from bnexp.config.single import faults
from bnexp.config.sweep import RANGES, arguments_of, repeated, values
from bnexp.config.train import DEFAULT_EPOCHS
from bnexp.config.trial import TrialSettings
from bnexp.errors import InputError

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
