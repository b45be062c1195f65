"""`dotted.key=value` from the command line, put into a raw configuration before it is checked."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bnexp.config.dotted import check_key, put
from bnexp.config.experiment import ExperimentConfig, default_arms
from bnexp.config.model import ModelSettings
from bnexp.config.norm import NormSettings
from bnexp.config.reader import parse
from bnexp.config.sweep import once

KEYED_SECTIONS = ("grid", "zip", "arms", "tune.grid")
"""Below these a dotted key is one name, not a path: grid.train.lr, arms.wide.model.width."""


def override(raw: dict[str, Any], written: str) -> None:
    """Put one override into a raw configuration.

    Raises:
        ValueError: it has no `=`, no such key, or something that is no section stands in its way.
        InputError: the value is not YAML.
    """
    key, equals, text = written.partition("=")
    if not equals or not key:
        raise ValueError("expected dotted.key=value")
    override_with(raw, key, parse(text, "value"))


def override_with(raw: dict[str, Any], key: str, value: Any) -> None:
    """Put a value under a dotted key of a raw configuration.

    Raises:
        ValueError: no such key, or something that is no section stands in its way.
    """
    section = next((name for name in KEYED_SECTIONS if key.startswith(f"{name}.") and key != f"{name}."), "")
    rest = key.removeprefix(f"{section}.")
    if not section:
        check_key(ExperimentConfig, key)
        put(raw, key, value, ExperimentConfig)
    elif section == "arms":
        arm, _, setting = rest.partition(".")
        arms = _mapping(_written_arms(raw), section)
        raw["arms"] = {**arms, arm: {**_mapping(arms.get(arm), f"arms.{arm}"), setting: value} if setting else value}
    elif section == "tune.grid":
        tune = _mapping(raw.get("tune"), "tune")
        raw["tune"] = {**tune, "grid": {**_mapping(tune.get("grid"), section), rest: value}}
    else:
        raw[section] = {**_mapping(raw.get(section), section), rest: value}


def _mapping(written: Any, place: str) -> Mapping[str, Any]:
    if written is None:
        return {}
    if not isinstance(written, Mapping):
        raise ValueError(f"{place} is expected to be a mapping there")
    return written


def _written_arms(raw: Mapping[str, Any]) -> Any:
    """Return the arms with their names as keys, those left out included where a built-in one may be meant."""
    arms = raw.get("arms")
    if isinstance(arms, list | tuple) and all(isinstance(arm, str) for arm in arms):
        return dict.fromkeys(once(arms))
    return dict.fromkeys(default_arms(_norm(raw))) if arms is None else arms


def _norm(raw: Mapping[str, Any]) -> NormSettings:
    try:
        return ModelSettings.model_validate(raw.get("model") or {}).norm
    except ValidationError:
        return NormSettings()  # what is wrong will be said
