"""What `bnexp list` shows: a row per run or per shipped configuration."""

from collections.abc import Sequence
from pathlib import Path

from bnexp.analysis.headline import headline
from bnexp.analysis.runs import compare_run, reason
from bnexp.config.load import load
from bnexp.config.shipped import shipped
from bnexp.report.table import Table
from bnexp.store.finding import find_runs
from bnexp.store.reader import RunRecord

Row = dict[str, str]


def config_rows() -> list[Row]:
    """Return name, data set and question of every shipped configuration."""
    configs = [load(path) for path in shipped().values()]
    return [{"name": config.name, "data": config.data.name, "question": config.question} for config in configs]


def run_rows(runs: Path) -> list[Row]:
    """Return name, state, progress and headline of every run, oldest first."""
    return [_run_row(run) for run in find_runs(runs)]


def _run_row(run: RunRecord) -> Row:
    try:
        return {
            "run": run.path.name,
            "state": _state(run),
            "trials": f"{run.finished}/{len(run.trials)}",
            "headline": headline(compare_run(run)) if run.finished else "",
        }
    except Exception as error:  # whatever one folder holds, the others are listed
        return {"run": run.path.name, "state": "damaged", "trials": "", "headline": reason(error)}


def listing_table(rows: Sequence[Row], empty: str) -> Table:
    """Return rows as a table, or the line that says why there are none."""
    if not rows:
        return Table(headers=(empty,), rows=())
    return Table(headers=tuple(rows[0]), rows=tuple(tuple(row.values()) for row in rows))


def _state(run: RunRecord) -> str:
    if not run.complete:
        return "unfinished"
    return "failed trials" if (run.trials["outcome"] == "failed").any() else "complete"
