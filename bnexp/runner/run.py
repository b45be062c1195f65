"""Running one experiment from its plan to the finished run folder: opened, recorded, closed."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from bnexp.analysis.halving import behind
from bnexp.analysis.runs import ComparedRun
from bnexp.config.text import counted
from bnexp.engines import throttle
from bnexp.engines.messages import Event, Job
from bnexp.engines.throttle import Throttle
from bnexp.errors import BnexpError
from bnexp.plan import TrialGroup
from bnexp.records import Outcome, Snapshot
from bnexp.report.summary import write_report_files
from bnexp.runner.kept_images import keep_images
from bnexp.runner.prepare import Plan, environment
from bnexp.runner.signals import Interrupts
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.files import OVERRIDES, SOURCES, copy_sources, locked, make_folder, refusal, set_aside
from bnexp.store.reader import DamagedRunError, RunRecord
from bnexp.store.reuse import merged
from bnexp.store.writer import RunWriter
from bnexp.training.loop import Progress

# Opening the folder

Watch = Callable[[Event], None]
"""Called with everything that happens, to draw progress; it must not touch the training."""
VERSIONS = ("bnexp", "torch", "device_name")
"""Entries of environment.json that the results depend on."""


@dataclass(frozen=True)
class RunSession:
    """A run folder that this process alone works in."""

    writer: RunWriter
    checkpoints: Checkpoints
    jobs: tuple[Job, ...]
    """The groups that are left to train, in order."""
    news: tuple[str, ...]
    """Lines for the user about how the run begins."""
    damage: tuple[str, ...] = ()
    """Lines about files that were damaged."""


@contextmanager
def open_run(plan: Plan) -> Iterator[RunSession]:
    """Create or continue the folder of a run, and keep other processes out of it.

    Raises:
        InputError: another process has it, or it can't be made.
        OSError: it can't be written.
    """
    if plan.options.rerun and plan.path.exists():
        numbered = (plan.path.with_name(f"{plan.path.name}.{number}") for number in count(1))
        set_aside(plan.path, next(to for to in numbered if not to.exists()))
    make_folder(plan.path / "checkpoints")
    with locked(plan.path):
        # Another process may have begun it since the plan was made.
        new = plan.state == "new" and not RunRecord.exists(plan.path)
        with closing(_writer(plan, new)) as writer:
            session = _from_start(plan, writer) if new else _continued(plan, writer)
            for line in (*session.damage, *session.news):
                writer.log(line)
            yield session


def _writer(plan: Plan, new: bool) -> RunWriter:
    now = environment(plan.engine) | {OVERRIDES: list(plan.config.origin.overrides)}
    given = plan.path, plan.config, plan.trials, now, _numbers(plan)
    copy_sources(plan.config, plan.path / SOURCES)
    if not new:
        return RunWriter.restore(*given, retry_failed=plan.options.retry_failed)
    for each in plan.reusable:
        each.copy_kept(Checkpoints(plan.path))
    return RunWriter.create(*given, merged(plan.reusable))


def _numbers(plan: Plan) -> list[tuple[int, ...]]:
    return [group.numbers for group in plan.groups]


def _from_start(plan: Plan, writer: RunWriter) -> RunSession:
    planned, together = counted(len(plan.trials), "trial"), counted(len(plan.groups), "group")
    writer.log(f"{planned} planned in {together} on {plan.engine.place}")
    reused = [f"{counted(len(each.numbers), 'trial')} taken over from {each.run.name}" for each in plan.reusable]
    news = [f"{', '.join(reused)}, {len(writer.unfinished)} to go"] if reused else []
    return RunSession(writer, Checkpoints(plan.path), tuple(Job.new(group) for group in plan.groups), tuple(news))


def _continued(plan: Plan, writer: RunWriter) -> RunSession:
    left = set(writer.unfinished)
    if not left <= {number for group in plan.groups for number in group.numbers}:
        raise BnexpError(f"{plan.path}: another process has just worked on it; run the same command again")
    writer.regroup(_numbers(plan))
    checkpoints = Checkpoints(plan.path)
    jobs = _left(plan, writer, checkpoints)
    began, now = writer.environment, environment(plan.engine)
    news = [f"continued: {counted(len(plan.trials) - len(left), 'trial')} ended before, {len(left)} to go"]
    news += [
        f"begun with {name} {began.get(name)}, now {now[name]}: results may differ in the last digits"
        for name in VERSIONS
        if began.get(name) != now[name]
    ]
    return RunSession(writer, checkpoints, tuple(jobs), tuple(news), writer.notes)


def _left(plan: Plan, writer: RunWriter, checkpoints: Checkpoints) -> list[Job]:
    """Return what is left to train; the writer continues from the same records."""
    jobs = _jobs(plan, writer, checkpoints)
    steps = {number: job.resume.step for job in jobs if job.resume for number in job.group.numbers}
    writer.go_back(dict.fromkeys(writer.unfinished, -1) | steps)
    return jobs


def _rounds(plan: Plan, session: RunSession, watch: Watch) -> Iterator[Sequence[Job]]:
    """Yield the jobs that train next: all to their end or, with halving, the remaining ones up to each comparison."""
    halving, writer, jobs = plan.config.halving, session.writer, list(session.jobs)
    for comparison, epoch in enumerate(halving.at if halving else ()):
        yield [replace(job, until=epoch) for job in jobs if not job.resume or job.resume.epoch < epoch]
        stopped = _stop_worst(plan, writer, comparison)
        jobs = [_without(stopped, job) for job in _left(plan, writer, session.checkpoints)]
        if jobs:
            watch(Event(jobs[0], stopped=tuple(stopped)))
    yield jobs


def _stop_worst(plan: Plan, writer: RunWriter, comparison: int) -> list[int]:
    """End the trials that a comparison stops, and return their numbers."""
    writer.sync()
    record = RunRecord(plan.path)
    stopped = behind(plan.config, comparison, record.trials, record.curves)
    if new := [number for number in stopped if number not in writer.ended]:
        writer.log(f"halving stopped {counted(len(new), 'trial')}: {', '.join(map(str, new))}")
        writer.end(Outcome(number, "stopped") for number in new)
    return stopped


def _without(stopped: Collection[int], job: Job) -> Job:
    left = set(job.group.numbers) - set(stopped)
    return replace(job, group=job.group.only(left), resume=job.resume and job.resume.only(left))


def _jobs(plan: Plan, writer: RunWriter, checkpoints: Checkpoints) -> list[Job]:
    """Return what is left to train: groups as they were saved, the others from the start.

    A group is trained as a whole even if some of its trials have ended: the trials that train together decide the last
    bits of each other's results.
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

    A snapshot that shares a group with one of them can't be used either, so its other groups start over, too.

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


