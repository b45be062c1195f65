"""The tables of the page: those of the comparison, every trial, and the settings and machines behind them."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pandas as pd

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.pairing import IDENTITY, INACTIVE
from bnexp.analysis.study import Study
from bnexp.config.keys import leaf_keys
from bnexp.config.text import counted
from bnexp.config.trial import TrialSettings
from bnexp.report.columns import estimate, grid_value, number, value_kind, words
from bnexp.report.style import short_keys, value_text
from bnexp.report.table import MISSING, Cell, Column, Kind, Table, in_print, plain_table
from bnexp.report.views import view_table


@dataclass(frozen=True)
class Row:
    """A row of a page; `arm` is the number of the arm whose switch shows and hides it."""

    cells: tuple[Cell, ...]
    arm: int | None = None
    id: str = ""
    first: bool = False
    """Whether the values that several rows share are other ones than in the row before."""


@dataclass(frozen=True)
class PageTable:
    """A table as the templates read it."""

    id: str
    caption: str
    about: str
    """Behind the caption."""
    headers: tuple[tuple[str, Kind], ...]
    rows: tuple[Row, ...]


def page_table(table: Table, arms: Mapping[str, int] | None = None, about: str = "") -> PageTable:
    """Return a table for a page, with minus signs and dashes as print has them.

    Args:
        table: its records may have an `arm`, and an `id` for links.
        arms: the numbers of the arms; without them the rows have no switch.
        about: a sentence behind the caption.
    """
    kinds = [column.kind for column in table.columns]
    shared = [place for place, column in enumerate(table.columns) if column.shared]
    rows: list[Row] = []
    for record, cells in zip(table.records, table.cells, strict=True):
        row = tuple(_in_print(cell, kind) for cell, kind in zip(cells, kinds, strict=True))
        first = bool(rows) and any(row[place] != rows[-1].cells[place] for place in shared)
        rows.append(Row(row, (arms or {}).get(_of(record, "arm")), _of(record, "id"), first))
    return PageTable(table.name, table.title, about, tuple(zip(table.headers, kinds, strict=True)), tuple(rows))


def _of(record: Any, name: str) -> str:
    return str(record.get(name, "") if isinstance(record, Mapping) else getattr(record, name, ""))


def _in_print(cell: Cell, kind: Kind) -> Cell:
    if kind != "number" and cell.text != MISSING:
        return cell
    return replace(cell, text=in_print(cell.text), detail=in_print(cell.detail))


def comparison_tables(comparison: Comparison, arms: Mapping[str, int]) -> tuple[PageTable, ...]:
    """Return the tables that have something to show; arms are numbered as the page's switches."""
    found = (view_table(comparison, view).known() for view in ORDER)
    return tuple(page_table(table, arms, " ".join(table.notes)) for table in found if table.records)


ORDER = ("overall", "equal", "best", "robust", "time", "diverged", "evaluation")
"""The order of the views on the page: the answer over all grid points comes first."""


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
    records = [
        {str(name): _known(value) for name, value in row.items()} | {"id": f"trial-{row['trial']}"}
        for row in study.trials.drop(columns=[INACTIVE, IDENTITY], errors="ignore").to_dict("records")
    ]
    columns: list[Column[dict[str, Any]]] = [
        *([Column("run", lambda row: str(row["run"]), kind="text")] if len(study.runs) > 1 else []),
        Column("trial", lambda row: str(row.get("number", row["trial"]))),
        Column("arm", lambda row: str(row["arm"]), kind="arm"),
        Column("seed", lambda row: str(row["seed"])),
        *(_value_column(key, name, records) for key, name in short_keys(study.grid_keys).items()),
        Column("outcome", outcome_text, kind="text"),
        *(_measured_column(name) for name in _NUMBERS),
        Column("seconds", lambda row: number(row.get("seconds"))),
    ]
    table = Table(tuple(columns), records, counted(len(records), "trial"), name="trials")
    return page_table(table.known(), arms, "Points of the charts lead to these rows.")


def _value_column(key: str, header: str, records: Sequence[dict[str, Any]]) -> Column[dict[str, Any]]:
    return Column(header, lambda row: grid_value(row[key]), kind=value_kind(row[key] for row in records))


def _measured_column(name: str) -> Column[dict[str, Any]]:
    return Column(words(name), lambda row: estimate(name, row.get(name)))


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
    rows = [(key, *(values[arm][key] for arm in arms)) for key in keys]
    table = replace(plain_table(("setting", *arms), rows, "Where the arms differ"), name="arm-settings")
    return page_table(table, about="All other settings are equal. Shown at the first grid point.")


def baseline_table(settings: Mapping[str, TrialSettings], baseline: str) -> PageTable:
    """Return every setting of the baseline."""
    found = _leaves(settings[baseline]) if baseline in settings else {}
    table = plain_table(("setting", "value"), list(found.items()), f"Every setting of {baseline}")
    return page_table(replace(table, name="settings-of-baseline"), about="At the first grid point.")


def _leaves(settings: TrialSettings) -> dict[str, str]:
    values = {key: reduce(getattr, key.split("."), settings) for key in leaf_keys(TrialSettings)}
    return {key: "null" if value is None else _written(value) for key, value in values.items()}


def environment_table(environments: Mapping[str, Mapping[str, object]]) -> PageTable:
    """Return what every run ran on: versions, device, times and command, a column per run."""
    names = dict.fromkeys(name for found in environments.values() for name in found if name != "format")
    rows = [(name, *(_recorded(name, found.get(name)) for found in environments.values())) for name in names]
    return page_table(replace(plain_table(("", *environments), rows, "What it ran on"), name="environments"))


def _recorded(name: str, value: object) -> str:
    """Write what a run recorded: the command as a shell takes it, other lists of texts with semicolons."""
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return shlex.join(value) if name == "command" else "; ".join(value)
    return _written(value)


def _written(value: object) -> str:
    """Write a setting: compounds as JSON."""
    if value is None:
        return MISSING
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value_text(value)
