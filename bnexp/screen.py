"""Output while bnexp works: lines, warnings, and the progress of a run in a terminal, a notebook or a log."""

import shutil
import sys
import textwrap
import time
from collections.abc import Iterable
from statistics import fmean
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TextIO

from bnexp.config.text import counted, escaped

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from bnexp.analysis.runs import ComparedRun
    from bnexp.engines.messages import Event
    from bnexp.runner.prepare import Plan
    from bnexp.runner.run import RunSession

LIFE_SIGN = 30.0
"""Seconds after which a log has another line, whatever has happened."""
IN_NOTEBOOK = 0.5
"""Seconds between two updates in a notebook."""
BAR = 16
"""Columns of the bar."""


def print_line(text: str = "") -> None:
    """Print a line at once: somebody may be waiting for it at the end of a pipe."""
    print(fitted(text, sys.stdout), flush=True)


def warn(message: str) -> None:
    """Write a warning to standard error, where no script takes it for the answer."""
    print(fitted(f"bnexp: {plain(message)}", sys.stderr), file=sys.stderr, flush=True)


def fitted(text: str, stream: TextIO) -> str:
    """Return text whose lines fit the terminal that it goes to, broken between words; for a pipe or a file as it is.

    A line goes on with a deeper indentation, so that several problems stay apart, and YAML stays YAML.
    """
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(line if len(line) <= width else _broken(line, width) for line in text.split("\n"))


