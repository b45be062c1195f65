"""Files that are whole or not there, appended to so that no crash loses what was there."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from bnexp.errors import InputError
from bnexp.store import files
from bnexp.store.files import AppendOnlyFile, make_folder, quarantine, remove_leftovers, replace


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


def test_a_link_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"run: is a link, but runs are written into folders; remove it"):
        make_folder(tmp_path / "run" / "checkpoints")
    assert list((tmp_path / "elsewhere").iterdir()) == []


# Appending


def test_what_is_appended_can_be_read_at_once(tmp_path: Path) -> None:
    for content in (b"a\n", b"b\n"):
        file = AppendOnlyFile(tmp_path / "file")
        file.append(content)
        assert (tmp_path / "file").read_bytes().endswith(content)
        file.close()
    assert (tmp_path / "file").read_bytes() == b"a\nb\n"


def test_an_appender_says_when_it_is_time_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(files.time, "monotonic", lambda: clock[0])
    file = AppendOnlyFile(tmp_path / "file")
    due = []
    for tenth in range(25):
        clock[0] = tenth / 10
        due.append(file.due)
        if file.due:
            file.sync()
    file.close()
    assert [tenth for tenth, now in enumerate(due) if now] == [10, 20]


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
