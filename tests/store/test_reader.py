"""Reading run folders while they are written, and finding them by whatever name."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bnexp.errors import InputError
from bnexp.records import CURVE_COLUMNS
from bnexp.store.files import PICTURE, SUMMARIES
from bnexp.store.finding import find_run, find_runs, find_some, newest_runs
from bnexp.store.reader import RunRecord, finished_run
from bnexp.store.tables import EARLY_STOP_COLUMNS, RESULT_COLUMNS
from tests.helpers import rewrite
from tests.store.conftest import MadeRun, MakeRun


def made_at(make_run: MakeRun, started: str, name: str, lr: float = 0.1) -> MadeRun:
    """A run with a time of its own choice."""
    run = make_run(name=name, train={"lr": lr})
    rewrite(run.path / "environment.json", json.dumps(json.loads(run.text("environment.json")) | {"started": started}))
    return run


def test_a_new_run_lists_every_trial_and_none_has_ended(make_run: MakeRun) -> None:
    run = make_run(grid={"train.lr": [0.1, 0.2]}, seeds=2).read()
    assert list(run.trials.columns) == ["trial", "arm", "seed", "train.lr", *RESULT_COLUMNS, *EARLY_STOP_COLUMNS]
    assert list(run.trials["arm"]) == ["none", "none", "before", "before"] * 2
    assert (run.finished, run.complete, run.unfinished) == (0, False, set(range(8)))
    assert list(run.curves.columns) == list(CURVE_COLUMNS)
    assert len(run.curves) == 0


def test_a_run_is_complete_when_every_trial_has_an_outcome(make_run: MakeRun) -> None:
    run = make_run()
    run.record(0)
    run.end(0)
    assert (run.read().finished, run.read().unfinished, finished_run(run.path)) == (1, {1}, None)
    run.end(1, kind="diverged", diverged_step=3)
    assert finished_run(run.path) is None
    for name in SUMMARIES:
        (run.path / name).write_text("whatever")
    (run.path / PICTURE).write_text("a picture")
    run.writer.finish()
    assert run.read().complete
    assert finished_run(run.path) == run.read()
    (run.path / "summary.csv").unlink()
    assert finished_run(run.path) is None


def test_a_last_line_that_is_still_being_written_is_no_row_and_no_error(make_run: MakeRun) -> None:
    run = make_run()
    run.record(0, 1 / 3)
    run.record(1, 2 / 3)
    file = run.path / "curves.csv"
    content, whole = file.read_bytes(), run.read().curves
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    assert len(content) - start > 50
    for end in {*range(start, len(content) - 1, 11), start + 1, len(content) - 2}:
        file.write_bytes(content[:end])
        pd.testing.assert_frame_equal(run.read().curves, whole[:-1])
    file.write_bytes(content)
    pd.testing.assert_frame_equal(run.read().curves, whole)


def test_numbers_read_back_to_the_last_digit(make_run: MakeRun) -> None:
    run = make_run(arms=["none"])
    values = [(i + 1) / 7919 * 10.0 ** (i % 7 - 3) for i in range(300)]
    for epoch, value in enumerate(values):
        run.record(epoch, value)
    assert run.read().curves["train_loss"].tolist() == values


def test_a_folder_without_a_configuration_is_no_run(tmp_path: Path) -> None:
    assert not RunRecord.exists(tmp_path)
    assert finished_run(tmp_path) is None
    assert find_runs(tmp_path) == find_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_its_path_its_folder_or_its_experiment(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(name="some-thing")
    for written in (str(run.path), run.path.name, "some-thing"):
        assert find_run(written, run.path.parent).path == run.path
    assert find_run(str(run.path), tmp_path / "elsewhere").path == run.path


def test_the_name_of_an_experiment_means_its_newest_run(make_run: MakeRun) -> None:
    newer = made_at(make_run, "2026-05-01", "one", lr=0.2)
    older = made_at(make_run, "2026-04-01", "one", lr=0.3)
    made_at(make_run, "2026-06-01", "other")
    assert find_run("one", newer.path.parent).path == newer.path
    assert find_run(older.path.name, newer.path.parent).path == older.path


def test_runs_are_listed_oldest_first_and_the_newest_of_each_experiment_by_name(make_run: MakeRun) -> None:
    b_old = made_at(make_run, "2026-01-01", "b", lr=0.2)
    a_only = made_at(make_run, "2026-02-01", "a")
    b_new = made_at(make_run, "2026-03-01", "b", lr=0.3)
    runs = b_old.path.parent
    (runs / "no-run").mkdir()
    assert [run.path for run in find_runs(runs)] == [b_old.path, a_only.path, b_new.path]
    assert [run.path for run in newest_runs(runs)] == [a_only.path, b_new.path]
    assert find_some([], runs) == newest_runs(runs)
    assert [run.path for run in find_some(["b", "a"], runs)] == [b_new.path, a_only.path]


def test_an_unknown_run_is_answered_with_the_ones_there_are(make_run: MakeRun) -> None:
    run = make_run(name="quickstart")
    wrong = run.path.name.replace("quickstart", "quikstart")
    with pytest.raises(InputError) as error:
        find_run(wrong, run.path.parent)
    assert str(error.value) == (
        f"{wrong}: no such run in {run.path.parent} (nearest: {run.path.name}); there are {run.path.name}"
    )
    assert error.value.exit_code == 2


@pytest.mark.parametrize("written", [["one"], []])
def test_without_any_run_the_answer_says_how_to_get_one(tmp_path: Path, written: list[str]) -> None:
    with pytest.raises(InputError, match="bnexp run"):
        find_some(written, tmp_path)
