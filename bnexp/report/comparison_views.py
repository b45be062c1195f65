"""The views that every comparison has: equal settings, overall, each arm at its best, robustness, time, divergence,
evaluation.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import isclose

from bnexp.analysis.compare import MEASURED
from bnexp.analysis.comparison import (
    ArmRow,
    BestRow,
    Comparison,
    EvaluationRow,
    Overall,
    RobustnessRow,
)
from bnexp.analysis.stats import wilson_interval
from bnexp.analysis.study import ABOVE_CHANCE, chosen_by, lower_is_better
from bnexp.config.text import counted, listed
from bnexp.report.columns import (
    DIFFERENCE,
    DIVERGED_NOTE,
    MEAN,
    arm_column,
    column,
    count,
    estimate,
    interval,
    interval_notes,
    number,
    p_value,
    paired_columns,
    point_columns,
    ratio,
    share,
    value_at,
    words,
)
from bnexp.report.style import point_texts, short_keys
from bnexp.report.table import MISSING, Cell, Column, Table


def equal_table(comparison: Comparison) -> Table:
    """Return the table at equal settings: a row per grid point and arm."""
    metric, rows = comparison.metric, comparison.rows
    pairs = max((row.pairs for row in rows), default=0)
    mean = ""
    if any(row.low is not None for row in rows):
        mean = f"mean [low, high]: 95 % Student t interval over the n {comparison.unit}s; diverged trials count."
    epochs = f"epochs to {comparison.threshold:g}: the epoch by which half of the trials had reached that accuracy."
    columns: list[Column[ArmRow]] = [
        *point_columns(comparison.grid_keys, rows),
        arm_column(comparison),
        column("n", ["n"], count, drop=2),
        column(words(metric), MEAN, partial(estimate, metric), legend=mean),
        *(paired_columns(comparison, pairs=pairs) if any(row.arm != comparison.baseline for row in rows) else ()),
        _epochs_column(comparison, epochs, drop=6),
        column("diverged", ("diverged", "trials"), _diverged_of, legend=DIVERGED_NOTE, drop=3),
    ]
    if any(row.failed for row in rows):
        columns.append(column("failed", ["failed"], count, drop=1))
    notes = [*interval_notes(comparison, rows), *_images_note(comparison)]
    if pairs == 1:
        notes.append("One seed shows no spread: no interval and no test. Ask for more with seeds: 6.")
    if any(row.n and row.mean is None for row in rows):
        notes.append("No mean where a trial's value isn't finite.")
    return Table(tuple(columns), rows, "Equal settings", tuple(notes), name="equal")


def _images_note(comparison: Comparison) -> Iterator[str]:
    """Say how uncertain the choice of test images makes a mean, if that is more than the seeds do."""
    widest = 0.0
    for row in comparison.rows:
        if comparison.images and row.mean is not None and row.low is not None and row.high is not None:
            low, high = wilson_interval(round(row.mean * comparison.images), comparison.images) or (0.0, 0.0)
            widest = max(widest, high - low if high - low > row.high - row.low else 0)
    if widest:
        about = "" if comparison.new_splits else f"These intervals are about new {comparison.unit}s. "
        yield (
            f"{about}With {comparison.images:,} other test images a mean "
            f"could also be up to {widest / 2:.3f} higher or lower (95 %, binomial). "
            "A paired difference usually changes less."
        )


def _epochs_column(comparison: Comparison, legend: str, drop: int = 0) -> Column[ArmRow]:
    def cell(row: ArmRow) -> Cell:
        return number(row.epochs_to_threshold, "d", missing="not reached" if row.n else MISSING)

    return Column(f"epochs to {comparison.threshold:g}", cell, ("epochs_to_threshold",), legend=legend, drop=drop)


def _diverged_of(diverged: int, trials: int) -> Cell:
    return Cell(f"{diverged}/{trials}", sort=diverged / trials if trials else None)


def overall_table(comparison: Comparison) -> Table:
    """Return the table over all grid points: a row per arm."""
    metric, rows = comparison.metric, comparison.overall if comparison.points > 1 else ()
    mean, ends = partial(estimate, metric), partial(interval, metric, sign=True, missing=MISSING)
    difference, *others = paired_columns(comparison, "seeds")
    few = f"below some 30 {comparison.unit}s it is narrower than it should be"
    bootstrap = f"bootstrap: 95 % BCa interval of the difference; {few}."
    columns: list[Column[Overall]] = [
        arm_column(comparison),
        column(f"{comparison.unit}s", ["seeds"], count, drop=2),
        column(words(metric), ["mean"], mean),
        column(f"mean of {comparison.label(comparison.baseline)}", ["baseline_mean"], mean, drop=6),
        difference,
        column("bootstrap", ("bootstrap_low", "bootstrap_high"), ends, legend=bootstrap, drop=7),
        *others,
    ]
    counts = sorted({row.points for row in rows}) or [comparison.points]
    points = counted(counts[0], "grid point") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} grid points"
    unit = comparison.unit
    over = f"Each {unit}'s mean over its pairs at {points}; statistics over the {unit}s that have all."
    notes = (over, *interval_notes(comparison, rows))
    return Table(tuple(columns), rows, "Over all grid points", notes, name="overall")


def best_table(comparison: Comparison) -> Table:
    """Return the table of each arm at its best point."""
    metric, rows = comparison.metric, comparison.best
    chosen, most = chosen_by(metric) or "", "lowest" if lower_is_better(metric) else "highest"
    edge = "edge: a chosen value is the smallest or the largest that was tried, so better ones may lie beyond."
    point_fields = (*(rows[0].point if rows else ()), "edges", "inactive")
    columns: list[Column[BestRow]] = [
        arm_column(comparison),
        Column("best point", _best_point, point_fields, "text", legend=edge if any(row.edges for row in rows) else ""),
        column(words(chosen), ["validation"], partial(estimate, chosen), drop=6),
        column("n", ["n"], count, drop=2),
        column(words(metric), MEAN, partial(estimate, metric)),
        *paired_columns(comparison),
        column("chosen from", ("candidates", "epochs"), _chosen_from, kind="text", drop=7),
    ]
    notes = (
        f"best point: the one with the {most} mean {words(chosen)}, over the seeds that finished all points; test "
        "images are not used to choose. The same seeds choose and are measured, which flatters every arm a little, and "
        "the interval leaves out the noise of the choice.",
        *interval_notes(comparison, rows),
        *_inactive_notes(comparison),
    )
    return Table(tuple(columns), rows, "Each arm at its best", notes, name="best")


def _best_point(row: BestRow) -> str:
    return ", ".join(point_texts(row.active_point)) + (" (edge)" if row.edges else "")


def _chosen_from(candidates: int, epochs: int) -> str:
    return f"{counted(candidates, 'point')}, {epochs:,} epochs"


def _inactive_notes(comparison: Comparison) -> Iterator[str]:
    without, finished = [], Counter(row.arm for row in comparison.rows if row.n)
    for row in comparison.best:
        nowhere = [key for key in row.inactive if key not in row.partly_inactive]
        for keys, where in ((nowhere, ""), (row.partly_inactive, " at some points")):
            without += [f"{listed(short_keys(keys).values())} on {comparison.label(row.arm)}{where}"] if keys else []
    if without:
        yield f"No effect: {'; '.join(without)}."
    if any(row.candidates + len(row.excluded) < finished[row.arm] for row in comparison.best):
        yield "Points at which an arm trains the same way count as one."


def robust_table(comparison: Comparison) -> Table:
    """Return the table that says how much each swept setting matters."""
    metric, rows = comparison.metric, [row for row in comparison.robustness if row.values]
    ends = "highest and lowest" if lower_is_better(metric) else "lowest and highest"
    worst = (
        f"worst, best: {ends} mean along the axis, over the seeds and other settings that were tried at all its values."
    )
    usable = (
        f"usable: 90 % of the seeds don't diverge and end {usable_text(rows)}, at the best of the other settings; "
        "range: the longest stretch. An arm on which a setting has no effect has no row there."
    )
    where, width_to = partial(value_at, metric), f"width to {comparison.label(comparison.baseline)}"
    columns: list[Column[RobustnessRow]] = [
        Column("axis", lambda row: short_keys([row.axis])[row.axis], ("axis",), "text", shared=True),
        arm_column(comparison),
        column(f"worst {words(metric)}", ("worst", "worst_at"), where, legend=worst),
        column("best", ("best", "best_at"), where),
        column("spread", ["spread"], partial(estimate, metric), drop=3),
        column("usable", ("usable", "values"), share, legend=usable, drop=1),
        column("usable range", ("usable_low", "usable_high"), _range),
        column("width", ["width"], ratio, drop=1),
        column(width_to, ["width_ratio"], ratio, drop=2),
    ]
    return Table(tuple(columns), rows, "Robustness", (DIVERGED_NOTE,), name="robust")


def usable_text(rows: Sequence[RobustnessRow]) -> str:
    """Say above which accuracy a trial counts as trained, and why."""
    if not rows or (above := rows[0].usable_above) is None or (guessing := rows[0].guessing) is None:
        return f"{ABOVE_CHANCE} above chance"
    margin = above - guessing
    more = f"{ABOVE_CHANCE}" if isclose(margin, ABOVE_CHANCE) else f"three standard errors {margin:.3f}"
    base = f"the mean before training {guessing:.3f}" if rows[0].guessing_measured else f"guessing {guessing:.3g}"
    return f"with an accuracy above {above:.3f} ({base} + {more})"


def _range(low: float | None, high: float | None) -> Cell:
    return Cell("none") if low is None else Cell(f"{low:.4g} to {high:.4g}", sort=low)


def time_table(comparison: Comparison) -> Table:
    """Return the table of time and cost."""
    to = f"to {comparison.threshold:g}"
    epochs = f"epochs, seconds {to}: medians; a trial that never got there counts as later than all others."
    first = f"first: pairs in which the arm was there before {comparison.label(comparison.baseline)}, or alone."
    mean = "restricted mean: the mean of the epochs; a trial that never got there counts with its whole budget."
    seconds = "seconds: a trial's share of the time of the trials that trained at once."
    cost = "cost of a step: arm / baseline; left out where either's steps took less than a second in all."
    gap = "gap: training - test accuracy."
    columns: list[Column[ArmRow]] = [
        *point_columns(comparison.grid_keys, comparison.rows),
        arm_column(comparison),
        _epochs_column(comparison, epochs),
        column("reached", ("reached", "trials"), share, drop=2),
        column("first", ("first", "pairs"), share, legend=first, drop=5),
        column("restricted mean", ["restricted_epochs"], number, legend=mean, drop=6),
        column(f"seconds {to}", ["seconds_to_threshold"], number, legend=seconds, drop=1),
        column("seconds per epoch", ["seconds_per_epoch"], number, legend=seconds, drop=3),
        column("cost of a step", ["step_cost"], partial(number, digits=".2f", unit="×"), legend=cost, drop=1),
        column("gap", ["gap"], partial(number, digits="+.3f"), legend=gap, drop=4),
    ]
    clock = (
        "All times are from one clock. Arms of different networks don't train in turns, so they include the "
        "machine's other work."
    )
    return Table(tuple(columns), comparison.rows, "Time and cost", (clock,), name="time")


def diverged_table(comparison: Comparison) -> Table:
    """Return the table of the grid points where trials diverged."""
    metric = comparison.metric
    every = "all trials: diverged ones count, too, with their last value."
    survivors = "survivors only: the mean without them, which hides where an arm fails."
    columns: list[Column[ArmRow]] = [
        *point_columns(comparison.grid_keys, comparison.rows),
        arm_column(comparison),
        column("diverged", ("diverged", "trials"), _diverged_of, legend=DIVERGED_NOTE),
        Column("rate", _rate, ("diverged_low", "diverged_high"), legend="rate: 95 % Wilson interval.", drop=1),
        column(f"{words(metric)}, all trials", ["mean"], partial(estimate, metric), legend=every),
        column("survivors only", ["survivors_mean"], partial(estimate, metric), legend=survivors),
    ]
    where = [row.point for row in comparison.rows if row.diverged]
    rows = [row for row in comparison.rows if row.point in where]
    return Table(tuple(columns), rows, "Diverged trials", name="diverged")


def _rate(row: ArmRow) -> Cell:
    rate = number(row.diverged / row.trials if row.trials else None, ".2f")
    if row.diverged_low is None or row.diverged_high is None:
        return rate
    return replace(rate, detail=f"[{row.diverged_low:.2f}, {row.diverged_high:.2f}]")


def evaluation_table(comparison: Comparison) -> Table:
    """Return the table of the same weights evaluated in three ways."""
    rows, accuracy = comparison.evaluations, partial(estimate, MEASURED)
    running, signed = ("running_difference", "running_low", "running_high"), partial(accuracy, sign=True)
    columns: list[Column[EvaluationRow]] = [
        *point_columns(comparison.grid_keys, rows),
        arm_column(comparison),
        column("n", ["n"], count, drop=2),
        column("running averages", ["running"], accuracy),
        column(f"difference to {comparison.label(comparison.baseline)}", running, signed),
        column("p", ["running_p"], p_value, drop=3),
        column("population", ["population"], accuracy),
        column("difference (population)", DIFFERENCE, signed),
        column("p (population)", ["p"], p_value, drop=1),
        column("batch", ["batch"], accuracy, drop=4),
    ]
    notes = (
        "The same weights, evaluated three times (probe mode_gap): with the running averages; with statistics "
        "recomputed over the training images; and with those of each batch of test images. The other tables have the "
        "first, or the second for arms with norm.statistics: population.",
    )
    title = "Evaluation: running averages and population statistics"
    return Table(tuple(columns), rows, title, notes, name="evaluation")
