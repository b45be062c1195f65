"""What `bnexp watch` shows of a run, from forged folders: state, steps, time left, curves and log, on any screen."""

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from bnexp.report.progress import ArmProgress, Progress
from bnexp.report.watching import View, look, plain_line, screen, state_line
from bnexp.store.following import Pulse
from bnexp.store.reader import RunRecord
from tests.helpers import NEAR_FLOAT64
from tests.store.conftest import MadeRun, make_run  # noqa: F401

TRAINING, STOPPED = Pulse("training", "here", 3.0), Pulse("stopped", "here", 200.0)
TRIAL = {"data": {"name": "digits", "train_size": 60}, "train": {"epochs": 10, "batch_size": 10}}


def partly_trained(made: MadeRun) -> MadeRun:
    """Let trials 0 and 1 end, the second diverged, and trial 2 get to epoch 4."""
    for epoch in range(11):
        made.record(epoch, 0.05 * epoch, numbers=(0, 1))
    made.end(0)
    made.end(1, kind="diverged", diverged_step=30)
    for epoch in range(5):
        made.record(epoch, 0.05 * epoch, numbers=(2,))
    return made


@pytest.fixture
def run(make_run: Any) -> MadeRun:  # noqa: F811
    """Two arms at two rates: trials 0 and 1 ended, 1 diverged; 2 is in epoch 4 of 10, and 3 waits."""
    made = partly_trained(make_run(**TRIAL, grid={"train.lr": [0.1, 1]}))
    made.writer.log("something happened")
    return made


def lines_of(view: View, run: MadeRun, now: Pulse = TRAINING, size: tuple[int, int] = (80, 24)) -> list[str]:
    return screen(view, now, run.path, 90.0, size, colour=False)


def test_the_progress_is_that_of_all_trials(run: MadeRun) -> None:
    progress: Progress = look(run.path).progress
    assert (progress.planned, progress.ended, progress.waiting) == (4, 2, 1)
    assert progress.outcomes == {"completed": 1, "diverged": 1}
    assert progress.diverged == ((1, "before"),)
    (group,) = progress.training
    assert (group.trials, group.epoch, group.step, group.steps) == ((2,), 4, 24, 60)
    assert progress.arms == {"none": ArmProgress(2, 1, 0, 1, 0), "before": ArmProgress(2, 1, 1, 0, 1)}
    assert progress.share == pytest.approx((60 + 60 + 24 + 0) / 240, rel=NEAR_FLOAT64)
    # A trial takes 10 / 3 seconds: trial 2 has 6 of 10 epochs to go, and trial 3, which takes as long as its arm, all.
    assert group.left == pytest.approx(6 / 3, rel=NEAR_FLOAT64)
    assert progress.left == pytest.approx(16 / 3, rel=NEAR_FLOAT64)


def test_the_time_left_is_unknown_before_the_first_update(make_run: Any) -> None:  # noqa: F811
    made = make_run(**TRIAL)
    assert (look(made.path).progress.left, look(made.path).progress.share) == (None, 0)
    made.record(0)
    assert look(made.path).progress.left is None
    assert "1 trial" not in plain_line(look(made.path), TRAINING, None)


def test_where_only_its_files_tell_how_many_images_there_are_the_records_do(make_run: Any) -> None:  # noqa: F811
    made = make_run(data={"name": "image_folder", "root": "nowhere"}, train={"epochs": 10})
    made.record(0)
    made.record(2)
    assert [group.steps for group in look(made.path).progress.training] == [60]


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60), (80, 3), (20, 50)])
def test_a_screen_is_no_larger_than_the_terminal(run: MadeRun, size: tuple[int, int]) -> None:
    lines = lines_of(look(run.path), run, size=size)
    assert len(lines) <= size[1]
    assert max(map(cell_len, lines)) <= max(38, size[0])  # a plot is never narrower


def test_a_screen_has_state_trials_curves_and_log(run: MadeRun) -> None:
    lines = lines_of(look(run.path), run)
    assert lines[0] == f"{run.path.name}: training, about 2 min left"
    assert lines[1] == "━━━━━━━━━━━━········ 2 of 4 trials ended, 1 diverged, 1 training, 1 waiting"
    assert lines[2] == "trial 2: epoch 4, step 24 of 60, 2 s left"
    assert lines[3] == "diverged: 1 (before)"
    assert lines[4] == "test accuracy, one seed"
    assert sum("└┬" in line for line in lines) == 1  # two plots side by side
    assert lines[-1].endswith(" something happened")


def test_a_low_terminal_has_the_newest_accuracies_in_place_of_curves(run: MadeRun) -> None:
    lines = lines_of(look(run.path), run, size=(40, 10))
    assert lines[1].startswith("━━━━━━···· 2 of 4 trials")
    assert lines[4].startswith("test accuracy: none 0.")
    assert lines[5].endswith(" something happened")


def test_a_tall_terminal_has_two_rows_of_plots(make_run: Any) -> None:  # noqa: F811
    made = make_run(**TRIAL, grid={"train.lr": [0.1, 0.2, 0.3, 0.4, 0.5]})
    made.record(0)
    assert sum("└┬" in line for line in lines_of(look(made.path), made)) == 1
    assert sum("└┬" in line for line in lines_of(look(made.path), made, size=(80, 60))) == 2


def test_a_band_is_drawn_where_there_are_several_seeds(make_run: Any) -> None:  # noqa: F811
    made = make_run(**TRIAL, seeds=3)
    for epoch in range(5):
        made.record(epoch)
    assert "test accuracy, mean over 3 seeds; dots: the lowest and the highest" in lines_of(look(made.path), made)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (TRAINING, "training, about 2 min left"),
        (Pulse("ended", "", 9.0), "ended"),
        (STOPPED, "stopped, written 3 min ago; the same bnexp run continues it"),
        (Pulse("elsewhere", "node-7", 4.0), "training on node-7, written 4 s ago, about 2 min left"),
        (Pulse("elsewhere", "node-7", 7200.0), "written 2.0 h ago on node-7: it may have been stopped"),
    ],
)
def test_the_state_is_said_in_words(now: Pulse, said: str) -> None:
    assert state_line(now, 100.0) == said


def test_in_a_pipe_it_is_one_line(run: MadeRun) -> None:
    assert plain_line(look(run.path), STOPPED, None) == (
        f"{run.path.name}  stopped, written 3 min ago; the same bnexp run continues it  "
        "2 of 4 trials ended, 1 diverged, 1 begun, 1 waiting  epoch 4, step 24 of 60  "
        "test accuracy: none 0.450, before 0.600"
    )


def test_damage_is_shown_and_a_hostile_log_moves_no_cursor(run: MadeRun) -> None:
    text = run.text("curves.csv")
    (run.path / "curves.csv").write_text(text.replace("\n2,1,6,", "\n2,1,7,"))
    run.writer.log("\x1b[2J gone")
    lines = lines_of(look(run.path), run)
    assert any(line.startswith("Careful: ") and "curves.csv" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_looking_leaves_the_folder_as_it_is(run: MadeRun) -> None:
    def about(folder: Path) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    before = about(run.path)
    lines_of(look(run.path), run)
    assert about(run.path) == before
    assert RunRecord(run.path).warnings == ()
