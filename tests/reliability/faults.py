"""A tiny run that is trained once and replayed in milliseconds, commands in forks, and a disk that refuses."""

import errno
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest
from safetensors.numpy import load_file

from bnexp.cli.main import main
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.yaml import parse
from bnexp.engines import throttle as pace
from bnexp.engines.local import Local
from bnexp.engines.messages import Event, Job
from bnexp.errors import BnexpError
from bnexp.plan import Options
from bnexp.records import Snapshot
from bnexp.runner import run as runner
from bnexp.runner.prepare import Plan, prepare
from bnexp.store import reader, writer
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.files import PICTURE, SUMMARIES
from bnexp.store.files import replace as replace_file
from bnexp.store.reader import RunRecord
from bnexp.training.loop import Progress

PATIENCE = 120.0
"""Seconds after which something that should have happened counts as not happening, on a machine that is busy."""
CUT_AT = 6
"""Events after which the unfinished run was interrupted: the first group has ended, the second has a checkpoint."""
EVENTS = 8
"""Count in a whole run: two groups with a record before training and three epochs."""


EXPERIMENT = """\
name: tiny
data: {name: digits, train_size: 160, val_size: 40, test_size: 40}
model: {depth: 2, width: 8, activation: relu, dropout: 0.2}
arms: [none, before]
train: {epochs: 3, batch_size: 32, momentum: 0.9, checkpoint_every: 1e-9}
grid: {train.lr: [0.1, 1e30]}
probes: [{name: update_ratio, layers: [output]}]
seeds: 1
"""


@cache
def tiny() -> ExperimentConfig:
    """Two groups, none and before, of two trials each, of which one diverges; a checkpoint at every record."""
    return resolve(parse(EXPERIMENT, "tiny"), "tiny")


@contextmanager
def fast_folder() -> Iterator[Path]:
    """An empty folder in memory where the system has one, since nothing here depends on a disk."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared, prefix="bnexp-") as folder:
        yield Path(folder)


def results(run: Path) -> dict[str, Any]:
    """All that two runs of one experiment share: the tables to the byte but for the seconds, and the weights."""
    tables = {name: (run / name).read_bytes().splitlines() for name in ("trials.csv", "curves.csv")}
    probes = run / "probes.csv"
    weights = {file.name: load_file(file) for file in sorted((run / "checkpoints").iterdir())}
    return {
        **{name: [line.rpartition(b",")[0] for line in lines] for name, lines in tables.items()},
        "probes.csv": probes.read_bytes().splitlines() if probes.exists() else [],
        "weights": {name: {key: array.tobytes() for key, array in some.items()} for name, some in weights.items()},
    }


def message(act: Callable[[], object]) -> str:
    """Do something; return the message that it ends with, or nothing; no other error is expected."""
    try:
        act()
    except BnexpError as error:
        return str(error) or "an error without a message"
    return ""


# A training that is replayed


@dataclass
class Replay:
    """What a real training yielded, to be yielded again: stands in for `execute`."""

    groups: dict[tuple[int, ...], list[Progress]] = field(default_factory=dict)
    trained: list[tuple[int, ...]] = field(default_factory=list)
    """Groups in the order in which they were replayed, by the numbers of their trials."""

    def watch(self, event: Event) -> None:
        """Keep what a real training yields."""
        if event.progress:
            copied = event.progress.snapshot()
            kept = replace(event.progress, snapshot=lambda: copied)
            self.groups.setdefault(event.job.group.numbers, []).append(kept)

    @property
    def execute(self) -> Callable[..., Iterator[Event]]:
        """The engine's method of this name."""
        return lambda engine, *arguments: self(*arguments)

    def __call__(
        self, jobs: Sequence[Job], datasets: Any, latest: Callable[[int], Snapshot | None], probes: Any, trials: int
    ) -> Iterator[Event]:
        """Yield the events of some jobs; one that goes on does so from exactly the state of that step."""
        for job in jobs:
            self.trained.append(job.group.numbers)
            for progress in self.groups[job.group.numbers]:
                if job.resume is None or progress.record.step > job.resume.step:
                    yield Event(job, progress)
                elif progress.record.step == job.resume.step:
                    assert _same(job.resume, progress.snapshot())


def _same(one: Snapshot, other: Snapshot) -> bool:
    arrays = [{name: array.tobytes() for name, array in each.arrays.items()} for each in (one, other)]
    return (one.trials, one.epoch, arrays[0]) == (other.trials, other.epoch, arrays[1])


