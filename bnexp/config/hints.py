"""What was probably meant where a value is of another kind than its setting takes, and how to write that.

Several values at a setting, which takes one, are a sweep; one value where a list belongs is a list of one; and a number
of another unit, such as per cent for a share, is told the right one.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from bnexp.config.dotted import get, is_key
from bnexp.config.experiment import BUILT_IN_ARMS
from bnexp.config.problems import COLUMNS, faults, swept_values
from bnexp.config.sweep import RANGES, arguments_of, values
from bnexp.config.trial import TrialSettings
from bnexp.config.yaml import flow, parse
from bnexp.errors import InputError

SEEDS = ("seeds", "tune.seeds")
SWEPT_AS = {"data": "data.name", "model": "model.family", "model.init": "model.init.scheme"}
"""Sections with a short form, and the setting that it sets: a sweep is over that setting."""
WARM_UPS = ("train.warmup", "train.schedule_options.warmup")
SHARES = ("model.dropout", "train.label_smoothing", *WARM_UPS)
SIZES = ("data.train_size", "data.val_size", "data.test_size")
MOST_VALUES = 100
"""Values of a list that are looked at: a longer one is probably no sweep."""

_CALL = re.compile(rf"(?:np\.|numpy\.)?({'|'.join(RANGES)})\((.*)\)")
_DECIMAL_COMMA = re.compile(r"([-+]?\d+),(\d+)")
_PERCENT = re.compile(r"(\d+(?:\.\d*)?) ?%")


def hint(raw: Mapping[str, Any], place: str, *, typed: bool) -> str:
    """Return what to write instead of the wrong value at a place of a raw configuration, or nothing.

    Args:
        raw: the configuration, in plain types.
        place: a dotted key, perhaps of an arm or a sweep.
        typed: on the command line, and not in a file.
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
    """Return the list or range that a single value or text stands for where only these can stand; else None."""
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
    """Say which unit is wanted where another was given: per cent or epochs for a share, a share for a count."""
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
    """Return the list or the range that a value stands for; None where it stands for neither."""
    if isinstance(value, str):
        call = _CALL.fullmatch(value.strip())
        return _range_meant(key, call[1], _listed(call[2])) if call else _listed(value)
    if isinstance(value, dict):
        kind = next(iter(value), "")
        return _range_meant(key, kind, value[kind]) if len(value) == 1 and kind in RANGES else None
    return value if isinstance(value, list) else [value]


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
    """Return what text with commas in between lists."""
    try:
        return parse(f"[{text}]", "")
    except InputError:
        return None
