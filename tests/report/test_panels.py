"""What a panel shows: means and bands worked out by hand, and diverged trials to their end."""

import numpy as np
import pytest

from bnexp.report.panels import make_panels, panel_columns
from tests.report.figures.made_up import study_of

ARMS = ("none", "before")
ONE_POINT = np.array([[[[0.1, 0.2, 0.3], [0.1, 0.4, 0.5]], [[0.1, 0.8, 0.9], [0.1, 0.9, 0.9]]]])


def panels_of(frames, limit: int = 16, keys: tuple[str, ...] = ("train.lr",), arms: tuple[str, ...] = ARMS):
    return make_panels(study_of(frames, arms, grid_keys=keys), "test_accuracy", limit=limit)


def test_mean_and_band_over_seeds(run_frames) -> None:
    panels = panels_of(run_frames(ONE_POINT))
    (panel,) = panels.panels
    none, before = panel.curves
    assert (panels.axis, panels.total, panel.point) == ("epoch", 1, {"train.lr": 1.0})
    assert (none.arm, none.seeds, none.crosses) == ("none", 2, ())
    assert none.x.tolist() == [0, 1, 2]
    assert none.mean == pytest.approx([0.1, 0.3, 0.4])
    assert none.low == pytest.approx([0.1, 0.2, 0.3])
    assert none.high == pytest.approx([0.1, 0.4, 0.5])
    assert before.mean == pytest.approx([0.1, 0.85, 0.9])


def test_a_diverged_trial_that_stopped_keeps_its_last_value(run_frames) -> None:
    accuracy = ONE_POINT.copy()
    accuracy[0, 0, 1] = [0.1, 0.05, np.nan]
    trials, curves = run_frames(accuracy)
    trials.loc[1, "outcome"] = "diverged"
    none = panels_of((trials, curves)).panels[0].curves[0]
    assert none.crosses == ((1.0, 0.05),)
    assert none.mean == pytest.approx([0.1, 0.125, 0.175])
    assert none.low[-1] == 0.05


@pytest.mark.parametrize("axis", ["epoch", "step"])
@pytest.mark.parametrize(
    ("diverged_step", "place", "value"),
    [(1, 0.1, 0.13), (10, 1, 0.4), (15, 1.5, 0.45), (20, 2, 0.5), (21, 2, 0.5), (np.nan, 2, 0.5)],
)
def test_a_cross_is_on_the_trials_line_at_the_step_at_which_it_diverged(
    run_frames, axis: str, diverged_step: float, place: float, value: float
) -> None:
    trials, curves = run_frames(ONE_POINT)
    trials.loc[1, ["outcome", "diverged_step"]] = "diverged", diverged_step
    curves = curves.assign(epoch=curves["epoch"] // (2 if axis == "step" else 1))
    none = panels_of((trials, curves)).panels[0].curves[0]
    assert none.crosses == ((pytest.approx(place if axis == "epoch" else 10 * place), pytest.approx(value)),)


def test_where_nothing_is_finite_from_there_on_a_cross_is_at_the_last_value(run_frames) -> None:
    accuracy = ONE_POINT.copy()
    accuracy[0, 0, 1] = [0.1, np.nan, np.nan]
    trials, curves = run_frames(accuracy)
    trials.loc[1, ["outcome", "diverged_step"]] = "diverged", 3
    assert panels_of((trials, curves)).panels[0].curves[0].crosses == ((0.0, 0.1),)


def test_an_unfinished_trial_ends_where_it_is(run_frames) -> None:
    accuracy = ONE_POINT.copy()
    accuracy[0, 0, 1] = [0.1, 0.4, np.nan]
    trials, curves = run_frames(accuracy)
    trials["outcome"] = None
    none = panels_of((trials, curves)).panels[0].curves[0]
    assert none.mean == pytest.approx([0.1, 0.3, 0.3])
    assert none.crosses == ()


def test_failed_trials_and_arms_without_a_record_are_left_out(run_frames) -> None:
    trials, curves = run_frames(ONE_POINT)
    trials.loc[0, "outcome"] = "failed"
    (panel,) = panels_of((trials, curves[curves["trial"] < 2])).panels
    assert [(curve.arm, curve.seeds) for curve in panel.curves] == [("none", 1)]


def test_several_records_in_an_epoch_are_drawn_by_step(run_frames) -> None:
    trials, curves = run_frames(ONE_POINT)
    panels = panels_of((trials, curves.assign(epoch=curves["epoch"] // 2)))
    assert panels.axis == "step"
    assert panels.panels[0].curves[0].x.tolist() == [0, 10, 20]


def test_points_are_chosen_evenly_with_both_ends(run_frames) -> None:
    frames = run_frames(np.full((40, 2, 1, 2), 0.5))
    panels = panels_of(frames)
    chosen = [panel.point["train.lr"] for panel in panels.panels]
    assert (len(chosen), chosen[0], chosen[-1], panels.total) == (16, 1.0, 40.0, 40)
    assert set(np.diff(chosen)) == {2.0, 3.0}
    assert len(panels_of(frames, limit=50).panels) == 40


def test_without_a_grid_there_is_one_panel(run_frames) -> None:
    panels = panels_of(run_frames(ONE_POINT), keys=())
    assert [panel.point for panel in panels.panels] == [{}]


def test_nothing_recorded_yet_is_an_empty_panel(run_frames) -> None:
    trials, curves = run_frames(ONE_POINT)
    (panel,) = panels_of((trials, curves[:0])).panels
    assert panel.curves == ()


def point(**values: object) -> dict[str, object]:
    return values


@pytest.mark.parametrize(
    ("points", "columns"),
    [
        ([point(lr=lr) for lr in range(4)], 4),
        ([point(lr=lr) for lr in range(9)], 3),
        ([point(act=act, lr=lr) for act in "ab" for lr in range(5)], 5),  # a row per activation
        ([point(act=act, lr=lr, d=d) for act in "ab" for lr in range(3) for d in (1, 2)], 2),
        ([point(act=act, lr=lr) for act in "ab" for lr in range(9)], 3),  # too many for a row
        ([point(act=act, lr=lr) for act, lr in zip("abcdef", range(6), strict=True)], 3),  # paired up
        ([point()], 1),
        ([], 1),
    ],
)
def test_a_row_has_all_values_of_the_last_of_several_crossed_settings(points: list, columns: int) -> None:
    assert panel_columns(points) == columns
