"""The views of a comparison: equal settings, overall, each arm at its best, robustness, time, tries of a tuning, …

Each is defined once, as columns over the comparison's records, and written for every format.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, NoReturn

import pandas as pd

from bnexp.analysis.comparison import (
    AcrossRow,
    ArmRow,
    BestRow,
    Comparison,
    EvaluationRow,
    Overall,
    PlanRow,
    RobustnessRow,
    Rung,
    SequentialRow,
)
from bnexp.analysis.tuning_curve import TuningRow
from bnexp.config.text import counted
from bnexp.errors import InputError, nearest
from bnexp.report.columns import (
    field_of,
)
from bnexp.report.comparison_views import (
    best_table,
    diverged_table,
    equal_table,
    evaluation_table,
    overall_table,
    robust_table,
    time_table,
)
from bnexp.report.difference_views import across_table, ladder_table
from bnexp.report.seed_views import plan_table, sequence_table, tuning_table
from bnexp.report.table import Table, plain_table


def tables(comparison: Comparison, view: str = "main", title: str = "", columns: Sequence[str] = ()) -> list[Table]:
    """Return the tables of a view that have rows; `main` is all but time, `all` is all.

    The first has the title, followed by its own title unless it is the one of equal settings.

    Args:
        comparison: what to show.
        view: which tables.
        title: of the first table.
        columns: headers or fields; only their columns are shown, in this order. By default all that have a value.

    Raises:
        InputError: a column that no table has.
    """
    if not comparison.finished:
        return [_nothing(comparison, title)]
    wanted = [name for name in VIEWS if view in (name, "all") or (view == "main" and name != "time")]
    found = [table for name in wanted if (table := view_table(comparison, name)).records]
    found = _chosen(found, columns) if columns else [table.known() for table in found]
    if not found:
        return [plain_table((f"nothing to show as {view}",), (), title)]
    first = "" if found[0].name == "equal" else found[0].title
    found[0] = replace(found[0], title=f"{title}: {first[0].lower()}{first[1:]}" if title and first else title or first)
    return found


def view_table(comparison: Comparison, view: str) -> Table:
    """Return the table of one view with all its columns; without records if there is nothing to show."""
    return VIEWS[view](replace(comparison, rows=comparison.begun))


def frame(comparison: Comparison, view: str = "equal") -> pd.DataFrame:
    """Return a view as numbers; see numbers. NaN is what can't be known or doesn't apply."""
    names, rows = numbers(comparison, view)
    found = pd.DataFrame(rows, columns=names)
    return found.where(found.notna()).infer_objects()  # a column without any known value also counts as numbers


def numbers(comparison: Comparison, view: str) -> tuple[list[str], list[list[Any]]]:
    """Return the names and the rows of a view as numbers: settings under their dotted keys, then fields of records.

    `time` and `diverged` have the fields that their tables show, the other views all; `main` and `all` are those of
    equal settings. None is what can't be known or doesn't apply.
    """
    table = view_table(comparison, view if view in VIEWS else "equal")
    if view in ("time", "diverged"):
        names = list(dict.fromkeys(field for column in table.columns for field in column.fields))
    else:
        names = [field.name for field in fields(RECORDS.get(view, ArmRow))]
    if "point" in names:
        keys = table.records[0].point if table.records else comparison.grid_keys
        names = [*keys, *(name for name in names if name != "point")]
    return names, [[field_of(record, name) for name in names] for record in table.records]


RECORDS: dict[str, type] = {
    "overall": Overall,
    "best": BestRow,
    "robust": RobustnessRow,
    "evaluation": EvaluationRow,
    "plan": PlanRow,
    "across": AcrossRow,
    "sequence": SequentialRow,
    "ladder": Rung,
    "tuning": TuningRow,
}
"""Classes of the records behind a view; all other views have those of equal settings."""


def chosen_fields(comparison: Comparison, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the fields that names or headers of tables mean, in that order; all fields if there are no names.

    Raises:
        InputError: a name that means nothing anywhere.
    """
    columns = [column for view in VIEWS for column in view_table(comparison, view).columns]
    found = []
    for name in wanted:
        fields = {field for column in columns if column.answers(name) for field in column.fields} | {name}
        if fields == {name} and name not in known:
            _refuse(name, [*known, *(column.header for column in columns)])
        found += [field for field in known if field in fields and field not in found]
    return found if wanted else list(known)


def _chosen(found: Sequence[Table], wanted: Sequence[str]) -> list[Table]:
    for name in wanted:
        if not any(column.answers(name) for table in found for column in table.columns):
            _refuse(name, [column.header for table in found for column in table.columns])
    chosen = [
        table.only([column for name in wanted for column in table.columns if column.answers(name)]) for table in found
    ]
    return [table for table in chosen if table.columns]


def _refuse(name: str, known: Sequence[str]) -> NoReturn:
    known = list(dict.fromkeys(known))
    raise InputError(f"--columns {name}: no such column{nearest(name, known)}; there are {', '.join(known)}")


def _nothing(comparison: Comparison, title: str) -> Table:
    ended = f"None of {counted(comparison.planned, 'trial')} has ended, so there is nothing to compare yet."
    note = "The curves so far: bnexp compare --plot, or the pictures and the page of bnexp report."
    return plain_table((ended,), (), title, (note,))


def remarks(comparison: Comparison) -> tuple[str, ...]:
    """Return the sentences beside the tables: what differs between runs, what is left out, what could mislead."""
    remarked = {"Differs": comparison.differs, "Left out": comparison.left_out, "Careful": comparison.warnings}
    return tuple(f"{word}: {line}." for word, lines in remarked.items() for line in lines)


VIEWS: dict[str, Callable[[Comparison], Table]] = {
    "equal": equal_table,
    "sequence": sequence_table,
    "ladder": ladder_table,
    "overall": overall_table,
    "best": best_table,
    "robust": robust_table,
    "diverged": diverged_table,
    "evaluation": evaluation_table,
    "time": time_table,
    "tuning": tuning_table,
    "plan": plan_table,
    "across": across_table,
}
"""Tables by the name in --view, in the order in which they are shown."""
