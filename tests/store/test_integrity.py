"""What was changed or lost since it was written is named, and the rest read; saving a table again changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bnexp.store.checksums import checksum
from bnexp.store.integrity import UNCHECKED, examine
from bnexp.store.reader import DamagedRunError, RunRecord
from bnexp.store.tables import RESULT_COLUMNS, row_values
from tests.helpers import rewrite
from tests.store.conftest import MadeRun, MakeRun


@pytest.fixture
def run(make_run: MakeRun) -> MadeRun:
    """Trials 0 and 1 have ended after three records, 2 and 3 are in training."""
    made = make_run(grid={"model.residual": [False, True]}, question="Why?")
    for epoch, value in enumerate((0.25, 1.0, 1 / 3)):
        made.record(epoch, value)
    made.end(0, 1)
    return made


def shown(run: MadeRun) -> tuple[pd.DataFrame, pd.DataFrame]:
    record = run.read()
    return record.trials, record.curves.sort_values(["trial", "step"], ignore_index=True)


def edit(run: MadeRun, file: str, change: Callable[[str], str]) -> None:
    before = run.text(file)
    (run.path / file).write_bytes(change(before).encode())
    assert run.text(file) != before or "\r" in change(before)


# A spreadsheet


SAVED_AGAIN: dict[str, Callable[[str], str]] = {
    "line ends": lambda text: text.replace("\n", "\r\n"),
    "a byte order mark": lambda text: "\ufeff" + text,
    "no last line break": lambda text: text[:-1],
    "quotes": lambda text: "".join(
        ",".join(f'"{cell}"' for cell in row.split(",")) + "\n" for row in text.splitlines()
    ),
    "numbers": lambda text: text.replace("0.25", "0.250").replace(",1.0,", ",1,").replace("0.35", "3.5E-01"),
    "capitals": lambda text: text.replace("True", "TRUE").replace("False", "FALSE"),
    "sorted backwards": lambda text: "\n".join([text.split("\n")[0], *text.split("\n")[:0:-1]]) + "\n",
}


@pytest.mark.parametrize("how", SAVED_AGAIN)
def test_a_table_that_a_spreadsheet_saved_again_is_unchanged(run: MadeRun, how: str) -> None:
    before = shown(run)
    for file in ("trials.csv", "curves.csv"):
        (run.path / file).write_bytes(SAVED_AGAIN[how](run.text(file)).encode())
    assert run.read().warnings == ()
    for one, other in zip(before, shown(run), strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert run.restored(t2=12, t3=12).writer.notes == ()


@pytest.mark.parametrize(
    ("one", "other"), [("1", "2"), ("0.1", "0.10000001"), ("", "0"), ("none", "None"), ("-1", "1")]
)
def test_other_values_have_another_checksum(one: str, other: str) -> None:
    assert checksum(row_values([one, "x"])) != checksum(row_values([other, "x"]))


# Changed and lost

NOT_AS_WRITTEN, UNKNOWN = "changed or lost since it was written", "has lines that bnexp did not write"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("curves.csv", "\n1,1,6,1.1,", "\n1,1,6,1.2,", f"{NOT_AS_WRITTEN}: trial 1 from step 6"),
        ("curves.csv", "\n3,1,6,", "\n3,1,7,", f"{NOT_AS_WRITTEN}: trial 3 from step 6"),
        ("curves.csv", "\n3,1,6,1.3,", "\n3,1,6,1.x,", f"{NOT_AS_WRITTEN}: trial 3 from step 6; {UNKNOWN}"),
        ("curves.csv", "\n3,1,6,", "\n9,1,6,", f"{NOT_AS_WRITTEN}: trial 3 from step 6; {UNKNOWN}"),
        ("curves.csv", "trial,epoch", "trial;epoch", "the first line is not as it was written"),
        ("trials.csv", "completed", "diverged", f"{NOT_AS_WRITTEN}: trial 0, trial 1"),
        ("trials.csv", "completed", "finished", f"{NOT_AS_WRITTEN}: trial 0, trial 1; {UNKNOWN}"),
        ("trials.csv", "\n3,before", "\n7,before", f"{NOT_AS_WRITTEN}: trial 3; {UNKNOWN}"),
        ("config.yaml", "Why?", "Because.", "changed since it was written"),
        ("environment.json", "cpu", "gpu", "changed since it was written"),
    ],
)
def test_what_was_changed_is_named_and_read(run: MadeRun, file: str, old: str, new: str, said: str) -> None:
    edit(run, file, lambda text: text.replace(old, new))
    (warning,) = run.read().warnings
    assert warning == f"{run.path}/{file}: {said}"
    assert len(run.read().trials) == 4


def test_a_changed_number_is_read_as_it_stands(run: MadeRun) -> None:
    edit(run, "curves.csv", lambda text: text.replace("\n1,1,6,1.1,", "\n1,1,6,7.5,"))
    assert run.read().curves.query("trial == 1")["train_loss"].tolist()[1] == 7.5


@pytest.mark.parametrize(("trial", "step"), [(1, 0), (1, 12), (3, 0), (3, 6)])
def test_a_lost_record_is_named(run: MadeRun, trial: int, step: int) -> None:
    lines = run.text("curves.csv").splitlines(keepends=True)
    (run.path / "curves.csv").write_text("".join(x for x in lines if not x.startswith(f"{trial},{step // 6},")))
    assert run.read().warnings == (f"{run.path}/curves.csv: {NOT_AS_WRITTEN}: trial {trial} from step {step}",)


def test_a_record_in_training_may_be_missing_at_the_end(run: MadeRun) -> None:
    edit(run, "curves.csv", lambda text: text[: text.rindex("\n3,2,") + 1])
    assert run.read().warnings == ()


@pytest.mark.parametrize("file", ["trials.csv", "curves.csv", "environment.json"])
def test_a_lost_file_is_named_and_the_others_are_read(run: MadeRun, file: str) -> None:
    (run.path / file).unlink()
    assert run.read().warnings == (f"{run.path}/{file}: missing",)
    assert (len(run.read().trials), run.read().finished) == (4, 0 if file == "trials.csv" else 2)
    assert len(run.read().curves) == (0 if file == "curves.csv" else 12)


def test_without_a_configuration_nothing_can_be_read(run: MadeRun) -> None:
    (run.path / "config.yaml").unlink()
    with pytest.raises(DamagedRunError, match=r"config\.yaml: no such file"):
        _ = run.read().trials


def test_a_table_that_contradicts_the_configuration_is_not_read(run: MadeRun) -> None:
    edit(run, "trials.csv", lambda text: text.replace("1,before", "1,after"))
    with pytest.raises(DamagedRunError, match=r"trials\.csv: .* arm of trial 1 is 'after', and 'before' in .*config"):
        run.read().check()


# checksums.txt itself


@pytest.mark.parametrize("content", [None, "", "nonsense\n"])
def test_without_checksums_a_run_is_read_and_continued_with_a_warning(run: MadeRun, content: str | None) -> None:
    before = shown(run)
    (run.path / "checksums.txt").unlink()
    if content is not None:
        (run.path / "checksums.txt").write_text(content)
    assert run.read().warnings == (f"{run.path}/{UNCHECKED}",)
    for one, other in zip(before, shown(run), strict=True):
        pd.testing.assert_frame_equal(one, other)
    again = run.restored(t2=12, t3=12)
    assert again.writer.notes[0].startswith(str(UNCHECKED))
    assert (again.read().warnings, again.read().finished) == ((), 2)


def test_every_lost_checksum_is_missed(run: MadeRun) -> None:
    lines = run.text("checksums.txt").splitlines(keepends=True)
    rows = {"trials.csv": 4 + 2, "curves.csv": 12, "config.yaml": 1, "environment.json": 1}
    assert {name: sum(line.startswith(name) for line in lines) for name in rows} == rows
    missed = 0
    for at in range(len(lines)):
        (run.path / "checksums.txt").write_text("".join(lines[:at] + lines[at + 1 :]))
        found = examine(run.path, run.config)
        missed += bool(found.faults or any(found.files.values()))
    assert missed == len(lines) - 2  # but for the rows of trials 0 and 1 while they were in training


# Earlier formats


def as_format_3(run: MadeRun) -> None:
    """Turn a folder into what bnexp wrote before: checksums over bytes, and rates as float64."""
    run.writer.close()
    edit(run, "curves.csv", lambda text: text.replace(",0.1,", ",0.10000000149011612,"))
    about = json.loads(run.text("environment.json")) | {"format": 3}
    (run.path / "environment.json").write_text(json.dumps(about))
    (run.path / "checksums.txt").write_text("0123abcd\n89abcdef\n")


def test_a_folder_of_format_3_is_read_without_a_word_and_continued(run: MadeRun) -> None:
    before = shown(run)
    as_format_3(run)
    assert run.read().warnings == ()
    for one, other in zip(before, shown(run), strict=True):
        pd.testing.assert_frame_equal(one, other)
    again = run.restored(t2=12, t3=12)
    assert (again.writer.notes, again.read().environment["format"], again.read().warnings) == ((), 4, ())
    again.end(2, 3)
    assert again.read().complete
    assert again.read().trials["final_train_loss"].tolist() == [(1 / 3) + number / 10 for number in range(4)]


def test_the_last_line_of_an_earlier_format_counts_once_it_is_whole(run: MadeRun) -> None:
    as_format_3(run)
    edit(run, "curves.csv", lambda text: text[:-3])
    assert (len(run.read().curves), run.read().warnings) == (11, ())


def test_rewriting_a_file_as_its_writer_does_is_no_change(run: MadeRun) -> None:
    rewrite(run.path / "environment.json", run.text("environment.json").replace("cpu", "gpu"))
    assert (run.read().environment["device"], RunRecord(Path(run.path)).warnings) == ("gpu", ())


@pytest.mark.parametrize("newer", ["curves.csv", "trials.csv"])
def test_a_copy_whose_checksums_are_older_than_its_tables_is_not_damaged(make_run: MakeRun, newer: str) -> None:
    made = make_run()
    made.record(0)
    older = (made.path / "checksums.txt").read_bytes()
    if newer == "curves.csv":
        made.record(1, 0.75)
    else:
        made.end(0)
    (made.path / "checksums.txt").write_bytes(older)
    assert examine(made.path, made.config).faults
    read = examine(made.path, made.config, cells=False, growing=True)
    assert read.faults == ()
    assert made.read().warnings == ()
    assert not any(row[-len(RESULT_COLUMNS)] for row in read.trials.rows)
    edit(made, "curves.csv", lambda text: text.replace("0.5", "0.51", 1))
    assert "curves.csv" in str(examine(made.path, made.config, cells=False, growing=True).faults)
