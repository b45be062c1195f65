"""A CSV file becomes rows of features; what is no number is refused by the name of its column."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from bnexp.config.data import DataSettings
from bnexp.data.dataset import Dataset, load
from bnexp.data.own_files import pinned
from bnexp.data.raw import RawImages
from bnexp.data.table import read as read_table
from bnexp.errors import InputError
from tests.helpers import experiment

TABLE = "a,b,kind\n1,2.5,x\n3,4,y\n5,-6e1,x\n7,8,y\n9,True,x\n".replace("True", "0")


def settings(path: Path, **others: Any) -> DataSettings:
    return DataSettings(**{"name": "csv", "root": str(path), "label": "kind"} | others)


def read(path: Path, **others: Any) -> RawImages:
    return read_table(settings(path, **others))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small table."""
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path / "t.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables of training and test rows, their columns in another order."""
    (tmp_path / "train.csv").write_text(TABLE)
    (tmp_path / "test.csv").write_text("kind,b,a\ny,8,7\n")
    return tmp_path


def test_scikit_learn_s_iris(tmp_path: Path) -> None:
    iris = load_iris(as_frame=True)
    iris.frame.to_csv(tmp_path / "iris.csv", index=False)
    data: Dataset = load(settings(tmp_path / "iris.csv", label="target"), torch.device("cpu"), torch.float32)
    assert data.shape.image == (4, 1, 1)
    assert (data.shape.classes, len(data.train), len(data.val), len(data.test)) == (3, 108, 12, 30)
    assert data.shape.findings.remarks == ("30 test images of 150 drawn at random, by data.split_seed",)
    raw = read(tmp_path / "iris.csv", label="target")
    rows = np.concatenate([raw.train.images_NCHW, raw.test.images_NCHW])[:, :, 0, 0]
    labels = np.concatenate([raw.train.labels_N, raw.test.labels_N])
    assert sorted(map(tuple, np.c_[rows, labels])) == sorted(map(tuple, iris.frame.to_numpy()))


@pytest.mark.parametrize(("separator", "ends"), [(",", "\n"), (";", "\r\n"), ("\t", "\n")])
def test_separators_and_line_ends_of_all_kinds(separator: str, ends: str, file: Path) -> None:
    expected = read(file)
    file.write_bytes(b"\xef\xbb\xbf" + TABLE.replace(",", separator).replace("\n", ends).encode())
    assert np.array_equal(read(file).train.images_NCHW, expected.train.images_NCHW)


def test_files_for_training_and_testing_need_the_same_columns_in_any_order(folder: Path) -> None:
    raw = read(folder)
    assert raw.train.images_NCHW[:, :, 0, 0].tolist() == [[1, 2.5], [3, 4], [5, -60], [7, 8], [9, 0]]
    assert raw.test.images_NCHW[:, :, 0, 0].tolist() == [[7, 8]]
    assert raw.train.labels_N.tolist() == [0, 1, 0, 1, 0]
    assert (raw.test.labels_N.tolist(), raw.features) == ([1], ("a", "b"))
    config = experiment(data={"name": "csv", "root": str(folder), "label": "kind"})
    before = pinned(config)
    (folder / "test.csv").write_text("kind,b,a\nx,8,7\n")
    assert pinned(config) != before
    (folder / "test.csv").write_text("kind,b,c\nx,8,7\n")
    with pytest.raises(InputError, match=r"test\.csv: has other columns than train\.csv; in only one of them: a, c$"):
        read(folder)
    (folder / "test.csv").unlink()
    with pytest.raises(
        InputError, match=r"has no train\.csv and test\.csv; name one file, which data\.split_seed splits"
    ):
        read(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3,4,y", "3,red,y", "FILE: the column b has text, such as red, and no numbers; leave categories out, or"),
        ("3,4,y", "3,,y", "FILE: the column b has 1 value missing or infinite, the first in row 2 below the names"),
        ("3,4,y", "red,,y", "FILE: the column a has text, such as red, and no numbers; leave categories out, or write"),
        ("3,4,y", "red,,y", "\ndata.root: FILE: the column b has 1 value missing or infinite, the first in row 2"),
        ("3,4,y", "3,inf,y", "FILE: the column b has 1 value missing or infinite, the first in row 2 below the names"),
        ("3,4,y", "3,4,", "FILE: 1 row without a label in the column kind; leave them out"),
        ("3,4,y", "3,4,y,z", "FILE: line 3 has 4 columns, but the first line names 3; put text that holds commas in"),
        ("a,b", "a,a", "FILE: names two columns a; the first line has to name each column"),
        ("kind", "sort", "data.label: kind: expected the column of FILE that holds the classes, one of a, b, sort"),
        (TABLE, "a\n1\n", "FILE: has one column, expected features and a label with commas, semicolons or tabs"),
        (TABLE, "", "FILE: has one column"),
        (TABLE, "a,b,kind\n", "FILE: has no row below the names of its columns"),
        (",y", ",x", "FILE: y holds a single class, x, and there is nothing to tell apart"),
    ],
)
def test_tables_that_nothing_can_be_trained_on(old: str, new: str, message: str, file: Path) -> None:
    file.write_text(TABLE.replace(old, new))
    with pytest.raises(InputError) as caught:
        read(file)
    assert message in str(caught.value).replace(str(file), "FILE")


def test_a_file_that_is_no_text_or_too_large(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^data\.label: null: expected the column of .*, one of a, b, kind$"):
        read(file, label=None)
    monkeypatch.setattr("bnexp.data.machine.free_memory", lambda device=None: 100)
    with pytest.raises(
        InputError, match=re.escape(f"data.root: the numbers of {file} take 0 MiB, and 0 MiB of memory")
    ):
        read(file)
    file.write_bytes(b"\x1f\x8b\xff\xff")
    with pytest.raises(InputError, match="is not text in UTF-8; save the table as CSV, uncompressed"):
        read(file)
