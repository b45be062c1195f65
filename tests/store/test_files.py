"""Files that are whole or not there, appended to so that no crash loses what was there."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from bnexp.store import files
from bnexp.store.files import AppendOnlyFile, quarantine, remove_leftovers, replace


@pytest.mark.parametrize(("content", "stored"), [("γ = 1\n", "γ = 1\n".encode()), (b"\x00\xff", b"\x00\xff")])
def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path, content: Any, stored: bytes) -> None:
    for _ in range(2):
        replace(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == stored
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("breaking", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaking: str
) -> None:
    replace(tmp_path / "file", "old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, breaking, full)
    with pytest.raises(OSError, match="No space left"):
        replace(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("windows", [True, False])
def test_on_windows_a_file_is_replaced_once_its_readers_have_closed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool
) -> None:
    refused = iter([True, True, False])
    moved = os.replace

    def in_use(file: Path, to: Path) -> None:
        if next(refused):
            raise PermissionError(errno.EACCES, "in use", str(file))
        moved(file, to)

    monkeypatch.setattr(os, "replace", in_use)
    monkeypatch.setattr(files, "WINDOWS", windows)
    if windows:
        replace(tmp_path / "file", "new")
        assert (tmp_path / "file").read_text() == "new"
    else:
        with pytest.raises(PermissionError):
            replace(tmp_path / "file", "new")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".trials.csv.99999999", ".lock", ".owner.json", "curves.csv", ".hidden.txt"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden.txt", ".lock", ".owner.json", "curves.csv"]


def test_damaged_files_are_kept_under_names_of_their_own(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "file").write_text(f"damaged {number}")
        assert quarantine(tmp_path / "file") == tmp_path / f"file.damaged-{number}"
    assert [(tmp_path / f"file.damaged-{n}").read_text() for n in (1, 2)] == ["damaged 1", "damaged 2"]


# Appending


def test_a_write_that_is_taken_in_parts_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reluctant:
        written = b""

        def write(self, content: memoryview) -> int:
            self.written += bytes(content[:3])
            return min(3, len(content))

    file = AppendOnlyFile(tmp_path / "file")
    file.close()
    monkeypatch.setattr(file, "_file", Reluctant())
    file.append(b"0123456789")
    assert file._file.written == b"0123456789"  # type: ignore[attr-defined]


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    file = AppendOnlyFile(tmp_path / "file")
    (tmp_path / "file").unlink()
    with pytest.raises(FileNotFoundError) as error:
        file.sync()
    file.close()
    assert (error.value.errno, error.value.filename) == (errno.ENOENT, str(tmp_path / "file"))
