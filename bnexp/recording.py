"""Turning what an executor yields into the run folder's files."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from bnexp.executors.local import Event, Job
from bnexp.records import Outcome, Snapshot
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.writer import RunWriter
from bnexp.training.loop import Progress

HELD_SHARE, SAVED_SHARE = 0.005, 0.02
"""Shares of the time that go at most into copies of the state, held for an interruption, and into checkpoints, however
often they are asked for."""

T = TypeVar("T")


class Recorder:
    """Writes records as they come, checkpoints by time, weights and outcomes as trials end.

    Args:
        writer: of the run folder.
        checkpoints: of the run folder.
        every: seconds between checkpoints.
    """

    def __init__(self, writer: RunWriter, checkpoints: Checkpoints, every: float):
        self._writer, self._checkpoints = writer, checkpoints
        self._held: tuple[int, Snapshot] | None = None
        self._hold, self._save = _Pace(0, HELD_SHARE), _Pace(every, SAVED_SHARE)

    def __call__(self, event: Event) -> None:
        if event.progress:
            self._advance(event.job.number, event.progress)
        elif event.parts:
            self._cut(event.job, event.parts)
        else:
            self._fail(event.job, event.failure)

    def latest(self, group: int) -> Snapshot | None:
        """Return the newest state that a group can go on from."""
        return self._held[1] if self._held and self._held[0] == group else self._checkpoints.load(group)

    def interrupt(self) -> None:
        """Save how far the group in training got: it stops here."""
        self._writer.sync()
        if self._held:
            self._checkpoints.save(*self._held)
        self._writer.log("interrupted")

    def _advance(self, group: int, progress: Progress) -> None:
        record, ended = progress.record, progress.ended
        self._writer.append(record, progress.probes)
        if ended:
            self._held = None  # there are to be as few copies at once as planning counts on
            self._checkpoints.finish(group, progress.snapshot().only(ended))
            steps = dict(zip(record.trials, record.diverged_step, strict=True))
            self._writer.end(_outcome(number, steps[number]) for number in ended)
        if len(ended) == len(record.trials):
            self._drop(group)
            if progress.probing:
                trials = ", ".join(map(str, record.trials))
                self._writer.log(f"probes of trials {trials} took {progress.probing:.1f} s")
        elif progress.resumable and (self._held is None or self._hold.due or self._save.due):
            left = [number for number in record.trials if number not in ended]
            held = self._hold.timed(lambda: progress.snapshot().only(left))
            self._held = group, held
            if self._save.due:
                self._writer.sync()
                self._save.timed(lambda: self._checkpoints.save(group, held))

    def _cut(self, job: Job, parts: Sequence[Job]) -> None:
        resumed = {part.number: part.resume for part in parts if part.resume}
        # A part may have the whole group's number: its file then takes the place of the group's, so it comes last.
        for number in sorted(resumed, key=lambda number: number == job.number):
            self._checkpoints.save(number, resumed[number])
        self._held = None
        if job.number not in resumed:  # last, so that at no moment there is nothing to go on from
            self._checkpoints.drop(job.number)
        self._writer.go_back({n: part.resume.step if part.resume else -1 for part in parts for n in part.group.numbers})
        self._writer.regroup([each for group in self._writer.groups for each in _regrouped(group, parts)])
        sizes = ", ".join(str(len(part.group.trials)) for part in parts)
        where = f"step {parts[0].resume.step}" if parts[0].resume and parts[0].resume.step else "the start"
        self._writer.log(
            f"{len(job.group.trials)} trials ran out of memory together; going on with {sizes} from {where}"
        )

    def _fail(self, job: Job, failure: str) -> None:
        group = job.group.only(self._writer.unfinished)
        self._drop(job.number)
        reason = failure.strip().splitlines()[-1]
        self._writer.log(f"trials {', '.join(map(str, group.numbers))} failed\n{failure}")
        self._writer.end(Outcome(number, "failed", reason=reason) for number in group.numbers)

    def _drop(self, group: int) -> None:
        self._held = None
        self._checkpoints.drop(group)


class _Pace:
    """Something that is due every so many seconds, but takes no more than a share of the time."""

    def __init__(self, every: float, share: float):
        self._every, self._share = every, share
        self._last, self._took = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= max(self._every, self._took / self._share)

    def timed(self, work: Callable[[], T]) -> T:
        """Do it."""
        started = time.monotonic()
        result = work()
        self._last = time.monotonic()
        self._took = self._last - started
        return result


def _regrouped(group: Sequence[int], parts: Sequence[Job]) -> Iterator[Sequence[int]]:
    """Yield the parts of a recorded group that was cut, first what of it had ended; or the group, if it wasn't."""
    cut = {number for part in parts for number in part.group.numbers}
    if not cut & set(group):
        yield group
        return
    if ended := [number for number in group if number not in cut]:
        yield ended
    yield from (part.group.numbers for part in parts)


def _outcome(trial: int, diverged_step: int | None) -> Outcome:
    return Outcome(trial, "diverged" if diverged_step else "completed", diverged_step)
