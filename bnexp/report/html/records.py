"""What the page lists as it is: every trial, the settings of the arms, and what the runs ran on."""

import json
import shlex
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import pandas as pd

from bnexp.analysis.study import Study
from bnexp.config.dotted import leaf_keys
from bnexp.config.trial import TrialSettings
from bnexp.report.html.cells import MISSING, Cell, Kind, PageTable, Row, estimate, grid_cell, grid_kind, number
from bnexp.report.labels import short_keys, value_text
from bnexp.words import counted

_NUMBERS = (
    "final_train_loss",
    "final_train_accuracy",
    "final_val_accuracy",
    "final_test_accuracy",
    "best_val_accuracy",
    "test_accuracy_at_best_val",
    "highest_batch_loss",
)


def trials_table(study: Study, arms: Mapping[str, int]) -> PageTable:
    """Return a row per trial, under the id that the points of the charts lead to."""
    measured = [name for name in _NUMBERS if name in study.trials and study.trials[name].notna().any()]
    several = len(study.runs) > 1
    keys = short_keys(study.grid_keys)
    text: Kind = "text"
    headers: list[tuple[str, Kind]] = [("trial", "number"), ("arm", "arm"), ("seed", "number")]
    headers[:0] = [("run", text)] if several else []
    headers += [(name, grid_kind(map(_known, study.trials[key]))) for key, name in keys.items()] + [("outcome", text)]
    headers += [(name.replace("_", " "), "number") for name in measured] + [("seconds", "number")]
    records = study.trials.to_dict("records")
    rows = tuple(_trial_row(record, study.grid_keys, measured, several, arms) for record in records)
    about = "Points of the charts lead to these rows."
    return PageTable("trials", counted(len(rows), "trial"), about, tuple(headers), rows)


def _trial_row(
    record: Mapping[Any, Any], keys: Sequence[str], measured: Sequence[str], several: bool, arms: Mapping[str, int]
) -> Row:
    cells = [
        *([Cell(str(record["run"]))] if several else []),
        Cell(str(record.get("number", record["trial"]))),
        Cell(str(record["arm"])),
        Cell(str(record["seed"])),
        *(grid_cell(_known(record[key])) for key in keys),
        Cell(outcome_text(record)),
        *(estimate(name, _known(record[name]), None, None) for name in measured),
        number(_known(record.get("seconds"))),
    ]
    return Row(tuple(cells), arms.get(record["arm"]), id=f"trial-{record['trial']}")


def outcome_text(record: Mapping[Any, Any]) -> str:
    """Write how a trial ended, or that it hasn't."""
    outcome, step, reason = (_known(record.get(name)) for name in ("outcome", "diverged_step", "reason"))
    if outcome is None:
        return "not finished"
    if outcome == "diverged" and step is not None:
        return f"diverged at step {int(step)}"
    return f"{outcome}: {reason}" if reason else str(outcome)


def _known(value: Any) -> Any:
    return None if pd.isna(value) else value


def settings_table(settings: Mapping[str, TrialSettings], baseline: str) -> PageTable:
    """Return the settings in which an arm differs from the baseline, a column per arm."""
    arms = sorted(settings, key=lambda arm: arm != baseline)  # the baseline first, the others as they stand
    values = {arm: _leaves(settings[arm]) for arm in arms}
    base = values.get(baseline, {})
    keys = [key for key in base if any(values[arm][key] != base[key] for arm in arms)]
    rows = tuple(Row((Cell(key), *(Cell(values[arm][key]) for arm in arms))) for key in keys)
    headers: list[tuple[str, Kind]] = [("setting", "text"), *((arm, "text") for arm in arms)]
    about = "All other settings are equal. Shown at the first grid point."
    return PageTable("arm-settings", "Where the arms differ", about, tuple(headers), rows)


def baseline_table(settings: Mapping[str, TrialSettings], baseline: str) -> PageTable:
    """Return every setting of the baseline."""
    found = _leaves(settings[baseline]) if baseline in settings else {}
    rows = tuple(Row((Cell(key), Cell(value))) for key, value in found.items())
    headers: tuple[tuple[str, Kind], ...] = (("setting", "text"), ("value", "text"))
    return PageTable("settings-of-baseline", f"Every setting of {baseline}", "At the first grid point.", headers, rows)


def _leaves(settings: TrialSettings) -> dict[str, str]:
    values = {key: reduce(getattr, key.split("."), settings) for key in leaf_keys(TrialSettings)}
    return {key: "null" if value is None else _written(value) for key, value in values.items()}


def environment_table(environments: Mapping[str, Mapping[str, object]]) -> PageTable:
    """Return what every run ran on: versions, device, times and command, a column per run."""
    names = list(dict.fromkeys(name for found in environments.values() for name in found if name != "format"))
    rows = tuple(
        Row((Cell(name), *(Cell(_written(found.get(name))) for found in environments.values()))) for name in names
    )
    headers: list[tuple[str, Kind]] = [("", "text"), *((run, "text") for run in environments)]
    return PageTable("environments", "What it ran on", "", tuple(headers), rows)


def _written(value: object) -> str:
    """Write a setting: a command as a shell takes it, other compounds as JSON."""
    if value is None:
        return MISSING
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return shlex.join(value)
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value_text(value)
