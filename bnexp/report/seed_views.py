"""Views about effort: how many seeds an interval needs, whether enough were added, how many tries a tuning needs."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from bnexp.analysis.choices import CHOSEN_BY
from bnexp.analysis.comparison import Comparison, PlanRow, SequentialRow
from bnexp.analysis.tuning_curve import TuningRow
from bnexp.config.seeds import goal_text
from bnexp.report.columns import DIFFERENCE, arm_column, column, count, estimate, interval, number, point_columns, words
from bnexp.report.style import point_texts
from bnexp.report.table import MISSING, Cell, Column, Table


def plan_table(comparison: Comparison) -> Table:
    """Return the table of a plan; without records if none was asked for."""
    metric, rows, unit = comparison.metric, comparison.plan, comparison.unit
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
            f"{unit}s for ±{width:g}",
            ("seeds", "seeds_low", "seeds_high"),
            _seeds,
            legend=f"{unit}s for ±{width:g}: how many narrow it to that; {range_of}",
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
                f"{unit}s to settle {difference:g}",
                ("seeds_to_settle", "seeds_to_settle_low", "seeds_to_settle_high"),
                _seeds,
                legend=f"{unit}s to settle it: in 4 of 5 studies.",
            ),
        ]
    others = "test images or other data" if comparison.tunings else "test images, other data or a new tuning"
    notes = (f"All this is about new {unit}s. Other {others} change a result, too.",)
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


def tuning_table(comparison: Comparison) -> Table:
    """Return the table of the tuning curves; without records if they weren't asked for."""
    rows, accuracy = comparison.tuning, partial(estimate, CHOSEN_BY)
    runs = dict.fromkeys(row.run for row in rows)
    best = (
        "validation accuracy: of the best setting, as the mean over all searches with so many tries; [low, high]: "
        "what 95 % of them find."
    )
    tested = "test accuracy: of that same setting; test images choose nothing."
    columns: list[Column[TuningRow]] = [
        *([Column("run", lambda row: row.run, ("run",), "text", shared=True)] if len(runs) > 1 else []),
        *point_columns(list(rows[0].point) if rows else (), rows),
        column("tries", ("tries", "settings"), lambda tries, settings: Cell(str(tries), f"of {settings}", tries)),
        arm_column(comparison),
        column("validation accuracy", ("validation", "validation_low", "validation_high"), accuracy, legend=best),
        column("test accuracy", ("test", "test_low", "test_high"), accuracy, legend=tested, drop=1),
    ]
    notes = [
        *tuning_leads(comparison),
        "All searches: all ways to choose so many of the settings. [low, high] is the luck of that choice. It leaves "
        "out the luck of the tuning seeds, and settings that were not there to try.",
    ]
    if all(row.test is None for row in rows):
        notes.append("There is no test accuracy, because the tuning had no test images.")
    return Table(tuple(columns), rows, "Accuracy by number of tries", tuple(notes), name="tuning")


def tuning_leads(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each arm that needs fewer tries than the baseline, or the other way round."""
    several = len({row.run for row in comparison.tuning}) > 1
    for lead in comparison.tuning_leads:
        arm, other = comparison.label(lead.arm), comparison.label(lead.other)
        where = ", ".join([*([lead.run] if several else []), *point_texts(lead.point)])
        tries = f"{lead.tries} {'try' if lead.tries == 1 else 'tries'}"
        yield (
            f"{where + ': on' if where else 'On'} average {arm} needs {tries} for what {other} needs "
            f"{lead.other_tries} for: a validation accuracy of {lead.validation:.3f}."
        )
