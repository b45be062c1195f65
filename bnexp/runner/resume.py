"""Opening a run folder: a new one, with the trials that are reused, or one that goes on from what it holds."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from bnexp.config.text import counted
from bnexp.engines.messages import Job
from bnexp.errors import BnexpError
from bnexp.plan import TrialGroup
from bnexp.records import Snapshot
from bnexp.runner.prepare import New, Plan, environment
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.files import OVERRIDES, locked, make_folder
from bnexp.store.reader import RunRecord
from bnexp.store.reuse import merged
from bnexp.store.writer import RunWriter

VERSIONS = ("bnexp", "torch", "device_name")
"""What of the environment the results depend on."""


@dataclass(frozen=True)
class RunSession:
    """A run folder that this process alone works in."""

    writer: RunWriter
    checkpoints: Checkpoints
    jobs: tuple[Job, ...]
    """What is left to train, in order."""
    news: tuple[str, ...]
    """What the user should know of how it begins."""
    damage: tuple[str, ...] = ()
    """What was not as it had been written."""


@contextmanager
def open_run(plan: Plan) -> Iterator[RunSession]:
    """Create or continue the folder of a run, and keep other processes out of it.

    Raises:
        InputError: another process has it, or it can't be made.
        OSError: it can't be written.
    """
    if plan.options.rerun and plan.path.exists():
        with locked(plan.path):
            plan.path.rename(_numbered(plan.path))
    make_folder(plan.path / "checkpoints")
    with locked(plan.path):
        # Another process may have begun it since the plan was made.
        new = isinstance(plan.state, New) and not RunRecord.exists(plan.path)
        with closing(_created(plan) if new else _restored(plan)) as writer:
            session = _from_start(plan, writer) if new else _continued(plan, writer)
            for line in (*session.damage, *session.news):
                writer.log(line)
            yield session


def _numbered(path: Path) -> Path:
    return next(to for number in count(1) if not (to := path.with_name(f"{path.name}.{number}")).exists())


def _created(plan: Plan) -> RunWriter:
    for each in plan.reusable:
        each.copy_weights(Checkpoints(plan.path))
    now, reused = _environment(plan), merged(plan.reusable)
    return RunWriter.create(plan.path, plan.config, plan.trials, now, _numbers(plan), reused)


def _restored(plan: Plan) -> RunWriter:
    now, retry = _environment(plan), plan.options.retry_failed
    return RunWriter.restore(plan.path, plan.config, plan.trials, now, _numbers(plan), retry_failed=retry)


def _environment(plan: Plan) -> dict[str, Any]:
    return environment(plan.engine) | {OVERRIDES: list(plan.config.overrides)}


def _numbers(plan: Plan) -> list[tuple[int, ...]]:
    return [group.numbers for group in plan.groups]


def _from_start(plan: Plan, writer: RunWriter) -> RunSession:
    writer.log(
        f"{counted(len(plan.trials), 'trial')} planned in {counted(len(plan.groups), 'group')} on {plan.engine.place}"
    )
    reused = [f"{counted(len(each.numbers), 'trial')} taken over from {each.run.name}" for each in plan.reusable]
    news = [f"{', '.join(reused)}, {len(writer.unfinished)} to go"] if reused else []
    return RunSession(writer, Checkpoints(plan.path), tuple(Job.new(group) for group in plan.groups), tuple(news))


def _continued(plan: Plan, writer: RunWriter) -> RunSession:
    left = set(writer.unfinished)
    if not left <= {number for group in plan.groups for number in group.numbers}:
        raise BnexpError(f"{plan.path}: another process has just worked on it; give the same command again")
    writer.regroup(_numbers(plan))
    checkpoints = Checkpoints(plan.path)
    jobs = _jobs(plan, writer, checkpoints)
    steps = {number: job.resume.step for job in jobs if job.resume for number in job.group.numbers}
    writer.go_back(dict.fromkeys(left, -1) | steps)
    news = f"continued: {counted(len(plan.trials) - len(left), 'trial')} ended before, {len(left)} to go"
    changes = _changes(writer.environment, environment(plan.engine))
    return RunSession(writer, checkpoints, tuple(jobs), (news, *changes), writer.notes)


def _changes(began: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in VERSIONS:
        if began.get(name) != now[name]:
            yield f"begun with {name} {began.get(name)}, now {now[name]}: results may differ in the last digits"


def _jobs(plan: Plan, writer: RunWriter, checkpoints: Checkpoints) -> list[Job]:
    """Return what is left to train: groups as they were saved, and from the start those that were not.

    A group is trained as a whole even where some of its trials have ended, since the company that a trial trains in
    decides the last bits of its results.
    """
    left, place = set(writer.unfinished), {n: i for i, group in enumerate(plan.groups) for n in group.numbers}

    def without_gap(snapshot: Snapshot) -> bool:
        return all(writer.reaches(trial, snapshot.step) for trial in left & set(snapshot.trials))

    saved = checkpoints.furthest(left, without_gap)
    from_start = _from_start_again(left, saved, place)
    saved = {k: each for k, each in saved.items() if not {place.get(n) for n in each.trials} & from_start}
    for number in checkpoints.numbers - saved.keys():
        checkpoints.drop(number)
    jobs = [Job(k, TrialGroup(tuple(plan.trials[n] for n in each.trials)), each) for k, each in saved.items()]
    jobs += [Job.new(plan.groups[index]) for index in from_start]
    return sorted(jobs, key=lambda job: min(place[number] for number in job.group.numbers))


def _from_start_again(left: set[int], saved: Mapping[int, Snapshot], place: Mapping[int, int]) -> set[int]:
    """Return the groups that train from the start: those of trials that no snapshot has.

    A snapshot that shares a group with one of them can't be used either, so its other groups join them.

    Args:
        left: trials that have not ended.
        saved: snapshots by number.
        place: group of each trial.
    """
    from_start: set[int] = set()
    usable = dict(saved)
    while True:
        covered = {number for snapshot in usable.values() for number in snapshot.trials}
        lost = {place[number] for number in left - covered} - from_start
        if not lost:
            return from_start
        from_start |= lost
        usable = {k: each for k, each in usable.items() if not {place.get(n) for n in each.trials} & from_start}