# Recording


class Recorder:
    """Writes records as they come, checkpoints by time, weights and outcomes as trials end.

    Args:
        writer: of the run folder.
        checkpoints: of the run folder.
        every: seconds between checkpoints.
    """

    def __init__(self, writer: RunWriter, checkpoints: Checkpoints, every: float):
        self._writer, self._checkpoints, self._every = writer, checkpoints, every
        self._held: dict[int, Callable[[], Snapshot]] = {}
        self._hold, self._saves = Throttle(0, throttle.HELD_SHARE), dict[int, Throttle]()

    def __call__(self, event: Event) -> None:
        if event.progress:
            self._advance(event.job.number, event.progress)
        elif event.parts:
            self._go_on(event)
        elif event.failure:
            self._fail(event.job, event.failure)

    def latest(self, group: int) -> Snapshot | None:
        """Return the newest state that a group can continue from."""
        return self._held[group]() if group in self._held else self._checkpoints.load(group)

    def stop(self, why: str) -> None:
        """Save the states of the groups in training: they stop here."""
        self._writer.sync()
        for group in self._held:
            self._save(group)
        self._writer.log(why)

    def _advance(self, group: int, progress: Progress) -> None:
        record, ended = progress.record, progress.ended
        self._writer.append(record, progress.probes)
        for note in progress.notes:
            self._writer.log(f"trials {', '.join(map(str, record.trials))}: {note}")
        if ended:
            self._held.pop(group, None)  # no more copies at once than planning counts on
            self._checkpoints.finish(group, progress.snapshot().only(ended))
            self._writer.end(record.outcomes(ended))
        if len(ended) == len(record.trials):
            self._drop(group)
            if progress.probing:
                trials = ", ".join(map(str, record.trials))
                self._writer.log(f"probes of trials {trials} took {progress.probing:.1f} s")
        elif progress.paused:
            self._pause(group, progress.snapshot().only(set(record.trials) - set(ended)))
        elif progress.resumable:
            self._keep(group, progress, [number for number in record.trials if number not in ended])

    def _pause(self, group: int, snapshot: Snapshot) -> None:
        """Save the states of trials that may be stopped now, so that their records never go beyond a saved state."""
        self._held.pop(group, None)
        self._writer.sync()
        self._checkpoints.save(group, snapshot)

    def _keep(self, group: int, progress: Progress, left: Sequence[int]) -> None:
        save = self._saves.setdefault(group, Throttle(self._every, throttle.SAVED_SHARE))
        due = save.due(others=len(self._held.keys() - {group}))
        if progress.lasting:
            self._held[group] = lambda: progress.snapshot().only(left)
        elif group not in self._held or due or self._hold.due():
            held = self._hold.run(lambda: progress.snapshot().only(left))
            self._held[group] = lambda: held
        if due:
            self._writer.sync()
            save.run(lambda: self._save(group))

    def _save(self, group: int) -> None:
        self._checkpoints.save(group, self._held[group]())

    def _go_on(self, event: Event) -> None:
        job, parts = event.job, event.parts
        resumed = {part.number: part.resume for part in parts if part.resume}
        # A part may have the whole group's number: its file then takes the place of the group's, so it comes last.
        for number in sorted(resumed, key=lambda number: number == job.number):
            self._checkpoints.save(number, resumed[number])
        self._held.pop(job.number, None)
        if job.number not in resumed:  # last, so that there is always something to continue from
            self._checkpoints.drop(job.number)
        self._writer.go_back({n: part.resume.step if part.resume else -1 for part in parts for n in part.group.numbers})
        if len(parts) > 1:
            self._writer.regroup([each for group in self._writer.groups for each in _regrouped(group, parts)])
        sizes = ", ".join(str(len(part.group.trials)) for part in parts)
        where = f"step {parts[0].resume.step}" if parts[0].resume and parts[0].resume.step else "the start"
        self._writer.log(
            f"{counted(len(job.group.trials), 'trial')} {event.reason}; going on with {sizes} from {where}"
        )

    def _fail(self, job: Job, failure: str) -> None:
        group = job.group.only(self._writer.unfinished)
        self._drop(job.number)
        reason = failure.strip().splitlines()[-1]
        self._writer.log(f"trials {', '.join(map(str, group.numbers))} failed\n{failure}")
        self._writer.end(Outcome(number, "failed", reason=reason) for number in group.numbers)

    def _drop(self, group: int) -> None:
        self._held.pop(group, None)
        self._saves.pop(group, None)
        self._checkpoints.drop(group)


