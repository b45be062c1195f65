"""Many records are checked at once, and the result is that of checking them one by one."""

from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bnexp.store.checksums import ChecksumIndex, checksum, checksums
from bnexp.store.integrity import examine
from bnexp.store.tables import read_numbers
from tests.store.conftest import MadeRun, MakeRun


@pytest.fixture
def run(make_run: MakeRun) -> MadeRun:
    """Two trials after three records, of which the first has ended."""
    made = make_run()
    for epoch, value in enumerate((0.25, 1.0, 1 / 3)):
        made.record(epoch, value)
    made.end(0)
    return made


def test_the_checksum_of_each_of_many_rows_is_its_own() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 11))
    rows[3, 4], rows[5, 6], rows[7, 8] = np.nan, np.inf, -0.0
    assert checksums(pd.DataFrame(rows)).tolist() == [checksum(row) for row in rows.tolist()]


def test_an_intact_table_is_read_at_once_with_the_same_numbers(run: MadeRun) -> None:
    at_once, by_row = (examine(run.path, run.config, cells=cells) for cells in (False, True))
    assert at_once.curves.numbers is not None
    np.testing.assert_array_equal(at_once.curves.numbers.to_numpy(), np.array(by_row.curves.values))
    assert at_once.faults == by_row.faults == ()


def test_so_is_that_of_a_run_that_was_continued(run: MadeRun) -> None:
    again = run.restored(t1=6)
    again.record(2, 0.7, numbers=(1,))
    assert examine(run.path, run.config, cells=False).curves.numbers is not None


def test_numbers_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, random = tmp_path / "curves.csv", np.random.default_rng(0)
    rows = np.column_stack([np.arange(99), np.zeros((99, 2)), random.random((99, 4))])
    rows[1, 4] = np.nan
    names = ("trial", "epoch", "step", "a", "b", "c", "d")
    lines = (",".join([*map(str, map(int, row[:3])), *map(repr, row[3:])]) for row in rows.tolist())
    path.write_text("\n".join([",".join(names), *lines, ""]).replace("nan", ""))
    found = read_numbers(path, names, 99)
    assert found is not None
    np.testing.assert_array_equal(found.to_numpy(), rows)
    assert read_numbers(path, names, 98) is None
    assert read_numbers(path, names[::-1], 99) is None
    path.write_text(f"{path.read_text()}1,0,0,x,0,0,0\n")
    assert read_numbers(path, names, 99) is None


def test_no_file_is_mapped_into_memory_since_it_may_be_cut_short_meanwhile(
    run: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, sources = pd.read_csv, set()

    def noting(source: Any, **options: Any) -> Any:
        sources.add(type(source))
        return read(source, **options)

    monkeypatch.setattr(pd, "read_csv", noting)
    assert examine(run.path, run.config, cells=False).curves.numbers is not None
    assert sources == {BytesIO, BufferedReader}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n1,1,6,1.1,", "\n1,1,6,1.2,"),
        ("\n1,1,6,", "\n1,1,7,"),
        ("\n1,1,6,", "\n9,1,6,"),
        ("\n1,1,6,", "\n1,1,6.5,"),
        ("\n1,1,6,", "\n1,1,-6,"),
        ("\n0,1,6,", "\n0,1,6,x"),
        ("\n0,2,12,", "\n0,1,6,"),
        ("\n0,1,6,", "\n\n0,1,6,1,2,3,4,5,6,7,8\n0,1,6,"),
        ("trial,epoch", "trial;epoch"),
    ],
)
def test_where_anything_differs_it_is_looked_at_row_by_row(run: MadeRun, old: str, new: str) -> None:
    text = run.text("curves.csv")
    assert old in text
    (run.path / "curves.csv").write_text(text.replace(old, new))
    at_once, by_row = (examine(run.path, run.config, cells=cells) for cells in (False, True))
    assert at_once.curves.numbers is None
    assert at_once.faults == by_row.faults != ()


LINES = b"curves.csv 0 0 0123abcd\ncurves.csv 12 6 ffffffff\nconfig.yaml 0 0 00000001\n"


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (LINES, 3),
        (LINES.replace(b"\n", b"\n\n"), 3),
        (LINES[:-1], 3),  # its line break is about to come
        (LINES[:-2], 2),
        (LINES + b"curves.csv 3 0 0123a\n", 3),
        (LINES + b"curves.csv x 0 0123abcd\n", 3),
        (LINES + b"curves.csv 3 0 0123abcg\n", 3),
        (b"\xff\xfe\n" + LINES, 3),
        (b"", 0),
    ],
)
def test_broken_lines_of_the_checksums_are_left_out(tmp_path: Path, content: bytes, count: int) -> None:
    (tmp_path / "checksums.txt").write_bytes(content)
    index = ChecksumIndex(tmp_path)
    assert bool(index) == bool(count)
    found = [("curves.csv", 0, 0, 0x0123ABCD), ("curves.csv", 12, 6, 0xFFFFFFFF), ("config.yaml", 0, 0, 1)]
    assert sum(entry in index for entry in found) == count
    assert list(index.steps("curves.csv", 12)) == ([6] if count else [])
    assert ("curves.csv", 3, 0, 0x0123ABCD) not in index
