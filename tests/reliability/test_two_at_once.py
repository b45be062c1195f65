"""Several processes in one folder of runs: one of them writes a run, and nobody reads anything wrong meanwhile."""

import json
import multiprocessing
import random
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from bnexp.plan import Options
from bnexp.report.figures import pictures
from bnexp.runner import prepare as preparing
from bnexp.store.integrity import Tables, examine
from bnexp.store.reader import RunRecord
from tests.cli.command import tree
from tests.reliability.conftest import (
    FILMED,
    SELDOM,
    InAWorker,
    Operations,
    Task,
    check_whole,
    leftovers,
    rows,
    tiny,
    undisturbed,
    wait,
)
from tests.reliability.faults import Child, command, results

READINGS = 400
"""Ways to meet the files of a run's tables, of all that there are."""
MEANWHILE = "fsync .group-001.safetensors"
"""Where a process stops whose run another one wants: in its second group."""


def content(folder: Path) -> dict[str, tuple[bytes | None, int]]:
    """Return all that is below a folder, and when it was written, but for locks, which are touched to try them."""
    return {name: (found, (folder / name).stat().st_mtime_ns) for name, found in tree(folder).items()}


def refused(task: Task, options: Options) -> None:
    """Start the command of a task while another process is at it, which then finishes undisturbed."""
    expected, _ = undisturbed(task)
    with replace(task, stuck=MEANWHILE).start() as owner:
        owner.until(lambda: task.is_stuck)
        before = content(task.runs)
        second = Child(lambda: command(*replace(task, options=options).words), task.log.with_suffix(".second"))
        with second:
            assert second.code == 2, second.said
        said = re.fullmatch(
            r"bnexp: (.+): process (\d+) on (.+), since (.+), is running this experiment; wait for it, or stop it\n",
            second.said,
        )
        assert said, second.said
        assert said.groups()[:3] == (str(task.path), str(owner.pid), socket.gethostname())
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", said[4])
        assert content(task.runs) == before
        owner.send(signal.SIGKILL)
        assert owner.code == -signal.SIGKILL
    # Its lock and its name are still there.
    assert {".lock", ".owner.json"} <= {path.name for path in task.path.iterdir()}
    with task.start() as heir:
        assert heir.code == 0, heir.said
    assert json.loads((task.path / ".owner.json").read_text())["process"] == heir.pid
    check_whole(task.path, expected)


@pytest.mark.parametrize(
    "options",
    [{}, {"rerun": True}, pytest.param({"retry_failed": True}, marks=pytest.mark.slow)],
    ids=["again", "rerun", "retry"],
)
def test_the_second_of_two_is_refused_and_changes_nothing_until_the_first_is_dead(
    in_a_worker: InAWorker, tmp_path: Path, options: dict[str, bool]
) -> None:
    in_a_worker(refused, Task(tiny(), tmp_path / "runs"), Options(**options))


def overtaken(task: Task) -> None:
    """Let another process start a run over after a command has made sure that nobody is at it, but before it is."""
    ready, go = task.runs.with_name("ready"), task.runs.with_name("go")
    with task.start() as earlier:
        assert earlier.code == 0, earlier.said
    again = replace(task, options=Options(rerun=True), stuck=MEANWHILE)
    words = again.words

    def pause(number: int, name: str) -> None:
        if number == 1:
            ready.touch()
            wait(go.exists)

    def work() -> None:
        preparing.check_free = lambda path: None  # type: ignore[assignment]
        Operations(task.runs, pause)
        command(*words)

    with Child(work, task.runs.with_name("late.log")) as late:
        late.until(ready.exists)
        with again.start() as owner:
            owner.until(lambda: again.is_stuck)
            before = content(task.runs)
            go.touch()
            assert late.code == 2, late.said
            assert f"process {owner.pid} on " in late.said
            assert content(task.runs) == before


def test_a_command_that_is_overtaken_leaves_the_other_one_alone(in_a_worker: InAWorker, tmp_path: Path) -> None:
    in_a_worker(overtaken, Task(tiny(), tmp_path / "runs"))


