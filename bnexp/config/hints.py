"""Several values typed at a setting, which takes one: how to sweep it instead."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from bnexp.config.dotted import leaf_keys
from bnexp.config.experiment import BUILT_IN_ARMS
from bnexp.config.reader import flow, parse
from bnexp.config.single import faults
from bnexp.config.sweep import RANGES, repeated, values
from bnexp.config.trial import TrialSettings
from bnexp.errors import InputError

SWEPT_AS = {"data": "data.name", "model": "model.family", "model.init": "model.init.scheme"}
"""Sections with a short form, and the setting that it sets: a sweep is over that setting."""
MOST_VALUES = 100
"""Values of a list that are looked at: a longer one is probably no sweep."""

_CALL = re.compile(rf"(?:np\.|numpy\.)?({'|'.join(RANGES)})\((.*)\)")
_DECIMAL_COMMA = re.compile(r"([-+]?\d+),(\d+)")


def sweep_hint(raw: Mapping[str, Any], place: str, *, typed: bool) -> str:
    """Return how to sweep the setting at a place of a raw configuration, or nothing unless several values are there.

    Args:
        raw: the configuration.
        place: a dotted key, perhaps of an arm.
        typed: on the command line, and not in a file.
    """
    key, value = next((each[1:] for each in _settings(raw) if each[0] == place), ("", None))
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
    sweep = _assigned(f"grid.{key}", meant, typed=True) if typed else _assigned("grid", {key: meant}, typed=False)
    return f"; to sweep it: {sweep}{_with_a_point(key, value)}"


def _assigned(key: str, value: Any, *, typed: bool) -> str:
    return shlex.quote(f"{key}={flow(value)}") if typed else f"{key}: {flow(value)}"


def _with_a_point(key: str, value: Any) -> str:
    parts = _DECIMAL_COMMA.fullmatch(value) if isinstance(value, str) else None
    number = f"{parts[1]}.{parts[2]}" if parts else ""
    return f"; or with a decimal point: {number}" if parts and not [*faults(key, float(number))] else ""


def _settings(raw: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (place, dotted key, value) of every setting and section that is given, and of those of arms."""
    keys = [*leaf_keys(TrialSettings, sections=True)]
    for key in keys:
        here: Any = raw
        for part in key.split("."):
            here = here.get(part) if isinstance(here, Mapping) else None
        if here is not None:
            yield key, key, here
    arms = raw.get("arms")
    for arm, overrides in arms.items() if isinstance(arms, Mapping) else ():
        for key, value in overrides.items() if isinstance(overrides, Mapping) else ():
            if key in keys:
                yield f"arms.{arm}.{key}", key, value


def _several(key: str, value: Any) -> Any:
    """Return the list or range of a sweep that a value stands for; None where it is no sweep of possible values."""
    call = _CALL.fullmatch(value.strip()) if isinstance(value, str) else None
    if call:
        written = {call[1]: _listed(call[2])}
        form = {call[1]: ["first", "last", "step" if call[1] == "range" else "n"]}
        return written if _possible(key, written) else form
    written = _listed(value) if isinstance(value, str) else value
    return written if _possible(key, written) else None


def _possible(key: str, written: Any) -> bool:
    """Tell whether something lists several different values of a setting."""
    try:
        each = values(written)
    except ValueError:
        return False
    return 1 < len(each) <= MOST_VALUES and not repeated(each) and not any([*faults(key, one)] for one in each)


def _listed(text: str) -> Any:
    """Return what text with commas in between lists."""
    try:
        return parse(f"[{text}]", "")
    except InputError:
        return None
