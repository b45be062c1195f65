"""Views about seeds: how many an interval and a test take, and whether enough have been added."""

from dataclasses import replace
from functools import partial

from bnexp.analysis.comparison import Comparison, PlanRow, SequentialRow
from bnexp.config.seeds import goal_text
from bnexp.report.columns import DIFFERENCE, arm_column, column, count, estimate, interval, number, point_columns, words
from bnexp.report.table import MISSING, Cell, Column, Table


def plan_table(comparison: Comparison) -> Table:
    """Return the table of a plan; without records where none was asked for."""
    metric, rows = comparison.metric, comparison.plan
    width, difference = (rows[0].width, rows[0].true_difference) if rows else (0.0, None)
    value, range_of = (
        partial(estimate, metric),
        "range: from the 95 % interval of the spread, which few pairs leave wide.",
    )
    columns: list[Column[PlanRow]] = [
        *point_columns(comparison.grid_keys, rows),
        arm_column(comparison),
        column("pairs", ["pairs"], count),
        column(
            "spread",
            ("deviation", "deviation_low", "deviation_high"),
            value,
            legend=f"spread: standard deviation of the paired differences in {words(metric)}.",
            drop=3,
        ),
        column("now ±", ["half_width"], value, legend="now ±: half the width of the interval that these pairs give."),
        column(
            f"seeds for ±{width:g}",
            ("seeds", "seeds_low", "seeds_high"),
            _seeds,
            legend=f"seeds for ±{width:g}: how many narrow it so far; {range_of}",
        ),
        column(
            "settled",
            ["detectable"],
            value,
            legend="settled: the smallest true difference that as many pairs settle in 4 of 5 studies.",
            drop=2,
        ),
    ]
    if difference is not None:
        power = f"power: how often as many pairs settle a true difference of {difference:g} (paired t test)."
        columns += [
            column("power", ("power", "power_low", "power_high"), _power, legend=power),
            column(
                f"seeds to settle {difference:g}",
                ("seeds_to_settle", "seeds_to_settle_low", "seeds_to_settle_high"),
                _seeds,
                legend="seeds to settle it: in 4 of 5 studies.",
            ),
        ]
    notes = ("All this is about new seeds. Other test images, other data or a new tuning change a result, too.",)
    return Table(tuple(columns), rows, "Plan", notes, name="plan")


def _seeds(seeds: int | None, low: int | None, high: int | None) -> Cell:
    if seeds is None:
        return Cell(MISSING)
    return replace(count(seeds), detail=f"[{low:,}, {'…' if high is None else format(high, ',')}]")


def _power(power: float | None, low: float | None, high: float | None) -> Cell:
    return replace(number(power, ".2f"), detail="" if low is None or high is None else f"[{low:.2f}, {high:.2f}]")


def sequence_table(comparison: Comparison) -> Table:
    """Return the table of an experiment that adds seeds until it is decided; without records for all others."""
    metric, rows = comparison.metric, comparison.sequence
    until = goal_text(rows[0].until) if rows else ""
    always = (
        "valid at every look: these intervals hold the true difference at all looks together, in 95 of 100 studies."
    )
    usual = "usual: the 95 % interval for a number of seeds that was fixed beforehand; too narrow after several looks."
    signed = partial(estimate, metric, sign=True)
    columns: list[Column[SequentialRow]] = [
        arm_column(comparison),
        column("seeds", ("pairs", "most"), lambda pairs, most: f"{pairs} of {most}", kind="text"),
        column("looks", ["looks"], count, drop=2),
        column("difference, valid at every look", DIFFERENCE, signed, legend=always),
        column(
            "usual",
            ("usual_low", "usual_high"),
            partial(interval, metric, sign=True, missing=MISSING),
            legend=usual,
            drop=1,
        ),
        column(
            "decided", ["decided"], lambda decided: "yes" if decided else "no", kind="text", legend=f"decided: {until}."
        ),
    ]
    return Table(tuple(columns), rows, "Seeds until decided", name="sequence")