@dataclass(frozen=True)
class Made:
    """Two run folders that nobody changes, and how to train them again in no time."""

    folder: Path
    finished: Path
    """A whole run."""
    unfinished: Path
    """The same run, interrupted after CUT_AT events."""
    replay: Replay = field(repr=False)
    results: dict[str, Any] = field(repr=False)
    """What the whole run ends with."""
    plan: Plan = field(repr=False)
    """Its plan."""

    def copy(self, which: str, runs: Path) -> Path:
        """Lay a copy of `finished` or `unfinished` into an emptied folder; return the run folder."""
        shutil.rmtree(runs, ignore_errors=True)
        shutil.copytree(getattr(self, which).parent, runs)
        return runs / self.finished.name


class Stopped(BaseException):
    """Ends a run on the spot, as a kill does."""


def stopping(after: int, then: Callable[[], None] | None = None) -> Callable[[Event], None]:
    """A watch that does something at the given event, counted from 1: by default it ends the run there.

    What only says how far trials are doesn't count.
    """
    seen: list[Event] = []

    def watch(event: Event) -> None:
        if event.step is not None:
            return
        seen.append(event)
        if len(seen) == after:
            if then is None:
                raise Stopped
            then()

    return watch


@contextmanager
def made_runs() -> Iterator[Made]:
    """Train the tiny run once, for real and with its report, and once up to the interruption."""
    replay = Replay()
    with pytest.MonkeyPatch.context() as patch, fast_folder() as folder:
        unhurried(patch)
        run = runner.run(prepare(tiny(), folder / "finished", "cpu"), replay.watch)
        with pytest.raises(Stopped):
            runner.run(prepare(tiny(), folder / "unfinished", "cpu"), stopping(CUT_AT))
        unfinished = folder / "unfinished" / run.path.name
        plan = prepare(tiny(), folder / "none", "cpu")
        yield Made(folder, run.path, unfinished, replay, results(run.path), plan)


def unhurried(patch: pytest.MonkeyPatch) -> None:
    """Take every copy and checkpoint that is asked for, whatever share of the time it takes."""
    for share in ("HELD_SHARE", "SAVED_SHARE"):
        patch.setattr(pace, share, float("inf"))


def replayed(patch: pytest.MonkeyPatch, made: Made) -> None:
    """From here on runs replay the recorded training, write the recorded report, and look up nothing twice."""
    unhurried(patch)
    plan = made.plan
    report = {name: (made.finished / name).read_bytes() for name in (*SUMMARIES, PICTURE)}
    written_later = ("format", "started", "ended", "groups")
    ran_on = {k: v for k, v in RunRecord(made.finished).environment.items() if k not in written_later}

    def write_report(record: RunRecord) -> None:
        assert record.complete
        for name, content in report.items():
            replace_file(record.path / name, content)

    patch.setattr(Local, "execute", made.replay.execute)
    images = Checkpoints(made.finished).images()
    assert images

    patch.setattr(runner, "write_report_files", write_report)
    patch.setattr(runner, "keep_images", lambda run, datasets: Checkpoints(run.path).keep_images(images))
    patch.setattr(runner, "environment", lambda engine: ran_on)
    patch.setattr(Local, "load", lambda self, groups: plan.datasets)
    patch.setattr(Local, "schedule", lambda self, groups, *others, begun: sorted(groups, key=plan.groups.index))
    text = writer.to_yaml(tiny().model_dump(mode="json"))
    patch.setattr(writer, "to_yaml", lambda value: text)
    patch.setattr(reader, "parse", _remembering(reader.parse))
    patch.setattr(reader, "resolve", _remembering(reader.resolve))


