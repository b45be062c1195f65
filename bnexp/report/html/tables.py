"""The tables of a comparison on the page: equal settings, at its best, robustness, time and cost, divergence."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import pandas as pd

from bnexp.analysis.comparison import ArmRow, BestRow, Comparison, EvaluationRow, Overall, RobustnessRow
from bnexp.analysis.study import Study, chosen_by
from bnexp.config.dotted import leaf_keys
from bnexp.config.text import counted
from bnexp.config.trial import TrialSettings
from bnexp.report.comparison_table import DIVERGED, interval_notes
from bnexp.report.html.cells import (
    MISSING,
    Cell,
    Column,
    Kind,
    PageTable,
    Row,
    estimate,
    grid_cell,
    grid_columns,
    grid_kind,
    number,
    p_cell,
    page_table,
    share,
)
from bnexp.report.style import short_keys, value_text
from bnexp.report.views import over_points, usable_text

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


def comparison_tables(comparison: Comparison, arms: Mapping[str, int]) -> tuple[PageTable, ...]:
    """Return the tables that have something to show; arms are numbered as the page's switches."""
    begun = replace(comparison, rows=comparison.begun)
    return tuple(table for table in _tables(begun, arms) if table.rows)


def _tables(comparison: Comparison, arms: Mapping[str, int]) -> Iterator[PageTable]:
    if comparison.points > 1:
        about = f"Each seed's mean over its pairs at {over_points(comparison)}, then statistics over the seeds."
        about = " ".join([about, *interval_notes(comparison.metric, comparison.overall)])
        yield page_table("overall", "Over all grid points", about, _overall(comparison), comparison.overall, arms)
    about = "All arms with the same settings, the arm's own overrides aside."
    about = " ".join([about, *interval_notes(comparison.metric, comparison.rows)])
    yield page_table("equal", "Equal settings", about, _equal(comparison), comparison.rows, arms, grouped=True)
    chosen = (chosen_by(comparison.metric) or "").replace("_", " ")
    about = f"Where the mean {chosen} was best, over the seeds that finished all points."
    about = " ".join([about, *interval_notes(comparison.metric, comparison.best)])
    yield page_table("best", "Each arm at its best", about, _best(comparison), comparison.best, arms)
    about = "Along one swept setting, over the seeds and other settings that were tried along all of it."
    about += f" Usable: not diverged, and ended {usable_text(comparison.robustness)}."
    yield page_table("robust", "Robustness", about, _robustness(comparison), comparison.robustness, arms)
    about = (
        "What the threshold took, in epochs and in seconds, and what a step costs. Arms don’t train in turns, "
        "so the machine’s other work is in the times."
    )
    yield page_table("time", "Time and cost", about, _time(comparison), comparison.rows, arms, grouped=True)
    where = [row.point for row in comparison.rows if row.diverged]
    rows = [row for row in comparison.rows if row.point in where]
    about = f"Grid points where a trial diverged: {DIVERGED}. Means count it with what it ended with."
    yield page_table("diverged", "Diverged trials", about, _diverged(comparison), rows, arms, grouped=True)
    about = "The same weights with the running averages, and with statistics recomputed over the training images."
    yield page_table(
        "evaluation", "Evaluation", about, _evaluation(comparison), comparison.evaluations, arms, grouped=True
    )


def _arm() -> Column[Any]:
    return Column("arm", lambda row: Cell(row.arm), "arm")


def _difference(comparison: Comparison) -> list[Column[Any]]:
    """Columns of a difference to the baseline; its size and its chance."""

    def difference(row: Any) -> Cell:
        return estimate(comparison.metric, row.difference, row.difference_low, row.difference_high, sign=True)

    return [
        Column(f"difference to {comparison.baseline}", difference),
        Column("p", lambda row: p_cell(row.p)),
        Column("effect d_z", lambda row: number(row.effect, "+.1f")),
    ]


def _equal(comparison: Comparison) -> list[Column[ArmRow]]:
    metric = comparison.metric
    columns: list[Column[ArmRow]] = [
        *grid_columns(comparison.grid_keys, comparison.rows),
        _arm(),
        Column("n", lambda row: Cell(str(row.n))),
        Column(metric.replace("_", " "), lambda row: estimate(metric, row.mean, row.low, row.high)),
        *_difference(comparison),
        Column("better", lambda row: share(row.better, row.pairs)),
        Column("train − test gap", lambda row: number(row.gap, "+.3f")),
    ]
    if any(row.failed for row in comparison.rows):
        columns.append(Column("failed", lambda row: Cell(str(row.failed))))
    return columns


def _overall(comparison: Comparison) -> list[Column[Overall]]:
    metric = comparison.metric
    columns: list[Column[Overall]] = [
        _arm(),
        Column("seeds", lambda row: Cell(str(row.seeds))),
        Column(metric.replace("_", " "), lambda row: estimate(metric, row.mean, None, None)),
        Column(f"{comparison.baseline}’s", lambda row: estimate(metric, row.baseline_mean, None, None)),
        *_difference(comparison),
        Column("better", lambda row: share(row.better, row.seeds if row.arm != comparison.baseline else 0)),
    ]
    if any(row.bootstrap_low is not None for row in comparison.overall):
        columns.append(Column("bootstrap interval", lambda row: _bootstrap(metric, row)))
    return columns


