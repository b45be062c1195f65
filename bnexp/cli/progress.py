"""Progress of a run: a live line in a terminal, a line per finished group in a pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bnexp.executors.local import Event, data_key
from bnexp.report.labels import counted
from bnexp.runner import Plan, Watch
from bnexp.training.loop import total_steps


@contextmanager
def watching(plan: Plan, *, silent: bool) -> Iterator[Watch]:
    """Say what will be trained, and hand out the function that shows events as they come."""
    if silent:
        yield lambda event: None
        return
    trials = f"{counted(len(plan.trials), 'trial')} ({', '.join(plan.config.arms)})"
    typer.echo(f"{plan.path.name}: {trials} in {counted(len(plan.groups), 'group')} on {plan.device}")
    tally = Tally(plan)
    if not sys.stdout.isatty():
        yield lambda event: _print_end(event, tally)
        return
    columns = BarColumn(24), TextColumn("{task.description}"), TimeRemainingColumn(compact=True)
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=tally.work)

        def draw(event: Event) -> None:
            tally.see(event)
            if event.parts:
                bar.console.print(_news(event))
            bar.update(
                task, completed=tally.worked, description=f"{tally.counts()}  {_news(event)}  {tally.accuracies()}"
            )

        yield draw


class Tally:
    """What has happened so far: updates made, trials ended, and every trial's latest accuracy."""

    def __init__(self, plan: Plan):
        self._arm = {trial.number: trial.arm for trial in plan.trials}
        self._steps: dict[int, int] = {}
        self._ended: set[int] = set()
        self._accuracy: dict[int, float] = {}
        self._steps_of = {n: total_steps(g, plan.datasets[data_key(g)]) for g in plan.groups for n in g.numbers}
        self.work = sum(self._steps_of.values())
        """Updates of all trials."""

    def see(self, event: Event) -> None:
        """Take an event in."""
        if event.parts:
            return
        if event.progress is None:
            self._ended.update(event.job.group.numbers)
            return
        record = event.progress.record
        self._ended.update(event.progress.ended)
        self._steps |= dict.fromkeys(record.trials, record.step)
        shown = record.measures.get("val_accuracy", record.measures["train_accuracy"])
        self._accuracy |= dict(zip(record.trials, shown, strict=True))

    @property
    def worked(self) -> int:
        """Updates made, those of ended trials counted in full."""
        return sum(self._steps_of[n] if n in self._ended else self._steps.get(n, 0) for n in self._arm)

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
        return f"out of memory: going on with {len(event.parts[0].group.trials)} trials at once"
    return f"epoch {event.progress.record.epoch}" if event.progress else "failed"


def _print_end(event: Event, tally: Tally) -> None:
    tally.see(event)
    if event.parts:
        typer.echo(f"  {tally.counts()}  {_news(event)}")
    elif event.progress is None:
        typer.echo(f"  {tally.counts()}  failed: {event.failure.strip().splitlines()[-1]}")
    elif event.progress.ended:
        record = event.progress.record
        spent = f"{record.seconds * len(record.trials):.1f} s for {len(record.trials)} at once"
        typer.echo(f"  {tally.counts()}  epoch {record.epoch}  {tally.accuracies()}  ({spent})")
