"""What the reliability tests share: a tiny experiment, processes to stop at any moment, and what has to be left then.

Tests hand their work to processes that have torch loaded and have not trained yet. These fork as often as a test
needs a process to stop, which takes hundredths of a second instead of seconds.
"""

import gc
import json
import multiprocessing
import os
import pickle
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import pytest
import torch

from bnexp import screen
from bnexp.analysis.runs import ComparedRun
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.yaml import parse, to_yaml
from bnexp.engines.engine import EngineChoice
from bnexp.engines.messages import Event
from bnexp.plan import Options, run_name
from bnexp.report.summary import write_report_files
from bnexp.runner import run as runner
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.runner.tuning import run_with_tuning
from bnexp.store.files import AppendOnlyFile
from bnexp.store.files import replace as replace_file
from bnexp.store.integrity import examine
from bnexp.store.reader import RunRecord, finished_run
from bnexp.training.group_state import GroupTrainState
from tests.helpers import experiment
from tests.reliability.faults import (
    EXPERIMENT,
    PATIENCE,
    Child,
    Made,
    command,
    fast_folder,
    made_runs,
    replayed,
    results,
    unhurried,
)

SELDOM, OFTEN = 1e9, 1e-9
"""Seconds between checkpoints: none at all, or one at every record that can be continued."""
FILMED = ("trials.csv", "curves.csv", "checksums.txt")
"""What a reader of a run's tables reads, in this order."""
LOST = 70
"""Exit code of a process that has seen a record vanish."""


def tiny(every: float = OFTEN, **raw: Any) -> ExperimentConfig:
    """Two groups, none and before, of two trials each, of which the one with the absurd rate diverges."""
    settings: dict[str, Any] = parse(EXPERIMENT, "tiny") | {"probes": []}
    train = settings["train"] | {"checkpoint_every": every} | raw.pop("train", {})
    return experiment(**settings | raw | {"train": train})


@pytest.fixture(scope="session")
def made() -> Iterator[Made]:
    """A tiny run that is trained once, finished and interrupted, to be copied and replayed."""
    with made_runs() as made:
        yield made


@pytest.fixture
def replay(made: Made) -> Iterator[None]:
    """Let runs replay the recorded training."""
    with pytest.MonkeyPatch.context() as patch:
        replayed(patch, made)
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with exp.yaml in it."""
    with fast_folder() as folder:
        (folder / "exp.yaml").write_text(EXPERIMENT)
        yield folder


# Processes

InAWorker = Callable[..., Any]


@pytest.fixture(scope="session")
def in_a_worker() -> Iterator[InAWorker]:
    """A function that does something in a process that has everything loaded; what fails there fails here.

    Nothing was trained in it, since torch can't train in a fork of a process that has.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "bnexp.report.figures.curves", __name__])
    root = str(Path(__file__).parents[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))
        patch.setenv("OMP_NUM_THREADS", "1")
        pool = ProcessPoolExecutor(1, mp_context=context)
        pool.submit(_warm_up).result(PATIENCE)  # which starts it
    with pool:
        yield lambda work, *details: pool.submit(work, *details).result(5 * PATIENCE)