def race(task: Task, count: int) -> None:
    """Start the same experiment several times at the same moment."""
    expected, _ = undisturbed(task)
    start, words = multiprocessing.get_context("fork").Event(), task.words

    def work() -> None:
        start.wait()
        command(*words)

    with ExitStack() as stack:
        logs = [task.runs.with_name(f"racer-{number}.log") for number in range(count)]
        racers = [stack.enter_context(Child(work, log)) for log in logs]
        start.set()
        codes = [racer.code for racer in racers]
    said = [racer.said for racer in racers]
    assert set(codes) <= {0, 2}, said
    assert 0 in codes, said
    assert all("is running this experiment" in text for code, text in zip(codes, said, strict=True) if code), said
    check_whole(task.path, expected)


def test_of_four_that_start_at_once_one_at_least_does_it_and_none_disturbs_it(
    in_a_worker: InAWorker, tmp_path: Path
) -> None:
    in_a_worker(race, Task(tiny(), tmp_path / "runs"), 4)


def side_by_side(tasks: list[Task]) -> None:
    """Run different experiments in one folder at the same time, each of them in steps with the others."""
    expected = [undisturbed(task)[0] for task in tasks]
    with ExitStack() as stack:
        runs = [stack.enter_context(task.start()) for task in tasks]
        assert [child.code for child in runs] == [0] * len(tasks), [child.said for child in runs]
    for task, results_ in zip(tasks, expected, strict=True):
        check_whole(task.path, results_)


def test_different_experiments_train_side_by_side(in_a_worker: InAWorker, tmp_path: Path) -> None:
    configs = [tiny(), tiny(model={"depth": 1, "width": 8}), tiny(name="other")]
    in_a_worker(side_by_side, [Task(config, tmp_path / "runs") for config in configs])


# Reading meanwhile


def moments(film: list[dict[str, bytes]]) -> list[tuple[int, ...]]:
    """Return the moments at which a reader may read three files, one after the other, where that makes a difference."""
    starts = [[i for i, at in enumerate(film) if i == 0 or at[name] != film[i - 1][name]] for name in FILMED]
    ends = [dict(zip(some, [*some[1:], len(film)], strict=True)) for some in starts]

    def follow(read: tuple[int, ...], now: int) -> Iterator[tuple[int, ...]]:
        if len(read) == len(FILMED):
            yield read
            return
        for start, end in ends[len(read)].items():
            if end > now:
                yield from follow((*read, max(now, start)), max(now, start))

    return list(follow((), 0))


def read_between(task: Task, place: Path, seed: int) -> None:
    """Read a run's tables in all ways in which a reader can meet their files; none may be wrong."""
    with task.start() as child:
        assert child.code == 0, child.said
    film, whole = task.film, RunRecord(task.path)
    place.mkdir()
    shutil.copy(task.path / "config.yaml", place)
    for name in FILMED:
        (place / name).touch()
    chosen = moments(film)
    assert len(chosen) > 50
    random.Random(seed).shuffle(chosen)
    for read in (*chosen[:READINGS], *((i, i, i) for i in range(len(film)))):
        tables = read_at(film, read, place, task)
        assert not tables.faults, f"{read}: {tables.faults}"
        check_read(tables, whole)


def read_at(film: list[dict[str, bytes]], read: tuple[int, ...], place: Path, task: Task) -> Tables:
    """Read the tables, each file as it was at the next of some moments."""
    left, really = iter(read), Path.read_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Path,
            "read_bytes",
            lambda path: film[next(left)][path.name] if path.name in FILMED else really(path),
        )
        return examine(place, task.config)


def check_read(tables: Tables, whole: RunRecord) -> None:
    """Fail unless all that was read is in the final tables, but for trials that had failed before."""
    final = {row.rpartition(b",")[0].decode() for row in (whole.path / "curves.csv").read_bytes().splitlines()}
    assert {",".join(row[:-1]) for row in tables.curves.rows} <= final
    for row in tables.trials.rows:
        assert row[4] in ("", "failed", whole.trials["outcome"][int(row[0])])


def begun(variant: str, runs: Path) -> Task:
    """Return a task that goes on from what a variant leaves."""
    task = Task(tiny(SELDOM), runs)
    if variant != "new":
        with replace(task, stop=60 if variant == "continued" else 0, breaks=variant == "retried").start() as child:
            assert child.code in (0, -signal.SIGKILL), child.said
    return replace(task, options=Options(retry_failed=variant == "retried"), filmed=True)


