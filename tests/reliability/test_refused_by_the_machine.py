"""Full disks, vanished folders, too few files: one clear line, and the same command continues to the same result."""

import os
import re
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EIO
from pathlib import Path

import pytest

from bnexp.engines.local import Local
from bnexp.engines.messages import Event
from bnexp.errors import BnexpError, InputError
from bnexp.store.reader import recorded_groups
from tests.reliability.conftest import rows
from tests.reliability.faults import (
    ERRORS,
    EVENTS,
    Disk,
    Made,
    as_nobody,
    in_a_child,
    results,
    stopping,
    trained_again,
    unhurried,
)

SAID = re.compile(r"[^\n:]+: ([^\n]+); the same command (continues once that is solved|restores what it can)")
"""What a run says that the machine stopped."""
NOT_MADE = re.compile(r"[^\n]+: can't be made a run folder \([^\n]+\); choose another with --runs")
"""What it says where not even the folder could be made."""


def refused(act: Callable[[], object]) -> str:
    """Do what the machine refuses; return what is said of it, which is one line of the known words."""
    with pytest.raises(BnexpError) as caught:
        act()
    said = str(caught.value)
    if caught.type is InputError:
        assert NOT_MADE.fullmatch(said), said
    else:
        assert (SAID.fullmatch(said) is not None, caught.value.exit_code) == (True, 1), said
    return said


# A disk that refuses the n-th operation


