"""Writing run folders: what stands in them when, and what a continued one keeps to the byte."""

import math
import os
from typing import Any

import pytest

from bnexp.config.load import load
from bnexp.store import files
from bnexp.store.writer import RunWriter
from tests.store.conftest import MadeRun, MakeRun


def rows(run: MadeRun, file: str = "curves.csv") -> list[str]:
    """The lines of a file below its header."""
    return run.text(file).splitlines()[1:]


def places(run: MadeRun) -> list[tuple[int, int]]:
    """(trial, epoch) of every row of curves.csv."""
    return list(run.read().curves[["trial", "epoch"]].itertuples(index=False, name=None))


def test_a_folder_whose_making_was_interrupted_can_be_made_again(make_run: MakeRun) -> None:
    run = make_run()
    # config.yaml comes last: without it the folder is none yet.
    (run.path / "config.yaml").unlink()
    made = RunWriter.create(run.path, run.config, run.trials, {})
    made.close()
    assert load(made.path / "config.yaml") == run.config


def test_records_are_on_disk_as_soon_as_they_are_appended(make_run: MakeRun) -> None:
    run = make_run()
    run.record(0, 0.25)
    assert rows(run)[0] == "0,0,0,0.25,0.25,0.25,0.25,0.25,0.25,0.1,0.0"
    run.record(1)
    assert places(run) == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_records_reach_the_disk_once_a_second_and_their_checksums_before_them(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, clock, synced = make_run(), [0.0], list[tuple[float, str]]()
    names = {file.stat().st_ino: file.name for file in run.path.iterdir()}
    monkeypatch.setattr(files.time, "monotonic", lambda: clock[0])
    run.record(0)  # which opens the file
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((clock[0], names[os.fstat(file).st_ino])))
    for tenth in range(1, 25):
        clock[0] = tenth / 10
        run.record(tenth)
    assert synced == [(at, name) for at in (1.0, 2.0) for name in ("checksums.txt", "curves.csv")]


def test_what_a_split_without_images_would_say_is_left_blank(make_run: MakeRun) -> None:
    from bnexp.records import EpochRecord

    run = make_run(arms=["none"])
    measured = {"train_loss": (math.nan,), "train_accuracy": (0.5,)}
    run.writer.append(EpochRecord((0,), 1, 6, measured, (0.1,), 2.5, (6,), (None,), (None,)))
    assert rows(run) == ["0,1,6,nan,0.5,,,,,0.1,2.5"]


def test_an_outcome_is_entered_with_the_final_and_best_numbers(make_run: MakeRun) -> None:
    run = make_run()
    run.record(0, 0.5)
    run.record(1, 0.25)
    run.end(1)
    assert rows(run, "trials.csv") == [
        "0,none,0,,,,,,,,,,,,",
        "1,before,0,completed,,,,,0.35,0.35,0.35,0.35,0.6,0.6,0.3333333333333333",
    ]


def test_log_lines_carry_the_time(make_run: MakeRun) -> None:
    run = make_run()
    run.writer.log("Traceback\n  line\n")
    run.writer.log("more")
    assert [line.split(" ", 1)[1] for line in run.text("log.txt").splitlines()] == ["Traceback", "  line", "more"]


# Continuing


def half_done(make_run: MakeRun, **raw: Any) -> MadeRun:
    """Two epochs of both trials; trial 0 has ended, trial 1 has not."""
    run = make_run(**raw)
    for epoch, value in enumerate((0.1, 0.7, 1 / 3)):
        run.record(epoch, value)
    run.end(0)
    return run


@pytest.mark.parametrize("kept", [{"t1": 12}, {"t1": 6}, {"t1": 0}, {}, {"t0": 0, "t1": 6}])
def test_records_stay_as_they_are_until_they_are_made_again(make_run: MakeRun, kept: dict[str, int]) -> None:
    run = half_done(make_run)
    before = run.text("curves.csv")
    continued = run.restored(**kept)
    assert continued.text("curves.csv") == before
    step = kept.get("t1", -1)
    for epoch in range(step // 6 + 1, 2):
        continued.record(epoch, 0.9, (1,))
        assert continued.text("curves.csv") == before
    if step < 12:
        continued.record(2, 0.9, (1,))
    losses = continued.read().curves.query("trial == 1")["train_loss"].tolist()
    old = [0.1 + 0.1, 0.7 + 0.1, 1 / 3 + 0.1]
    made_again = 2 - step // 6
    assert losses == [*old[: 3 - made_again], *[0.9 + 0.1] * made_again]
    assert places(continued) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]


def test_final_and_best_numbers_come_from_all_records_also_those_before_the_interruption(make_run: MakeRun) -> None:
    run = half_done(make_run).restored(t1=12)
    run.record(3, 0.2, (1,))
    run.end(1)
    assert rows(run, "trials.csv")[1].split(",")[8:] == [*[repr(0.2 + 0.1)] * 4, *[repr(0.7 + 0.1)] * 2, "1.0"]
    run.writer.close()


