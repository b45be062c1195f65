"""What Windows allows to be done with files, as far as Linux can play it: nothing that is open is moved or removed."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest

from bnexp.config.data import DataSettings
from bnexp.data.arrays import keep
from bnexp.data.own_files import kept_arrays
from bnexp.store import files
from bnexp.store.files import AppendOnlyFile, remove_run, replace
from bnexp.store.reader import RunRecord
from tests.reliability.faults import Child, Made, results, trained_again

MOVING = ("os.rename", "os.remove", "os.rmdir")
"""Audit events of what an open file hinders there; os.replace is one of os.rename."""
FORBIDDEN = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[<>:"\\|?*\x00-\x1f].*|.*[. ]', re.IGNORECASE)
"""Names of files and folders that Windows doesn't take."""


def as_on_windows(folder: Path) -> None:
    """From here on, refuse in this process what Windows refuses below a folder; for a process that soon ends."""
    busy = False

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy or event not in ("open", "os.mkdir", *MOVING) or isinstance(arguments[0], int):
            return
        busy = True  # looking opens files, too
        try:
            for path in map(os.path.abspath, arguments[: 2 if event == "os.rename" else 1]):
                if path.startswith(f"{folder}/"):
                    _refuse(path, folder, moving=event in MOVING)
        finally:
            busy = False

    sys.addaudithook(look)


def _refuse(path: str, folder: Path, *, moving: bool) -> None:
    if any(map(FORBIDDEN.fullmatch, Path(path).relative_to(folder).parts)):
        raise OSError(22, "no name on Windows", path)
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    opened += [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    if moving and any(each == path or each.startswith(f"{path}/") for each in opened):
        raise PermissionError(13, "in use", path)


def on_windows(folder: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], *, told: bool = True) -> str:
    """Do something as on Windows; return the error that it ended with.

    Args:
        told: whether bnexp knows where it is.
    """
    monkeypatch.setattr(files, "WINDOWS", told)
    monkeypatch.setattr(files, "READERS_PATIENCE", 0.1)

    def there() -> None:
        as_on_windows(folder)
        work()

    with Child(there, folder / "log") as child:
        return "" if child.code == 0 else child.said


@pytest.mark.usefixtures("replay")
def test_a_run_is_continued_made_anew_and_removed(made: Made, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made.copy("unfinished", folder / "runs")

    def work() -> None:
        trained_again(run.parent)
        trained_again(run.parent, rerun=True)
        remove_run(run.with_name(f"{run.name}.1"))

    assert not on_windows(folder, monkeypatch, work)
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert results(RunRecord(run).path) == made.results


def test_a_folder_is_moved_once_its_readers_are_through(
    made: Made, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made.copy("finished", folder / "runs")

    def work() -> None:
        files.READERS_PATIENCE = 10.0
        reader = (run / "curves.csv").open()
        Timer(0.1, reader.close).start()
        remove_run(run)

    assert not on_windows(folder, monkeypatch, work)
    assert not run.exists()


def test_arrays_that_a_run_has_open_are_not_kept_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNEXP_DATA", str(folder))
    arrays = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1])

    def work() -> None:
        digest = keep(DataSettings(), arrays).digest
        opened = np.memmap(kept_arrays() / f"{digest}.npz")
        assert keep(DataSettings(), arrays).digest == digest
        opened.flush()

    assert not on_windows(folder, monkeypatch, work)


@pytest.mark.usefixtures("replay")
@pytest.mark.parametrize("what", ["rename", "name", "replace"])
def test_the_stand_in_for_windows_refuses_what_windows_refuses(
    made: Made, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run = made.copy("finished", folder / "runs")

    def work() -> None:
        if what == "rename":
            trained_again(run.parent, rerun=True)
        elif what == "name":
            replace(folder / "aux.5", "text")
        else:
            opened = AppendOnlyFile(folder / "file")
            replace(folder / "file", "text")
            opened.close()

    assert ("no name on Windows" if what == "name" else "in use") in on_windows(
        folder, monkeypatch, work, told=what != "rename"
    )