def _regrouped(group: Sequence[int], parts: Sequence[Job]) -> Iterator[Sequence[int]]:
    """Yield the parts of a recorded group that was cut, first the ended trials; or the group if it wasn't cut."""
    cut = {number for part in parts for number in part.group.numbers}
    if not cut & set(group):
        yield group
        return
    if ended := [number for number in group if number not in cut]:
        yield ended
    yield from (part.group.numbers for part in parts)


# Training

DRAWN_EVERY, DRAWN_SHARE = 30.0, 0.01
"""While trials train, tables and picture are updated at most once in so many seconds, and in at most this share of the
time."""
Begin = Callable[[RunSession], None]
"""Called once, with what is left to train and why."""


def run(plan: Plan, watch: Watch = lambda event: None, begin: Begin = lambda session: None) -> ComparedRun:
    """Train what is left of a plan and return its finished run folder.

    A folder that was already complete is returned as it is. Whatever stops it, the folder keeps every trial that has
    ended, every record and the checkpoints, and the same call continues from there.

    Raises:
        InputError: another process has the run, or its folder can't be made.
        BnexpError: the folder can't be written, or a trial failed and the plan says to stop then.
        KeyboardInterrupt: SIGINT or SIGTERM came; how far training got is saved.
    """
    if plan.state == "finished":
        return ComparedRun(plan.path)
    with _said(plan.path), Interrupts() as interrupts, open_run(plan) as session:
        begin(session)
        recorder = Recorder(session.writer, session.checkpoints, plan.config.train.checkpoint_every)
        try:
            _train(plan, session, recorder, watch, interrupts)
        except KeyboardInterrupt:
            with interrupts.held_off():
                recorder.stop("interrupted")
            raise
        session.writer.arrange()
        done = ComparedRun(plan.path)
        keep_images(done, plan.datasets.values())
        write_report_files(done)
        # Last: from here on the run counts as finished, including its tables and picture.
        session.writer.finish()
    vars(done).pop("environment", None)  # which has just got the time of the end
    return done


def _train(plan: Plan, session: RunSession, recorder: Recorder, watch: Watch, interrupts: Interrupts) -> None:
    writer, drawing = session.writer, Throttle(DRAWN_EVERY, DRAWN_SHARE)
    trials = sum(len(group.trials) for group in plan.groups)
    for jobs in _rounds(plan, session, watch):
        events = plan.engine.execute(jobs, plan.datasets, recorder.latest, plan.config.probes, trials)
        with closing(events):
            for event in events:
                # What the report needs is imported while workers train.
                import bnexp.report.figures.curves  # noqa: F401

                with interrupts.held_off():
                    recorder(event)
                    if event.ended and writer.unfinished and drawing.due():
                        writer.sync()
                        drawing.run(lambda: write_report_files(ComparedRun(plan.path)))
                watch(event)
                if event.failure and plan.options.fail_fast:
                    with interrupts.held_off():
                        recorder.stop("stopped at the first failure")
                    raise BnexpError(_stopped(plan, event))
                interrupts.deliver()


def _stopped(plan: Plan, event: Event) -> str:
    why = event.failure.strip().splitlines()[-1]
    return (
        f"{plan.path}: {why}; stopped at this first failure (--fail-fast). The same command trains the trials that "
        "are left; --retry-failed trains those that failed, too"
    )


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say in one line what the machine refused; an interruption names the run folder."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(str(path)) from None
    except BrokenPipeError:
        raise  # nobody reads the output any more, which is not the folder's fault
    except (OSError, DamagedRunError) as error:
        refused = error if isinstance(error, OSError) else error.refused
        if not refused:  # files went missing while training wrote them
            raise BnexpError(f"{error}; the same command restores what it can") from error
        raise refusal(path, refused) from error
    except MemoryError as error:
        raise BnexpError(f"{path}: too little memory to save it; the same command continues with more") from error
