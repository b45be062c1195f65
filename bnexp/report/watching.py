"""A running experiment on one screen of a terminal: state, trials, curves so far, and the newest lines of its log."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from math import isfinite
from pathlib import Path

import numpy as np

from bnexp.analysis.runs import study_of
from bnexp.analysis.stats import last_records
from bnexp.analysis.study import Study, choose_metric, units
from bnexp.config.text import counted, duration, escaped
from bnexp.report.panels import make_panels, shown_column
from bnexp.report.progress import GroupProgress, Progress, progress_of
from bnexp.report.terminal_plot import ROWS, most_side_by_side, plot_curves
from bnexp.store.following import Pulse, newest_lines
from bnexp.store.reader import RunRecord

TALL = 40
"""Lines of a terminal from which on there are two rows of plots."""
GROUPS = 2
"""Groups in training that have a line of their own."""
LOG_LINES = 3
"""Lines of the log at most."""
NAMED = 5
"""Diverged trials that are named."""
BAR = 20
"""Columns of the bar; a quarter of a narrower terminal."""


@dataclass(frozen=True)
class View:
    """A run at one moment, as its screen shows it."""

    name: str
    study: Study
    progress: Progress
    column: str
    """The accuracy that is drawn."""
    latest: dict[str, np.ndarray]
    """For every arm that has one, the newest of its trials' accuracies, as a mean for each seed."""
    warnings: tuple[str, ...]


def look(path: Path) -> View:
    """Read a run.

    Raises:
        InputError: something can't be read.
    """
    run = RunRecord(path)
    study = study_of([run])
    column = shown_column(study, choose_metric(study.trials))
    newest = last_records(study.curves[["trial", "step", column]].dropna())
    trials = study.trials[["trial", "arm"]].assign(unit=units(study, study.trials["seed"]))
    means = newest.merge(trials, on="trial").groupby(["arm", "unit"])[column].mean()
    latest = {str(arm): of_arm.to_numpy() for arm, of_arm in means.groupby("arm")}
    warnings = tuple(line.removeprefix(f"{path}/") for line in run.warnings)
    return View(path.name, study, progress_of(run, study), column, latest, warnings)


def state_line(now: Pulse, left: float | None) -> str:
    """Say in a few words whether the run trains.

    Args:
        now: what its folder shows.
        left: seconds until it has ended, if that is known.
    """
    written = f"written {duration(now.silent)} ago"
    about = "" if left is None else f", about {duration(left)} left"
    if now.state == "ended":
        return "ended"
    if now.state == "training":
        return f"training{about}"
    if now.may_have_stopped:
        return f"{written} on {now.host}: it may have been stopped"
    if now.state == "elsewhere":
        return f"training on {now.host}, {written}{about}"
    return f"stopped, {written}; the same bnexp run continues it"


def plain_line(view: View, now: Pulse, left: float | None) -> str:
    """Return all that matters in one line, for a log."""
    slowest = view.progress.slowest if now.state != "ended" else None
    reached = f"epoch {slowest.epoch}, step {slowest.step} of {slowest.steps}" if slowest else ""
    parts = [view.name, state_line(now, left), _counts(view.progress, now), reached, _measured(view)]
    return escaped("  ".join(filter(None, parts)))


def _measured(view: View) -> str:
    latest = {view.study.label(arm): view.latest[arm].mean() for arm in view.study.arms if arm in view.latest}
    means = ", ".join(f"{arm} {mean:.3f}" for arm, mean in latest.items())
    return f"{view.column.replace('_', ' ')}: {means}" if means else ""


def screen(view: View, now: Pulse, path: Path, left: float | None, size: tuple[int, int], *, colour: bool) -> list[str]:
    """Return the lines of one screen.

    Args:
        view: the run as it was read.
        now: whether it trains.
        path: its folder, for its log.
        left: seconds until it has ended, if that is known.
        size: columns and lines of the terminal.
        colour: mark arms by colour, too.
    """
    width, height = size
    head = [
        f"{view.name}: {state_line(now, left)}",
        f"{_bar(view.progress.share, min(BAR, width // 4))} {_counts(view.progress, now)}",
    ]
    head += _group_lines(view.progress, now)
    if view.progress.diverged:
        head.append(f"diverged: {_diverged(view)}")
    head += [f"Careful: {line}" for line in view.warnings]
    log = [_log_line(line) for line in newest_lines(path, LOG_LINES)]
    plot = _plot(view, (width, height - len(head) - min(len(log), 1)), colour=colour)
    log = log[-max(1, height - len(head) - len(plot)) :]
    return [*(_cut(line, width) for line in head), *plot, *(_cut(line, width) for line in log)][:height]


def _plot(view: View, size: tuple[int, int], *, colour: bool) -> list[str]:
    """Return the curves, as high as fits into the columns and lines; if they don't fit, where they have got to."""
    width, height = size
    limit = min(4, most_side_by_side(width) * (2 if height >= TALL else 1))
    panels = make_panels(view.study, view.column, limit=limit)
    arms, label = view.study.arms, view.column.replace("_", " ")
    for rows in ROWS:
        plot = plot_curves(panels, arms=arms, label=label, width=width, colour=colour, rows=rows, bands=True)
        lines = plot.splitlines()
        if len(lines) <= height:
            return lines
    return [_cut(_measured(view), width)]


def _bar(share: float, width: int) -> str:
    done = int(share * width)
    return "━" * done + "·" * (width - done)


def _counts(progress: Progress, now: Pulse) -> str:
    training = sum(len(group.trials) for group in progress.training)
    outcomes = [f"{count} {kind}" for kind, count in progress.outcomes.items() if kind != "completed"]
    begun = f"{training} {'begun' if now.state in ('stopped', 'ended') else 'training'}" if training else ""
    waiting = f"{progress.waiting} waiting" if progress.waiting else ""
    ended = f"{progress.ended} of {counted(progress.planned, 'trial')} ended"
    return ", ".join(filter(None, [ended, *outcomes, begun, waiting]))


def _group_lines(progress: Progress, now: Pulse) -> Iterator[str]:
    first, rest = progress.training[:GROUPS], progress.training[GROUPS:]
    for group in first:
        left = f", {duration(group.left)} left" if now.state == "training" and isfinite(group.left) else ""
        yield f"{_named(group)}: epoch {group.epoch}, step {group.step} of {group.steps}{left}"
    if rest:
        slowest, fastest = min(group.step for group in rest), max(group.step for group in rest)
        yield f"{counted(len(rest), 'more group')}: steps {slowest} to {fastest}"


def _named(group: GroupProgress) -> str:
    """Write the numbers of trials, neighbours as a range: trials 0-3, 8."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(group.trials), lambda at: at[1] - at[0])]
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    shown = ", ".join(parts[:NAMED]) + (", …" if len(parts) > NAMED else "")
    return f"trial{'' if len(group.trials) == 1 else 's'} {shown}"


def _diverged(view: View) -> str:
    named = [f"{number} ({view.study.label(arm)})" for number, arm in view.progress.diverged[:NAMED]]
    more = len(view.progress.diverged) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _log_line(line: str) -> str:
    """Return a line of the log with the local time in place of its date."""
    at, _, text = line.partition(" ")
    try:
        return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S} {text}"
    except ValueError:
        return line


def _cut(line: str, width: int) -> str:
    line = escaped(line)
    return line if len(line) <= width else f"{line[: width - 1]}…"
