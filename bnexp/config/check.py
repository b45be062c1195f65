"""Checking a whole configuration: every key and value alone, then every arm at every grid point."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from bnexp.config.dotted import check_key, put
from bnexp.config.experiment import ExperimentConfig, TrialSettings
from bnexp.config.problems import Finding, explain
from bnexp.config.sweep import values


def check(raw: Mapping[str, Any]) -> tuple[ExperimentConfig | None, list[Finding]]:
    """Return the configuration, or None, and all that is wrong with it."""
    config, found = None, []
    try:
        config = ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        found = list(explain(error))
    found += [problem for key, value, place in _swept_values(raw) for problem in _explain_value(key, value, place)]
    if config and not found:
        found = list(dict.fromkeys(_conflicts(config)))
    return config, found


def _swept_values(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted key, value, place in the file) of every value in lists of the sweep and in the arms."""
    for section in ("grid", "zip"):
        columns = raw.get(section)
        for key, column in columns.items() if isinstance(columns, dict) else ():
            if isinstance(column, list):
                yield from ((key, value, f"{section}.{key}[{i}]") for i, value in enumerate(column))
            elif isinstance(column, Mapping):
                with suppress(ValueError):  # said already, for the range
                    yield from ((key, value, f"{section}.{key}") for value in values(column))
    arms = raw.get("arms")
    for arm, settings in arms.items() if isinstance(arms, dict) else ():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            yield key, value, f"arms.{arm}.{key}"


def _explain_value(key: Any, value: Any, place: str) -> Iterator[Finding]:
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
        yield from ((place, message) for found, message in explain(error) if found.startswith(key))
    except ValueError as error:
        yield place, str(error)


def _conflicts(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield what makes an arm at a grid point impossible although each setting alone is fine."""
    for arm in config.arms:
        for point in config.points():
            try:
                config.settings(arm, point)
            except ValidationError as error:
                for key, message in explain(error):
                    yield key, f"{message} (arm {arm})"
