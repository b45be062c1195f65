"""Checking a whole configuration: every key and value alone, then every arm at every grid point."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.plain import odd_values
from bnexp.config.problems import Finding, explain
from bnexp.config.single import faults, typed
from bnexp.config.stages import first_stage
from bnexp.config.sweep import values
from bnexp.config.yaml_limits import LARGEST

MOST_FINDINGS = 100
"""Problems that are said at once of each kind: the first of them are enough to read."""
LONGEST_RESOLVED = LARGEST // 8
"""Characters of the resolved form as JSON. YAML takes up to five times as many, and it has to be read again."""


def check(raw: Mapping[str, Any]) -> tuple[ExperimentConfig | None, list[Finding]]:
    """Return the configuration, or None, and all that is wrong with it."""
    if odd := _first(odd_values(raw)):
        return None, odd
    config, found = None, []
    try:
        config = ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        found = _first(explain(error))
    found += _first((place, fault) for key, value, place in _swept_values(raw) for fault in faults(key, value))
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


def _swept_values(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted key, value, place in the file) of every value in lists of the sweep and in the arms."""
    tune = raw.get("tune")
    tried = tune.get("grid") if isinstance(tune, Mapping) else None
    for section, columns in (("grid", raw.get("grid")), ("zip", raw.get("zip")), ("tune.grid", tried)):
        for key, column in columns.items() if isinstance(columns, Mapping) else ():
            with suppress(ValueError):  # said already, for the column
                listed = isinstance(column, list | tuple)
                for i, value in enumerate(values(column)):
                    yield key, value, f"{section}.{key}[{i}]" if listed else f"{section}.{key}"
    arms = raw.get("arms")
    for arm, settings in arms.items() if isinstance(arms, Mapping) else ():
        for key, value in settings.items() if isinstance(settings, Mapping) else ():
            yield key, value, f"arms.{arm}.{key}"


def _same_values(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield values of a sweep that are written in two ways and mean one setting: 0.1 and "0.1", or batch and before."""
    columns = {f"grid.{key}": {key: column} for key, column in config.grid.items()}
    columns |= {f"tune.grid.{key}": {key: column} for key, column in config.tune.grid.items()}
    for place, column in ({"zip": config.zip} | columns).items():
        rows = list(zip(*column.values(), strict=True))
        if all(isinstance(value, int | float) for row in rows for value in row):
            continue  # equal numbers are found where the column is read
        meant = [repr([typed(key, value) for key, value in zip(column, row, strict=True)]) for row in rows]
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
