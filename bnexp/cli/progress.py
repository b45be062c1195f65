"""Progress of a run: a live line in a terminal, a line per finished group in a pipe."""

import sys
import time
from statistics import fmean
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bnexp.cli.output import print_line, warn
from bnexp.config.text import counted
from bnexp.engines.devices import data_key
from bnexp.engines.messages import Event
from bnexp.report.listings import data_lines, data_warnings
from bnexp.runner.prepare import Plan
from bnexp.runner.resume import Opened
from bnexp.training.work import total_steps


def shown_here() -> bool:
    """Tell whether somebody may be watching: standard output is a terminal or a notebook."""
    return sys.stdout.isatty()


class Watching:
    """Shows a run, from what there is to train to its end; the progress bar stands while it is entered."""

    def __init__(self, plan: Plan, *, silent: bool):
        self._plan, self._silent, self._tally = plan, silent, Tally(plan)
        self._bar: Progress | None = None
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()
        if self._tally.probing and not self._silent:
            share = self._tally.probing / (time.monotonic() - self._begun)
            print_line(f"  probes took {self._tally.probing:.1f} s, {share:.0%} of the time")

    def begin(self, opened: Opened) -> None:
        """Say what will be trained, and what was found."""
        for line in opened.damage:
            warn(f"{self._plan.path}: {line}")
        for line in data_warnings(self._plan.data):
            warn(line)
        self._tally.skip(set(opened.writer.ended))
        if self._silent:
            return
        plan = self._plan
        trials = f"{counted(len(plan.trials), 'trial')} ({', '.join(plan.config.arms)})"
        print_line(f"{plan.path.name}: {trials} in {counted(len(plan.groups), 'group')} on {plan.engine.place}")
        for line in [*data_lines(plan.data), *opened.news]:
            print_line(f"  {line}")
        if sys.stdout.isatty():
            columns = BarColumn(24), TextColumn("{task.description}"), TimeRemainingColumn(compact=True)
            self._bar = Progress(*columns, transient=True)
            self._bar.add_task("", total=self._tally.work)

    def see(self, event: Event) -> None:
        """Show what happened."""
        self._tally.see(event)
        if self._bar:
            self._bar.start()  # not before the first event: its thread comes after workers were forked
            if event.progress is None:
                self._bar.console.print(_news(event), markup=False)
            crew = f"  {event.crew}" if event.crew else ""
            description = f"{self._tally.counts()}{crew}  {_news(event)}  {self._tally.accuracies()}"
            self._bar.update(self._bar.task_ids[0], completed=self._tally.worked, description=description)
        elif not self._silent:
            _print_end(event, self._tally)


class Tally:
    """What has happened so far: updates made, trials ended, and every trial's latest accuracy."""

    def __init__(self, plan: Plan):
        self._arm = {trial.number: trial.arm for trial in plan.trials}
        self._steps: dict[int, int] = {}
        self._ended: set[int] = set()
        self._accuracy: dict[int, float] = {}
        self._probing: dict[int, float] = {}
        self._steps_of = {n: total_steps(g, plan.datasets[data_key(g)].shape) for g in plan.groups for n in g.numbers}
        self.work = sum(self._steps_of.values())
        """Updates of all trials."""

    def skip(self, ended: set[int]) -> None:
        """Count trials that had ended before."""
        self._ended |= ended

    def see(self, event: Event) -> None:
        """Take an event in."""
        if event.failure:
            self._ended.update(event.job.group.numbers)
        if event.progress is None:
            return
        record = event.progress.record
        self._probing[event.job.number] = event.progress.probing
        self._ended.update(event.progress.ended)
        self._steps |= dict.fromkeys(record.trials, record.step)
        shown = record.measures.get("val_accuracy", record.measures["train_accuracy"])
        self._accuracy |= dict(zip(record.trials, shown, strict=True))

    @property
    def worked(self) -> int:
        """Updates made, those of ended trials counted in full."""
        return sum(steps if n in self._ended else self._steps.get(n, 0) for n, steps in self._steps_of.items())

    @property
    def probing(self) -> float:
        """Seconds that probes have taken."""
        return sum(self._probing.values())

    def counts(self) -> str:
        """Trials that have ended, of all."""
        return f"{len(self._ended)}/{len(self._arm)} trials"

    def accuracies(self) -> str:
        """Mean latest accuracy of every arm so far: on validation images, or training images without them."""
        by_arm: dict[str, list[float]] = {}
        for number, accuracy in self._accuracy.items():
            by_arm.setdefault(self._arm[number], []).append(accuracy)
        return "  ".join(f"{arm} {fmean(found):.3f}" for arm, found in by_arm.items())


def _news(event: Event) -> str:
    if event.parts:
        sizes = " and ".join(str(len(part.group.trials)) for part in event.parts)
        return f"{counted(len(event.job.group.trials), 'trial')} {event.reason}; going on with {sizes}"
    if event.failure:
        return f"failed: {event.failure.strip().splitlines()[-1]}"
    return f"epoch {event.progress.record.epoch}" if event.progress else event.crew


def _print_end(event: Event, tally: Tally) -> None:
    if event.progress is None:
        print_line(f"  {tally.counts()}  {_news(event)}")
    elif event.progress.ended:
        record = event.progress.record
        spent = f"{record.seconds * len(record.trials):.1f} s for {len(record.trials)} at once"
        crew = f"; {event.crew}" if event.crew else ""
        print_line(f"  {tally.counts()}  epoch {record.epoch}  {tally.accuracies()}  ({spent}{crew})")