def read_variant(variant: str, folder: Path) -> None:
    """Read the tables of a variant while it is written."""
    read_between(begun(variant, folder / "runs"), folder / "read", seed=0)


@pytest.mark.parametrize("variant", ["new", "continued", "retried"])
def test_whatever_moments_a_reader_meets_the_files_at_it_reads_nothing_wrong(
    in_a_worker: InAWorker, tmp_path: Path, variant: str
) -> None:
    in_a_worker(read_variant, variant, tmp_path)


def watched(task: Task, at_least: int) -> None:
    """Read a run by every command, again and again, while it is trained, killed and continued."""
    over = task.runs.with_name("over")
    reader = Child(lambda: read_on(task, over), task.runs.with_name("reader.log"))
    with reader:
        for left in (at_least, 0):  # the first time it is killed when it has so many rows
            with task.start() as writer:
                writer.until(lambda left=left: not writer.running or (left and len(rows(task.path)) >= left))  # type: ignore[misc]
                writer.send(signal.SIGKILL)
        assert writer.code == 0, writer.said
        over.touch()
        assert reader.code == 0, reader.said
    seen = json.loads(task.runs.with_name("reader.json").read_text())
    final = {row.decode() for row in rows(task.path)}
    assert min(seen["times"].values()) > 0, seen["times"]
    assert len(seen["rows"]) > at_least
    assert set(seen["rows"]) <= final
    assert results(task.path)["trials.csv"] == undisturbed(task)[0]["trials.csv"]


COMMANDS: dict[str, tuple[str, ...]] = {
    "list": ("list", "--json"),
    "compare": ("compare", "--json"),
    "report": ("report",),
}


UNFINISHED = re.compile(
    r"bnexp: left out: .*: no trial has (ended|a finished partner)\n|"
    r"bnexp: tiny-\w+: \d of 6 trials have ended so far\n"
)
"""What `report` says of a run that is not finished."""


def read_on(task: Task, over: Path) -> None:
    """Read until it is over; an error, or anything else on stderr, ends it."""
    wait(lambda: RunRecord.exists(task.path))
    seen, times = set[bytes](), dict.fromkeys(COMMANDS, 0)
    while not over.exists():
        for name, words in COMMANDS.items():
            out, err = StringIO(), StringIO()
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                command(*words, "--runs", task.runs)
            assert ended.value.code in (0, None), f"{name}: {err.getvalue()}"
            other = UNFINISHED.sub("", err.getvalue())
            assert other == "", f"{name}: {other}"
            assert '"damaged"' not in out.getvalue(), out.getvalue()
            times[name] += 1
            for _ in range(20):
                RunRecord(task.path).check()
                seen |= rows(task.path)
    answer = {"rows": sorted(row.decode() for row in seen), "times": times}
    task.runs.with_name("reader.json").write_text(json.dumps(answer))


def reporting(task: Task) -> None:
    """Continue a run while its report is half written."""
    done, report = task.runs.with_name("done"), task.runs.with_name("report")

    def pause(number: int, name: str) -> None:
        if name == "os.rename .report.html":
            report.touch()
            wait(done.exists)

    def work() -> None:
        pictures.writers = lambda *study: []  # which take long, and are written as the page is
        Operations(task.runs, pause)
        command("report", "--runs", task.runs)

    with replace(task, stop=80).start() as child:
        assert child.code == -signal.SIGKILL, child.said
    with Child(work, report.with_suffix(".log")) as reader:
        reader.until(report.exists)
        with task.start() as writer:
            assert writer.code == 0, writer.said
        done.touch()
        assert reader.code == 0, reader.said
    assert (task.path / "report.html").exists()
    assert not leftovers(task.path)


def test_a_run_that_is_continued_while_its_report_is_written_leaves_that_alone(
    in_a_worker: InAWorker, tmp_path: Path
) -> None:
    in_a_worker(reporting, Task(tiny(SELDOM), tmp_path / "runs"))


@pytest.mark.slow
def test_commands_that_read_a_run_in_training_find_nothing_wrong(in_a_worker: InAWorker, tmp_path: Path) -> None:
    config = tiny(SELDOM, train={"epochs": 60}, arms=["none", "before", "after"])
    in_a_worker(watched, Task(config, tmp_path / "runs", flush=True), 300)
