"""From a YAML file and `key=value` overrides to a checked configuration, or to the list of all its problems."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bnexp.config.dotted import check_key, nearest_key, put
from bnexp.config.experiment import ExperimentConfig, TrialSettings
from bnexp.config.reader import parse, read_mapping
from bnexp.errors import ConfigError, InputError, Problem, nearest

COMMAND_LINE = "command line"
_KEYED_SECTIONS = ("grid", "zip", "arms")


def load(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a configuration file; the experiment is named after the file where it has no name.

    Args:
        path: the YAML file.
        overrides: `dotted.key=value` with the value in YAML, applied in turn.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: all other problems, listed at once.
    """
    return resolve({"name": path.stem} | read_mapping(path), str(path), overrides)


def resolve(raw: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Check a raw configuration and return its resolved form; `source` names it in messages.

    Raises:
        ConfigError: lists every problem.
    """
    merged = dict(raw)
    problems: list[Problem] = []
    overridden: list[str] = []
    for override in overrides:
        try:
            overridden.append(_override(merged, override))
        except (ValueError, InputError) as error:
            problems.append(Problem(COMMAND_LINE, override, str(error)))
    config, found = _validate(merged)
    for key, message in found:
        where = COMMAND_LINE if any(key == o or key.startswith(o + ".") for o in overridden) else source
        problems.append(Problem(where, key, message))
    if problems or config is None:
        raise ConfigError(problems)
    return config


def _override(raw: dict[str, Any], override: str) -> str:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ValueError("expected dotted.key=value")
    value = parse(text, COMMAND_LINE)
    section, _, rest = key.partition(".")
    if section not in _KEYED_SECTIONS or not rest:
        check_key(ExperimentConfig, key)
        put(raw, key, value, ExperimentConfig)
        return key
    # Below these sections a dotted key is one name, not a path: grid.train.lr, arms.wide.model.width.
    below = raw.get(section) or {}
    raw[section] = below = dict.fromkeys(below) if isinstance(below, list) else dict(below)
    if section != "arms":
        below[rest] = value
    else:
        arm, _, setting = rest.partition(".")
        below[arm] = {**(below.get(arm) or {}), setting: value} if setting else value
    return key


def _validate(raw: dict[str, Any]) -> tuple[ExperimentConfig | None, list[tuple[str, str]]]:
    config, found = None, []
    try:
        config = ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        found = list(_explain(error))
    found += [problem for key, value, place in _swept_values(raw) for problem in _explain_value(key, value, place)]
    if config and not found:
        found = list(dict.fromkeys(_conflicts(config)))
    return config, found


def _swept_values(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted key, value, place in the file) of every value in lists of the sweep and in the arms."""
    for section in ("grid", "zip"):
        columns = raw.get(section)
        for key, column in columns.items() if isinstance(columns, dict) else ():
            for i, value in enumerate(column) if isinstance(column, list) else ():
                yield key, value, f"{section}.{key}[{i}]"
    arms = raw.get("arms")
    for arm, settings in arms.items() if isinstance(arms, dict) else ():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            yield key, value, f"arms.{arm}.{key}"


def _explain_value(key: Any, value: Any, place: str) -> Iterator[tuple[str, str]]:
    alone: dict[str, Any] = {}
    try:
        check_key(TrialSettings, str(key))
    except ValueError:
        return  # said already, for the key
    try:
        put(alone, key, value, TrialSettings)
        TrialSettings.model_validate(alone)
    except ValidationError as error:
        # What only fails against other settings' defaults is left to the check of whole combinations.
        yield from ((place, message) for found, message in _explain(error) if found.startswith(key))
    except ValueError as error:
        yield place, str(error)


def _conflicts(config: ExperimentConfig) -> Iterator[tuple[str, str]]:
    """Yield what makes an arm at a grid point impossible although each setting alone is fine."""
    for arm in config.arms:
        for point in config.points():
            try:
                config.settings(arm, point)
            except ValidationError as error:
                for key, message in _explain(error):
                    yield key, f"{message} (arm {arm})"


def _explain(error: ValidationError) -> Iterator[tuple[str, str]]:
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        yield key, _message(item, key)


def _message(item: Mapping[str, Any], key: str) -> str:
    kind, text = item["type"], item["msg"]
    if kind == "extra_forbidden":
        return f"unknown key{nearest_key(ExperimentConfig, key)}"
    if kind == "missing":
        return "missing"
    shown = json.dumps(item["input"], default=str, ensure_ascii=False)
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    if kind == "value_error":
        message = str(item["ctx"]["error"])
    elif kind == "string_pattern_mismatch":
        message = "expected letters, digits and _ . + - only, beginning with a letter or digit"
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "expected a mapping of keys"
    else:
        message = text.replace("Input should be", "expected").replace("a valid ", "a ")
        message = message.replace("expected greater", "expected a number greater").replace(
            "expected less", "expected a number less"
        )
    if kind == "literal_error":
        known = [name.strip("'") for name in item["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        message = f"expected one of {', '.join(known)}{nearest(item['input'], known)}"
    # A check across keys shows the keys in its own words; the whole section would only be noise.
    # A wrong key is named already.
    return message if isinstance(item["input"], Mapping) or "[key]" in item["loc"] or not key else f"{shown}: {message}"
