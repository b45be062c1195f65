"""Turning what an executor yields into the run folder's files."""

import time
from collections.abc import Sequence

from bnexp.executors.local import Event, Job
from bnexp.records import Outcome
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.writer import RunWriter
from bnexp.training.loop import Progress


class Recorder:
    """Writes records as they come, checkpoints by time, weights and outcomes as trials end.

    Args:
        writer: of the run folder.
        checkpoints: of the run folder.
        every: seconds between checkpoints.
    """

    def __init__(self, writer: RunWriter, checkpoints: Checkpoints, every: float):
        self._writer, self._checkpoints, self._every = writer, checkpoints, every
        self._saved = time.monotonic()

    def __call__(self, event: Event) -> None:
        if event.progress:
            self._advance(event.job.number, event.progress)
        elif event.parts:
            self._cut(event.job, event.parts)
        else:
            self._fail(event.job, event.failure)

    def _advance(self, group: int, progress: Progress) -> None:
        record, ended = progress.record, progress.ended
        self._writer.append(record)
        if ended:
            self._checkpoints.finish(group, progress.snapshot().only(ended))
            steps = dict(zip(record.trials, record.diverged_step, strict=True))
            self._writer.end(_outcome(number, steps[number]) for number in ended)
        if len(ended) == len(record.trials):
            self._checkpoints.drop(group)
        elif progress.resumable and time.monotonic() - self._saved > self._every:
            self._checkpoints.save(group, progress.snapshot())
            self._saved = time.monotonic()

    def _cut(self, job: Job, parts: Sequence[Job]) -> None:
        resumed = {part.number: part.resume for part in parts if part.resume}
        for number, snapshot in resumed.items():
            self._checkpoints.save(number, snapshot)
        if job.number not in resumed:  # last, so that at no moment there is nothing to go on from
            self._checkpoints.drop(job.number)
        self._writer.rewind({n: part.resume.step if part.resume else -1 for part in parts for n in part.group.numbers})
        sizes = ", ".join(str(len(part.group.trials)) for part in parts)
        where = f"step {parts[0].resume.step}" if parts[0].resume else "the start"
        self._writer.log(
            f"{len(job.group.trials)} trials ran out of memory together; going on with {sizes} from {where}"
        )

    def _fail(self, job: Job, failure: str) -> None:
        group = job.group.only(self._writer.unfinished)
        self._checkpoints.drop(job.number)
        reason = failure.strip().splitlines()[-1]
        self._writer.log(f"trials {', '.join(map(str, group.numbers))} failed\n{failure}")
        self._writer.end(Outcome(number, "failed", reason=reason) for number in group.numbers)


def _outcome(trial: int, diverged_step: int | None) -> Outcome:
    return Outcome(trial, "diverged" if diverged_step else "completed", diverged_step)