def begin(how: str, made: Made, runs: Path) -> Path:
    """Lay out what a run starts from: nothing, an interrupted run, or one with a damaged row in each table."""
    if how == "new":
        shutil.rmtree(runs, ignore_errors=True)
        return runs / made.finished.name
    run = made.copy("unfinished", runs)
    if how == "damaged":
        for file in (run / "trials.csv", run / "curves.csv"):
            head, first, *others = file.read_bytes().split(b"\n")
            file.write_bytes(b"\n".join([head, first + b"1", *others]))
    return run


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize("how", ["new", "unfinished", pytest.param("damaged", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("most", "lasting"), [(1, True), pytest.param(5, False, marks=pytest.mark.slow)])
def test_whatever_operation_is_refused_nothing_is_lost(
    made: Made, folder: Path, how: str, most: int, lasting: bool
) -> None:
    """Refuse each kind of operation on each kind of file, so many times at most; an error in turn.

    Once is enough for what a run does that begins as well as one that goes on.
    """
    reading = how == "unfinished"
    seen_kinds, chosen, stopped = Counter[str](), list[int](), 0
    if how == "new" and most == 1:
        seen_kinds.update(map(kind, operations("unfinished", made, folder / "runs")))
    for number, done in enumerate(operations(how, made, folder / "runs", reading), 1):
        seen_kinds[kind(done)] += 1
        chosen += [number] if seen_kinds[kind(done)] <= most else []
    for number in chosen:
        run = begin(how, made, folder / "runs")
        before = {row for row in rows(run) if how != "damaged" or not row.startswith(b"1,")}
        disk = Disk(folder / "runs", number, ERRORS[number % len(ERRORS)], lasting, reading)
        seen: list[Event] = []
        with disk.failing():
            stopped += run_or_say(folder / "runs", seen)
        what = disk.done[number - 1]
        assert before | {row for event in seen for row in rows_of(event, made)} <= rows(run), what
        assert results(trained_again(folder / "runs").path) == made.results, what
        assert how == "damaged" or not list(run.glob("*.damaged-*")), what  # what can't be read may be intact
    assert stopped >= 0.7 * len(chosen)  # the others hit what can be done without


def operations(how: str, made: Made, runs: Path, reading: bool = False) -> list[str]:
    """Run with a disk that refuses nothing; return what was done to it."""
    begin(how, made, runs)
    with Disk(runs, 0, EIO, lasting=False, reading=reading).failing() as counting:
        trained_again(runs)
    return counting.done


def kind(done: str) -> str:
    """An operation and what kind of file it is on."""
    what, path = done.split(" ", 1)
    return f"{what} {re.sub('[0-9]+', '', Path(path).name)}"


def test_groups_that_can_not_be_read_are_not_made_up(made: Made, folder: Path) -> None:
    run = made.copy("unfinished", folder / "runs")
    with Disk(folder, 1, EIO, True, reading=True).failing():
        said = refused(lambda: recorded_groups(run))
    assert said == f"{run}: Input/output error; the same command continues once that is solved"
    assert recorded_groups(run) == [[1, 3], [0, 2]]


def run_or_say(runs: Path, seen: list[Event]) -> bool:
    """Run; return whether it was stopped, which it must say in the known words."""
    try:
        trained_again(runs, seen.append)
    except BnexpError as error:
        caught = error
        refused(lambda: _raise(caught))
        return True
    return False


def _raise(error: BnexpError) -> None:
    raise error


def rows_of(event: Event, made: Made) -> set[bytes]:
    """The rows of curves.csv that an event stands for."""
    assert event.progress is not None
    record = event.progress.record
    wanted = {(b"%d" % trial, b"%d" % record.step) for trial in record.trials}
    return {row for row in rows(made.finished) if (row.split(b",")[0], row.split(b",")[2]) in wanted}


# Real disks


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """A small disk in memory at a place."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize("room", ["size=8k", "size=24k", "size=48k", *(f"nr_inodes={n},size=1m" for n in (5, 8, 12))])
def test_a_disk_that_is_full_is_said_and_more_room_continues_the_run(made: Made, folder: Path, room: str) -> None:
    with mounted(folder / "disk", room):
        assert "No space left on device" in refused(lambda: trained_again(folder / "disk"))
        kept = rows(folder / "disk" / made.finished.name)
        remount(folder / "disk", "nr_inodes=100" if "inodes" in room else "size=1m")
        assert results(trained_again(folder / "disk").path) == made.results
        assert kept <= rows(folder / "disk" / made.finished.name)


@pytest.mark.usefixtures("replay")
def test_a_read_only_disk_is_refused_before_training_and_still_read(made: Made, folder: Path) -> None:
    disk = folder / "disk"
    with mounted(disk, "size=1m"):
        run = made.copy("unfinished", disk / "runs")
        remount(disk, "ro")
        code, said = in_a_child(folder, "run", "exp.yaml", "--runs", "disk/runs")
        reason = "disk/runs: can't hold runs, since disk/runs is not writable; choose a folder with --runs"
        assert (code, said) == (2, f"bnexp: {reason}\n")
        assert in_a_child(folder, "compare", "--runs", "disk/runs") == (0, "")
        code, said = in_a_child(folder, "report", "--runs", "disk/runs")
        *left_out, refusal = said.splitlines()
        assert code == 2
        assert all("left out: " in line or "trials have ended" in line for line in left_out)
        assert refusal.endswith("can't be written (Read-only file system); report on a copy of it")
        remount(disk, "rw")
        assert results(trained_again(disk / "runs").path) == made.results
        assert results(run) == made.results


def test_a_full_disk_stops_a_real_training_which_then_continues(made: Made, folder: Path) -> None:
    with mounted(folder / "disk", "size=28k"), pytest.MonkeyPatch.context() as patch:
        unhurried(patch)
        assert "No space left on device" in refused(lambda: trained_again(folder / "disk"))
        remount(folder / "disk", "size=1m")
        assert results(trained_again(folder / "disk").path) == made.results


# Limits of the process

RUN = ("run", "exp.yaml", "--runs", "runs")


FILE_SIZES = (60, 500, 1_500, 6_500)
"""Bytes that a file may have at most; a file of every kind is larger than one of them."""


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize("size", FILE_SIZES)
def test_a_limit_on_the_size_of_files_is_said(made: Made, folder: Path, size: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    code, said = in_a_child(folder, *RUN, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, most)))
    run = f"runs/{made.finished.name}"
    assert (code, said) == (1, f"bnexp: {run}: File too large; the same command continues once that is solved\n")
    assert results(trained_again(folder / "runs").path) == made.results


def allow_files(more: int) -> None:
    """Let this process open no more than a few more files than it has open."""
    free = [number for number in range(1_000) if not os.path.lexists(f"/proc/self/fd/{number}")]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], free[more]))


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize(("event", "more"), [(1, 0), (4, 1), (EVENTS, 3)])
def test_too_many_open_files_are_said(
    made: Made, folder: Path, monkeypatch: pytest.MonkeyPatch, event: int, more: int
) -> None:
    def execute(*args: object) -> Iterator[Event]:
        for number, each in enumerate(made.replay.execute(*args), 1):
            if number == event:
                allow_files(more)
            yield each

    monkeypatch.setattr(Local, "execute", execute)
    code, said = in_a_child(folder, *RUN)
    monkeypatch.setattr(Local, "execute", made.replay.execute)
    run = f"runs/{made.finished.name}"
    if (code, said) != (0, ""):  # so many files may be enough
        assert more < 2
        assert (code, said) == (
            1,
            f"bnexp: {run}: Too many open files; the same command continues once that is solved\n",
        )
    else:
        assert more
    assert results(trained_again(folder / "runs").path) == made.results


# Folders that vanish, or may not be written any more


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize("event", [1, 4, EVENTS])
def test_a_folder_that_is_deleted_meanwhile_is_said_and_the_run_begins_anew(
    made: Made, folder: Path, event: int
) -> None:
    run = folder / "runs" / made.finished.name
    assert "No such file or directory" in refused(
        lambda: trained_again(folder / "runs", stopping(event, lambda: shutil.rmtree(run)))
    )
    assert not run.exists()
    assert results(trained_again(folder / "runs").path) == made.results


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize("event", [1, 4, EVENTS])
def test_a_folder_that_is_renamed_meanwhile_continues_under_its_name(made: Made, folder: Path, event: int) -> None:
    run, elsewhere = folder / "runs" / made.finished.name, folder / "elsewhere"
    assert "No such file or directory" in refused(
        lambda: trained_again(folder / "runs", stopping(event, lambda: run.rename(elsewhere)))
    )
    kept = rows(elsewhere)
    elsewhere.rename(run)
    assert len(kept) >= 2 * event
    assert results(trained_again(folder / "runs").path) == made.results
    assert kept <= rows(run)


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize("name", ["curves.csv", "checksums.txt"])
@pytest.mark.parametrize("event", [1, 4, EVENTS])
def test_a_table_that_is_deleted_meanwhile_is_said_or_written_again(
    made: Made, folder: Path, name: str, event: int
) -> None:
    path = folder / "runs" / made.finished.name / name
    with suppress(BnexpError):
        trained_again(folder / "runs", stopping(event, path.unlink))
    assert results(trained_again(folder / "runs").path) == made.results


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize(("event", "which"), [(1, ""), (3, "checkpoints"), (EVENTS, "")])
def test_a_folder_that_may_not_be_written_any_more_is_said(made: Made, folder: Path, event: int, which: str) -> None:
    run = folder / "runs" / made.finished.name
    folder.chmod(0o777)
    with as_nobody():
        said = refused(lambda: trained_again(folder / "runs", stopping(event, lambda: (run / which).chmod(0o555))))
        assert "Permission denied" in said
        (run / which).chmod(0o755)
        assert results(trained_again(folder / "runs").path) == made.results