def _warm_up() -> None:
    """Do once what takes time the first time: whatever training and a report load."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as place:
        task = Task(tiny(), Path(place) / "runs")
        prepare(task.config, task.runs, "cpu")
        with task.start() as child:
            assert child.code == 0, child.said
        write_report_files(ComparedRun(task.path))
    gc.freeze()


# What a process does to its files


class Operations:
    """Counts what this process does to the files below a folder, and calls something before each of them.

    What is appended goes out in two parts, as a system may do it. Nothing is put back: the process is a fork.

    Args:
        place: folder in which files count.
        before: called with the number of the operation, from 1, and its name.
        flush: whether files are really flushed to the disk, which takes most of the time.
    """

    def __init__(self, place: Path, before: Callable[[int, str], None], *, flush: bool = False):
        self.names: list[str] = []
        self.flushed = {(at := path.stat()).st_ino: at.st_size for path in place.rglob("*")}
        """How much of a file is on the disk, by inode."""
        self._folder, self._before = f"{place}{os.sep}", before
        self._fsync = os.fsync if flush else lambda number: None
        self._patch_appender()
        os.fsync = self._flush  # type: ignore[assignment]
        sys.addaudithook(self._see)

    def step(self, what: str, path: object) -> None:
        """Count an operation."""
        if isinstance(path, str | os.PathLike) and str(path).startswith(self._folder):
            self.names.append(f"{what} {re.sub(r'[.][0-9]+$', '', os.path.basename(path))}")
            self._before(len(self.names), self.names[-1])

    def _see(self, event: str, details: tuple[Any, ...]) -> None:
        to_write = event == "open" and isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR)
        if to_write or event in ("os.rename", "os.remove", "os.mkdir", "shutil.rmtree"):
            self.step(event, details[0])
        if event in ("os.rename", "os.remove") and os.path.isfile(gone := details[event == "os.rename"]):
            self.flushed.pop(os.stat(gone).st_ino, None)  # another file may get the number

    def _flush(self, number: Any) -> None:
        descriptor = number if isinstance(number, int) else number.fileno()
        self.step("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        self._fsync(descriptor)
        about = os.fstat(descriptor)
        self.flushed[about.st_ino] = about.st_size

    def _patch_appender(self) -> None:
        begin, step = AppendOnlyFile.__init__, self.step

        def torn(self: AppendOnlyFile, path: Path) -> None:
            begin(self, path)
            self._file = _InTwoParts(self._file, path, step)  # type: ignore[assignment]

        AppendOnlyFile.__init__ = torn  # type: ignore[method-assign]


class _InTwoParts:
    """A file that takes what is written into it in two parts."""

    def __init__(self, file: Any, path: Path, step: Callable[[str, object], None]):
        self._file, self._path, self._step = file, path, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        at = crc32(content) % len(content)
        self._step("write", self._path)
        self._file.write(content[:at])
        self._step("write the rest of", self._path)
        return at + int(self._file.write(content[at:]))


class Watch:
    """Ends the process if a row of curves.csv goes that was there when this was last called.

    Args:
        path: the run folder; where there is none any more, it was given another name.
        but: rows that may go.
    """

    def __init__(self, path: Path, but: set[bytes]):
        self._path, self._but, self._seen = path, but, rows(path) - but

    def __call__(self) -> None:
        now = rows(self._path) - self._but
        if (lost := self._seen - now) and self._path.exists():
            print(f"{len(lost)} records are gone: {sorted(lost)[:2]}", file=sys.stderr)
            os._exit(LOST)
        self._seen = now


# Training in a process


@dataclass(frozen=True)
class Task:
    """An experiment to run in a process of its own, and what happens to it."""

    config: ExperimentConfig
    runs: Path
    options: Options = field(default_factory=Options)
    stop: int | str = 0
    """The operation on files before which the process is hit, by its number or its name; 0 for none."""
    signal: int = signal.SIGKILL
    """What it is hit by."""
    report: bool = False
    """Whether the real tables and the picture are written in the end, which takes most of the time."""
    flush: bool = False
    """Whether files are flushed to the disk."""
    breaks: bool = False
    """Whether the group with BN, which is the first, breaks in its second epoch."""
    stuck: str = ""
    """The operation on files that takes forever."""
    command: bool = False
    """Whether the command does it."""
    filmed: bool = False
    """Whether what is in its tables is kept, as it is before every operation."""
    power: bool = False
    """Whether the power fails at the same moment, so that some of what was not flushed is lost."""

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.runs / run_name(self.config)

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.runs.with_name(f"{self.runs.name}-{self.path.name}.log")

    @property
    def answer(self) -> "Answer":
        """What the process did, if it came to its end."""
        return Answer(**json.loads(self.log.with_suffix(".json").read_text()))

    @property
    def trained(self) -> set[tuple[int, int]]:
        """Trial and step of every record that the process made."""
        lines = self.log.with_suffix(".trained").read_text().splitlines()
        return {(int(trial), int(step)) for trial, step in map(str.split, lines)}

    @property
    def film(self) -> list[dict[str, bytes]]:
        """The tables before every operation of the process, once there is a run, by the names of their files."""
        found: list[dict[str, bytes]] = pickle.loads(self.log.with_suffix(".film").read_bytes())
        return found

    @property
    def words(self) -> list[str]:
        """The command that does the same."""
        file = self.log.with_suffix(".yaml")
        file.write_text(to_yaml(self.config.model_dump(mode="json")))
        options = [f"--{name.replace('_', '-')}" for name, value in vars(self.options).items() if value]
        return ["run", str(file), "--runs", str(self.runs), "--device", "cpu", "--quiet", *options]

    @property
    def is_stuck(self) -> bool:
        """Whether the process has come to where it gets stuck."""
        return self.log.with_suffix(".stuck").exists()

    def start(self) -> Child:
        """Begin it."""
        self.log.with_suffix(".trained").write_text("")
        for suffix in (".json", ".stuck"):
            self.log.with_suffix(suffix).unlink(missing_ok=True)
        return Child(self._train, self.log)

    def _train(self) -> None:
        unhurried(pytest.MonkeyPatch())
        if not self.report:
            runner.write_report_files = _write_little
        if self.breaks:
            _break_updates()
        watch = Watch(self.path, unsound(self.path, self.config) if self.power else set())

        def before(number: int, name: str) -> None:
            watch()
            if self.filmed and RunRecord.exists(self.path):
                film.append({file: _read(self.path / file) for file in FILMED})
            if self.stop in (number, name):
                if self.power:
                    _fail_power(self.path, operations.flushed, number)
                os.kill(os.getpid(), self.signal)
            if name == self.stuck:
                self.log.with_suffix(".stuck").touch()
                wait()

        operations = Operations(self.runs, before, flush=self.flush)
        damage: list[str] = []
        film: list[dict[str, bytes]] = []
        with self.log.with_suffix(".trained").open("a", buffering=1) as trained:

            def see(event: Event) -> None:
                if event.progress:
                    record = event.progress.record
                    trained.writelines(f"{number} {record.step}\n" for number in record.trials)

            if self.command:
                screen.RunDisplay.see = lambda self, event: see(event)  # type: ignore[method-assign]
                command(*self.words)
            where = EngineChoice("cpu", workers=1)
            run_with_tuning(
                [("", self.config)],
                self.runs,
                where,
                self.options,
                lambda plan: run(plan, see, lambda opened: damage.extend(opened.damage)),
            )
        self.log.with_suffix(".film").write_bytes(pickle.dumps(film))
        self.log.with_suffix(".json").write_text(json.dumps({"operations": operations.names, "damage": damage}))


@dataclass(frozen=True)
class Answer:
    """What a process did that came to its end."""

    operations: list[str]
    damage: list[str]


def wait(happened: Callable[[], object] = lambda: False) -> None:
    """Wait for something, or forever, in short sleeps: a signal that comes just before one is seen only after it."""
    until = time.monotonic() + 2 * PATIENCE  # by when whoever started this process has given up
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.005)


def _write_little(record: RunRecord) -> None:
    replace_file(record.path / "summary.csv", "metric")
    replace_file(record.path / "summary.md", "# tiny")
    (record.path / "curves.png").write_text("a picture")


def _break_updates() -> None:
    update = GroupTrainState.update

    def breaking(self: GroupTrainState, batch_SB: torch.Tensor, rate_K1: torch.Tensor, step: torch.Tensor) -> None:
        if step == 6 and self.group.settings.model.norm.kind != "none":
            raise RuntimeError("the device is gone")
        update(self, batch_SB, rate_K1, step)

    GroupTrainState.update = breaking  # type: ignore[method-assign]


def _fail_power(run_folder: Path, flushed: dict[int, int], number: int) -> None:
    for path in run_folder.rglob("*"):
        if path.is_file():
            about = path.stat()
            kept = min(flushed.get(about.st_ino, 0), about.st_size)
            os.truncate(path, kept + crc32(f"{number} {path.name}".encode()) % (about.st_size - kept + 1))


# What is in a run folder


def rows(path: Path) -> set[bytes]:
    """Return the whole rows of a run's curves.csv, without the seconds, which no two runs share."""
    content = _read(path / "curves.csv")
    return {line.rpartition(b",")[0] for line in content[: content.rfind(b"\n") + 1].splitlines()[1:]}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def unsound(path: Path, config: ExperimentConfig) -> set[bytes]:
    """Return those rows whose checksum is missing."""
    sound = examine(path, config).intact().rows["curves.csv"]
    return rows(path) - {",".join(row[:-1]).encode() for row in sound}