def _broken(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def plain(text: str) -> str:
    """Return text that moves no cursor and changes no colours: names of folders can hold anything."""
    return "\n".join(map(escaped, text.split("\n")))


def in_notebook() -> bool:
    """Tell whether this is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def is_watched() -> bool:
    """Tell whether somebody may be watching: standard output is a terminal or a notebook."""
    return sys.stdout.isatty() or in_notebook()


def show_figures() -> None:
    """Let a notebook draw Matplotlib's figures; it needs to be told, since pyplot isn't imported."""
    if in_notebook():
        from IPython import get_ipython
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(get_ipython(), {"png"})


class RunDisplay:
    """Shows a run from what there is to train to its end; it is entered while the run trains.

    Args:
        plan: the run.
        silent: show nothing but warnings.
    """

    def __init__(self, plan: "Plan", *, silent: bool):
        self._plan, self._tally = plan, Tally(plan)
        self._shown: _Log | _Bar | _Line | None = None
        if not silent:
            kind = _Line if in_notebook() else _Bar if sys.stdout.isatty() else _Log
            self._shown = kind(self._tally)
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._shown.stop()
            if self._tally.probing:
                share = self._tally.probing / (time.monotonic() - self._begun)
                print_line(f"  probes took {self._tally.probing:.1f} s, {share:.0%} of the time")

    def begin(self, session: "RunSession") -> None:
        """Say what will be trained, and what was found."""
        from bnexp.analysis.choices import choices_text
        from bnexp.config.seeds import look_text
        from bnexp.plan import same_trainings
        from bnexp.report.data_sets import data_lines, data_warnings

        plan = self._plan
        for line in [*(f"{plan.path}: {line}" for line in session.damage), *data_warnings(plan.data)]:
            warn(line)
        self._tally.skip(session.writer.ended)
        if not self._shown:
            return
        if plan.config.tuned:
            print_line("chosen on validation images: " + choices_text(plan.config))
        if more := plan.config.more_seeds:
            print_line(look_text(more, len(plan.config.seeds)))
        for line in same_trainings(plan.trials):
            print_line(f"{line}.")
        trials = f"{counted(len(plan.trials), 'trial')} ({', '.join(plan.config.arms)})"
        where = f" in {counted(len(plan.groups), 'group')} on {plan.engine.place}" if plan.groups else ""
        print_line(f"{plan.path.name}: {trials}{where}")
        for line in [*data_lines(plan.data, plan.config.data.split), *session.news]:
            print_line(f"  {line}")

    def end(self, run: "ComparedRun") -> None:
        """Warn while seeds are added if the most that there may be won't be enough."""
        from bnexp.analysis.sequential import next_look, out_of_reach

        if next_look(self._plan.config, run.comparison):
            for line in out_of_reach(run.comparison):
                warn(line)

    def see(self, event: "Event") -> None:
        """Show what happened."""
        self._tally.see(event)
        if self._shown:
            self._shown.see(event)


class Tally:
    """The state of a run so far: updates made, trials ended, and every trial's latest accuracy."""

    def __init__(self, plan: "Plan"):
        from bnexp.engines.devices import data_key
        from bnexp.training.work import total_steps

        self._arm = {trial.number: trial.arm for trial in plan.trials}
        self._steps: dict[int, int] = {}
        self._ended: set[int] = set()
        self._accuracy: dict[int, float] = {}
        self._measured = "training accuracy"
        self._probing: dict[int, float] = {}
        self._steps_of = {n: total_steps(g, plan.datasets[data_key(g)].shape) for g in plan.groups for n in g.numbers}
        self._work = sum(self._steps_of.values())
        self._pace = Pace()
        self._last = ""

    @property
    def probing(self) -> float:
        """Seconds that probes have taken."""
        return sum(self._probing.values())

    def skip(self, ended: Iterable[int]) -> None:
        """Count trials that had ended before."""
        self._ended.update(ended)

    def see(self, event: "Event") -> None:
        """Take an event in."""
        if event.failure:
            self._ended.update(event.job.group.numbers)
        self._ended.update(event.stopped)
        self._last = news(event)
        if event.step:  # the start says nothing of the pace
            self._reach(event.job.group.numbers, event.step)
        if event.progress is None:
            return
        record = event.progress.record
        self._probing[event.job.number] = event.progress.probing
        self._ended.update(event.progress.ended)
        self._reach(record.trials, record.step)
        if "val_accuracy" in record.measures:
            self._measured = "validation accuracy"
        shown = record.measures.get("val_accuracy", record.measures["train_accuracy"])
        self._accuracy |= dict(zip(record.trials, shown, strict=True))

    def _reach(self, trials: Iterable[int], step: int) -> None:
        self._steps |= dict.fromkeys(trials, step)
        self._pace.reach(self._worked())

    def _worked(self) -> int:
        """Return how many updates were made, those of ended trials counted in full."""
        return sum(steps if n in self._ended else self._steps.get(n, 0) for n, steps in self._steps_of.items())

    def share(self) -> float:
        """Return the share of the work that is done, estimated between two records."""
        return min(0.999, self._pace.now() / self._work) if self._worked() < self._work else 1.0

    def counts(self) -> str:
        """Return how many trials have ended, of all."""
        return f"{len(self._ended)}/{len(self._arm)} trials"

    def accuracies(self) -> str:
        """Return every arm's mean latest accuracy, on validation images or, without any, on training images."""
        by_arm: dict[str, list[float]] = {}
        for number, arm in self._arm.items():
            if number in self._accuracy:
                by_arm.setdefault(arm, []).append(self._accuracy[number])
        means = ", ".join(f"{arm} {fmean(found):.3f}" for arm, found in by_arm.items())
        return f"{self._measured}: {means}" if means else ""

    def status(self) -> str:
        """Return the time left, the trials ended, and what happened last."""
        seconds = self._pace.seconds_to(self._work)
        left = "" if seconds is None else f"{clock(seconds)} left"
        return "  ".join(filter(None, [left, self.counts(), self._last]))

    def line(self) -> str:
        """Return all of it in one line, the most important first."""
        return "  ".join(filter(None, [self.status(), self.accuracies()]))


class Pace:
    """How fast updates are made, and how many have been made by now, between two records as well."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        """Time and updates at the first record: loading, and records before training, say nothing of the pace."""
        self._latest = (time.monotonic(), 0)
        self._stride = 0

    def reach(self, done: int) -> None:
        """Take in how many updates have been made."""
        if self._latest[1]:
            self._stride = max(self._stride, done - self._latest[1])
        self._latest = (time.monotonic(), done)
        self._first = self._first or self._latest

    def now(self) -> float:
        """Return how many updates have probably been made by now."""
        at, done = self._latest
        return done + min(self._stride, (time.monotonic() - at) * self._rate)

    def seconds_to(self, work: int) -> float | None:
        """Return how long the rest will take; None where that isn't known yet."""
        return max(0.0, (work - self.now()) / self._rate) if self._rate else None

    @property
    def _rate(self) -> float:
        """Updates a second."""
        (began, before), (at, done) = self._first or self._latest, self._latest
        return (done - before) / (at - began) if at > began else 0.0


def clock(seconds: float) -> str:
    """Write a duration as 0:45, 12:03 or 1:02:03."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def news(event: "Event") -> str:
    """Say in a few words what happened."""
    if event.parts:
        sizes = " and ".join(str(len(part.group.trials)) for part in event.parts)
        return f"{counted(len(event.job.group.trials), 'trial')} {event.reason}; going on with {sizes}"
    if event.failure:
        return f"failed: {event.failure.strip().splitlines()[-1]}"
    if event.stopped:
        return f"tune.halve stopped {counted(len(event.stopped), 'trial')}; others were ahead"
    place = "" if event.step is None else f"step {event.step}"
    if event.progress:
        place = f"epoch {event.progress.record.epoch}, step {event.progress.record.step}"
    return "  ".join(filter(None, (place, event.activity)))


class _Bar:
    """A bar at the bottom of a terminal, and the accuracies in the line below, where many arms push nothing out.

    The cursor stays visible, so that it is there after Ctrl-Z, too.
    """

    def __init__(self, tally: Tally):
        self._tally = tally
        self._live: Live | None = None

    def see(self, event: "Event") -> None:
        if self._live is None:  # not before the first event: its thread comes after workers were forked
            from rich.live import Live

            self._live = Live(get_renderable=self._lines, transient=True, refresh_per_second=4)
            self._live.start()
            self._live.console.show_cursor(True)
        if event.notable:
            self._live.console.print(news(event), markup=False, highlight=False)

    def stop(self) -> None:
        if self._live:
            self._live.stop()

    def _lines(self) -> "Group":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(width=BAR)
        row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        row.add_row(ProgressBar(1.0, self._tally.share(), width=BAR), Text(plain(self._tally.status())))
        return Group(row, Text(plain(self._tally.accuracies()), no_wrap=True, overflow="ellipsis"))


class _Line:
    """One line in a notebook that changes."""

    def __init__(self, tally: Tally):
        self._tally, self._last = tally, 0.0
        self._handle: Any = None

    def see(self, event: "Event") -> None:
        if time.monotonic() - self._last >= IN_NOTEBOOK:
            self._show(f"{self._tally.share():4.0%}  {self._tally.line()}")

    def stop(self) -> None:
        self._show(f"{self._tally.share():4.0%}  {self._tally.counts()}  {self._tally.accuracies()}")

    def _show(self, text: str) -> None:
        from IPython.display import display

        self._last = time.monotonic()
        if self._handle is None:
            self._handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": text}, raw=True)


class _Log:
    """A line for every group that ends, and where none does, one every LIFE_SIGN seconds."""

    def __init__(self, tally: Tally):
        self._tally = tally
        self._printed = time.monotonic()
        self._stopped = Flag()
        self._thread: Thread | None = None

    def see(self, event: "Event") -> None:
        if self._thread is None:  # not before the first event: it comes after workers were forked
            self._thread = Thread(target=self._live, daemon=True)
            self._thread.start()
        if event.notable:
            self._print(f"{self._tally.counts()}  {news(event)}")
        elif event.progress and event.progress.ended:
            record = event.progress.record
            spent = f"{counted(len(record.trials), 'trial')} took {record.seconds * len(record.trials):.1f} s"
            activity = f"; {event.activity}" if event.activity else ""
            done = f"{self._tally.counts()}  epoch {record.epoch}  {self._tally.accuracies()}"
            self._print(f"{done}  ({spent}{activity})")

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def _live(self) -> None:
        while not self._stopped.wait(min(1.0, LIFE_SIGN)):
            if time.monotonic() - self._printed >= LIFE_SIGN:
                self._print(self._tally.line())

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        print_line(f"  {text}")