def _bootstrap(metric: str, row: Overall) -> Cell:
    if row.bootstrap_low is None:
        return Cell(MISSING)
    return Cell(estimate(metric, None, row.bootstrap_low, row.bootstrap_high, sign=True).detail, row.bootstrap_low)


def _best(comparison: Comparison) -> list[Column[BestRow]]:
    keys = tuple(comparison.best[0].point) if comparison.best else ()
    metric, chosen = comparison.metric, chosen_by(comparison.metric) or ""
    return [
        _arm(),
        *grid_columns(keys, comparison.best),
        Column(chosen.replace("_", " "), lambda row: estimate(chosen, row.validation, None, None)),
        Column("n", lambda row: Cell(str(row.n))),
        Column(metric.replace("_", " "), lambda row: estimate(metric, row.mean, row.low, row.high)),
        Column(
            f"difference to {comparison.baseline} at its best",
            lambda row: estimate(metric, row.difference, row.difference_low, row.difference_high, sign=True),
        ),
        Column("p", lambda row: p_cell(row.p)),
        Column("effect d_z", lambda row: number(row.effect, "+.1f")),
        Column("better", lambda row: share(row.better, row.pairs)),
        Column("chosen from", lambda row: Cell(counted(row.candidates, "point"), row.candidates)),
        Column("epochs spent", lambda row: number(row.epochs, ",d")),
        Column("at the edge of", lambda row: Cell(", ".join(short_keys(row.edges).values()) or MISSING), "text"),
    ]


def _robustness(comparison: Comparison) -> list[Column[RobustnessRow]]:
    metric = comparison.metric
    return [
        Column("along", lambda row: Cell(next(iter(short_keys([row.axis]).values()))), "text"),
        _arm(),
        Column("worst", lambda row: _at(metric, row.worst, row.worst_at)),
        Column("best", lambda row: _at(metric, row.best, row.best_at)),
        Column("spread", lambda row: estimate(metric, row.spread, None, None)),
        Column("usable values", lambda row: share(row.usable, row.values)),
        Column("usable range", _usable),
        Column("width", lambda row: _times(row.width)),
        Column(f"width / {comparison.baseline}’s", lambda row: _times(row.width_ratio)),
    ]


def _at(metric: str, value: float | None, place: float | None) -> Cell:
    cell = estimate(metric, value, None, None)
    text = "not finite" if value is None and place is not None else cell.text
    return Cell(text, cell.sort, f"at {number(place, '.4g').text}" if place is not None else "")


def _usable(row: RobustnessRow) -> Cell:
    if row.usable_low is None or row.usable_high is None:
        return Cell("none")
    return Cell(f"{row.usable_low:.4g} to {row.usable_high:.4g}", row.usable_low)


def _times(value: float | None) -> Cell:
    cell = number(value, ",.0f" if value is not None and value >= 1000 else ".3g")
    return cell if value is None else Cell(f"{cell.text}×", cell.sort)


def _time(comparison: Comparison) -> list[Column[ArmRow]]:
    threshold = f"{comparison.threshold:g}"
    return [
        *grid_columns(comparison.grid_keys, comparison.rows),
        _arm(),
        Column(f"epochs to {threshold}", lambda row: _reached(row, row.epochs_to_threshold)),
        Column("reached by", lambda row: share(row.reached, row.trials)),
        Column("first in", lambda row: share(row.first, row.pairs)),
        Column("restricted epochs", lambda row: number(row.restricted_epochs)),
        Column("seconds per epoch", lambda row: number(row.seconds_per_epoch)),
        Column("step cost", lambda row: _times(row.step_cost)),
        Column(f"seconds to {threshold}", lambda row: _reached(row, row.seconds_to_threshold)),
    ]


def _reached(row: ArmRow, value: float | None) -> Cell:
    return number(value, missing="not reached" if row.n else MISSING)


def _evaluation(comparison: Comparison) -> list[Column[EvaluationRow]]:
    def change(mean: float | None, low: float | None, high: float | None) -> Cell:
        return estimate("final_test_accuracy", mean, low, high, sign=True)

    return [
        *grid_columns(comparison.grid_keys, comparison.evaluations),
        _arm(),
        Column("n", lambda row: Cell(str(row.n))),
        Column("running averages", lambda row: number(row.running, ".3f")),
        Column("difference", lambda row: change(row.running_difference, row.running_low, row.running_high)),
        Column("p", lambda row: p_cell(row.running_p)),
        Column("population statistics", lambda row: number(row.population, ".3f")),
        Column("difference (population)", lambda row: change(row.difference, row.difference_low, row.difference_high)),
        Column("p (population)", lambda row: p_cell(row.p)),
        Column("batch statistics", lambda row: number(row.batch, ".3f")),
    ]


def _diverged(comparison: Comparison) -> list[Column[ArmRow]]:
    metric = comparison.metric
    return [
        *grid_columns(comparison.grid_keys, comparison.rows),
        _arm(),
        Column("diverged", lambda row: share(row.diverged, row.trials)),
        Column("rate", _rate),
        Column("mean of all", lambda row: estimate(metric, row.mean, None, None)),
        Column("mean of the survivors", lambda row: estimate(metric, row.survivors_mean, None, None)),
    ]


def _rate(row: ArmRow) -> Cell:
    rate = number(row.diverged / row.trials if row.trials else None, ".2f")
    if row.diverged_low is None or row.diverged_high is None:
        return rate
    return Cell(rate.text, rate.sort, f"[{row.diverged_low:.2f}, {row.diverged_high:.2f}]")