@pytest.mark.parametrize(
    ("grid", "outcome"),
    [
        ({"train.lr": [1, 0.1]}, {}),
        ({"train.clip.value": [None, 1]}, {"kind": "diverged", "diverged_step": 12}),
        ({"model.activation": ["relu", "tanh"]}, {"kind": "failed", "reason": 'RuntimeError: "a", b'}),
        ({"model.width": [[300, 100], [5]]}, {}),
        ({"model.residual": [True, False]}, {}),
        ({"model.init.scale": [1e-5, 123456789]}, {}),
    ],
)
def test_rows_of_ended_trials_stay_to_the_byte(
    make_run: MakeRun, grid: dict[str, list[Any]], outcome: dict[str, Any]
) -> None:
    run = make_run(arms=["none", "before"], grid=grid)
    run.record(0, 1 / 3)
    run.record(1, 2 / 7919, val_accuracy=(0.9, 0.8, 0.7, 0.6))
    run.end(0, **outcome)
    run.end(2)
    before = rows(run, "trials.csv")
    continued = run.restored(t1=6, t3=6)
    continued.end(3)
    after = rows(continued, "trials.csv")
    assert after[:3] == before[:3]
    assert after[3].split(",")[-1] == before[2].split(",")[-1] == repr(1 / 3)


# Going back


def test_a_trial_that_ends_before_it_has_caught_up_has_the_records_of_its_last_attempt(make_run: MakeRun) -> None:
    run = half_done(make_run)
    run.writer.go_back({1: -1})
    run.record(0, 0.25, (1,))
    run.end(1, kind="failed", reason="RuntimeError: gone")
    assert places(run) == [(0, 0), (1, 0), (0, 1), (0, 2)]
    assert run.read().trials["final_train_loss"].tolist() == [1 / 3, 0.35]


def test_going_back_twice_goes_back(make_run: MakeRun) -> None:
    run = half_done(make_run)
    run.writer.go_back({1: 6})
    run.writer.go_back({1: 0})
    run.record(1, 0.2, (1,))
    run.record(2, 0.2, (1,))
    run.record(3, 0.2, (1,))
    assert places(run) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (1, 3)]
    assert run.read().curves.query("trial == 1")["train_loss"].tolist()[1:] == [0.2 + 0.1] * 3


def test_trials_of_a_record_catch_up_each_at_its_time(make_run: MakeRun) -> None:
    # As when a kill came between the rows of one record.
    run = make_run()
    run.record(0)
    run.record(1, 0.5, (0,))
    run.writer.go_back({0: -1, 1: -1})
    run.record(0, 0.9)
    assert run.read().curves["train_loss"].tolist() == [0.5, 0.9 + 0.1, 0.5]
    run.record(1, 0.9)
    assert run.read().curves["train_loss"].tolist() == [0.9, 0.9 + 0.1] * 2
    assert places(run) == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_records_are_put_into_the_order_of_an_undisturbed_run(make_run: MakeRun) -> None:
    run = make_run(seeds=2)
    run.writer.regroup([[0, 1], [2, 3]])
    for numbers in ((2, 3), (0, 1)):
        for epoch in (0, 1):
            run.record(epoch, 0.5, numbers)
    run.end(0, 1, 2, 3)
    run.writer.arrange()
    assert places(run) == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1)]
    assert run.read().complete


def test_what_a_trial_does_after_its_end_is_not_recorded(make_run: MakeRun) -> None:
    run = half_done(make_run)
    before = run.text("trials.csv")
    run.record(3, 0.9)
    run.end(0, kind="diverged", diverged_step=3)
    assert places(run)[-1] == (1, 3)
    assert len(places(run)) == 7
    assert run.text("trials.csv") == before


def test_failed_trials_can_be_forgotten(make_run: MakeRun) -> None:
    run = half_done(make_run)
    run.end(1, kind="failed", reason="RuntimeError: gone")
    assert run.restored().writer.unfinished == []
    again = run.restored(retry_failed=True)
    assert again.writer.unfinished == [1]
    assert again.read().trials["outcome"].fillna("").tolist() == ["completed", ""]
    assert len(places(again)) == 6


def test_what_will_be_trained_together_is_kept(make_run: MakeRun) -> None:
    run = make_run(seeds=3)
    run.writer.regroup([[3, 4], [5], [0, 1, 2]])
    assert run.read().environment["groups"] == ["3 4", "5", "0 1 2"]
    assert run.restored().writer.groups == [[3, 4], [5], [0, 1, 2]]


def test_a_run_that_is_continued_has_not_ended(make_run: MakeRun) -> None:
    run = half_done(make_run)
    run.end(1)
    run.writer.finish()
    assert run.read().environment["ended"]
    assert run.restored().read().environment["ended"] is None