def places(path: Path) -> set[tuple[int, int]]:
    """Return trial and step of every whole row of a run's curves.csv."""
    return {(int(trial), int(step)) for trial, _, step, *_ in (row.split(b",") for row in rows(path))}


def leftovers(path: Path) -> list[str]:
    """Return the names of files that only a process in training needs."""
    names = sorted(file.name for file in path.rglob("*"))
    return [name for name in names if re.fullmatch(r"[.].+[.][0-9]+|group-.*", name)]


def undisturbed(task: Task) -> tuple[dict[str, Any], list[str]]:
    """Return the results of a task that nothing stops, and its operations on files."""
    task = replace(task, runs=task.runs.with_name(f"whole-{task.runs.name}"), command=False, stuck="")
    with task.start() as child:
        assert child.code == 0, child.said
    return results(task.path), task.answer.operations


def check_whole(path: Path, expected: dict[str, Any], where: str = "") -> None:
    """Fail unless a run is finished, as it should be, and equal to an undisturbed one."""
    found = results(path)
    for part in expected:
        assert found[part] == expected[part], f"{where}: {part} differs: {found[part]}"
    assert not leftovers(path), f"{where}: {leftovers(path)}"
    assert RunRecord(path).warnings == ()
    assert finished_run(path), f"{where}: not finished"