def _remembering(function: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    known: dict[str, Any] = {}

    def remembered(value: Any, source: str) -> Any:
        key = repr(value)
        if key not in known:
            known[key] = function(value, source)
        return known[key]

    return remembered


def trained_again(runs: Path, watch: Callable[[Event], None] = lambda event: None, **options: bool) -> RunRecord:
    """`bnexp run` of the tiny experiment, in this process."""
    return runner.run(prepare(tiny(), runs, "cpu", options=Options(**options)), watch)


@contextmanager
def as_nobody() -> Iterator[None]:
    """For the superuser, whom permissions don't stop, be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class Child:
    """A fork of this process that does one thing; it is gone when the block ends.

    Args:
        work: what it does.
        log: gets what it prints to stderr; what it prints to stdout goes beside it.
    """

    def __init__(self, work: Callable[[], object], log: Path):
        self._log = log
        self.pid = os.fork()
        if not self.pid:
            _do(work, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if "code" not in self.__dict__:
            self.send(signal.SIGKILL)
            self.send(signal.SIGCONT)
            assert self.code != 0

    @cached_property
    def code(self) -> int:
        """How it ended, after waiting for that; the number of a signal is negative."""
        until = time.monotonic() + PATIENCE
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"no end after {PATIENCE} s: {self.said}")
            time.sleep(0.002)
        return os.waitstatus_to_exitcode(ended[1])

    @property
    def said(self) -> str:
        """What it has printed to stderr so far."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def running(self) -> bool:
        """Whether it hasn't ended."""
        if "code" in self.__dict__:
            return False
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.__dict__["code"] = os.waitstatus_to_exitcode(status)
        return not pid

    def send(self, number: int) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for something that it should bring about."""
        until = time.monotonic() + PATIENCE
        while not happened():
            assert self.running, f"ended with {self.code} before: {self.said}"
            assert time.monotonic() < until, f"not after {PATIENCE} s: {self.said}"
            time.sleep(0.002)


def _do(work: Callable[[], object], log: Path) -> NoReturn:
    code = 1
    try:
        for number, path in ((1, log.with_suffix(".out")), (2, log)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (for as long as the process lives)
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        work()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def command(*words: object) -> None:
    """Run `bnexp` in this process, which ends with it."""
    sys.argv = ["bnexp", *map(str, words)]
    main()


def in_a_child(folder: Path, *words: str, before: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """`bnexp` with some words in a fork of this process; return its exit code and what it said on stderr."""

    def work() -> None:
        os.chdir(folder)
        said, (_, most) = io.StringIO(), resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            with redirect_stderr(said):
                before()
                command(*words)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # what it said goes into a file, too
            sys.stderr.write(said.getvalue())

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as place:
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which a replayed training doesn't use
        with Child(work, Path(place) / "log") as child:
            return child.code, child.said


# A disk that refuses

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EDQUOT)


@dataclass
class Disk:
    """Counts what is done to the files below a folder, and refuses one operation, or all from one on."""

    folder: Path
    refused: int
    """Number of the first operation that is refused, counted from 1."""
    error: int
    lasting: bool
    """Whether all that comes after it is refused, too."""
    reading: bool = False
    """Whether opening a file to read it counts."""
    done: list[str] = field(default_factory=list)
    """The operations so far."""

    def refuses(self, what: str, path: Any) -> bool:
        """Count an operation if it concerns the folder; say whether it must fail."""
        if isinstance(path, int) or not os.fspath(path).startswith(str(self.folder)):
            return False
        self.done.append(f"{what} {os.fspath(path)}")
        return len(self.done) == self.refused or (self.lasting and len(self.done) > self.refused)

    def failure(self, path: Any = None) -> OSError:
        """What the system raises."""
        where = () if path is None else (os.fspath(path),)
        return OSError(self.error, os.strerror(self.error), *where)

    @contextmanager
    def failing(self) -> Iterator["Disk"]:
        """Let all of Python's ways to files lead through here."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("replace", "rename", "unlink", "mkdir"):
                patch.setattr(os, name, self._checked(name, getattr(os, name)))
            patch.setattr(os, "open", self._checked("open", os.open))
            patch.setattr(os, "fsync", self._fsync(os.fsync))
            opened = self._opened(io.open)
            patch.setattr(io, "open", opened)
            patch.setattr("builtins.open", opened)
            yield self

    def _checked(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(path: Any, *args: Any, **named: Any) -> Any:
            if self.refuses(what, path):
                raise self.failure(path)
            return function(path, *args, **named)

        return checked

    def _fsync(self, function: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(file: int) -> None:
            if self.refuses("fsync", os.readlink(f"/proc/self/fd/{file}")):
                raise self.failure()
            function(file)

        return fsync

    def _opened(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, mode: str = "r", buffering: int = -1, *args: Any, **named: Any) -> Any:
            reads = mode[:1] == "r"
            if isinstance(path, int) or (reads and not self.reading):
                return function(path, mode, buffering, *args, **named)
            if self.refuses("read" if reads else "open", path):
                raise self.failure(path)
            if reads or not os.fspath(path).startswith(str(self.folder)):
                return function(path, mode, buffering, *args, **named)
            return _wrapped(_File(self, path, mode[0]), mode, buffering, named.get("encoding"))

        return opened


class _File(io.FileIO):
    """A file on such a disk; a write that is refused has been half done."""

    def __init__(self, disk: Disk, path: Any, mode: str):
        super().__init__(path, mode)
        self._disk = disk

    def write(self, content: Any) -> int:
        """Write, unless it is refused."""
        if self._disk.refuses("write", self.name):
            super().write(bytes(content)[: len(content) // 2])
            raise self._disk.failure()
        return super().write(content)


def _wrapped(file: _File, mode: str, buffering: int, encoding: str | None) -> Any:
    if buffering == 0:
        return file
    buffered = io.BufferedWriter(file)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding=encoding)
