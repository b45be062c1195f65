"""Trials find their partner and their cell, whatever the grid values are."""

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis.pairing import MEASURES, cells, grid_points, pair_trials, point_numbers

KEYS = ["train.clip", "model.activation"]


@pytest.fixture
def trials() -> pd.DataFrame:
    rows = [
        ("none", 0, np.nan, "relu", "completed", 0.1),
        ("before", 0, np.nan, "relu", "diverged", 0.2),
        ("before", 0, 1.0, "relu", "completed", 0.3),
        ("none", 0, 1.0, "relu", "failed", 0.4),
        ("before", 1, np.nan, "relu", "completed", 0.5),
        ("none", 1, np.nan, "tanh", "completed", 0.6),
        ("none", 1, np.nan, "relu", "completed", np.nan),
        ("before", 1, np.nan, "tanh", None, np.nan),
    ]
    frame = pd.DataFrame(rows, columns=["arm", "seed", *KEYS, "outcome", "score"])
    return frame.assign(trial=range(10, 18))


def measures(trials: pd.DataFrame) -> pd.DataFrame:
    """The score as every measure."""
    return pd.DataFrame(dict.fromkeys(MEASURES, trials["score"]))


def test_points_are_numbered_as_they_appear_and_blanks_are_values(trials: pd.DataFrame) -> None:
    assert point_numbers(trials, KEYS).tolist() == [0, 0, 1, 1, 0, 2, 0, 2]
    assert grid_points(trials, KEYS) == [
        {"train.clip": None, "model.activation": "relu"},
        {"train.clip": 1.0, "model.activation": "relu"},
        {"train.clip": None, "model.activation": "tanh"},
    ]


def test_without_a_grid_there_is_one_point(trials: pd.DataFrame) -> None:
    assert point_numbers(trials, []).tolist() == [0] * 8
    assert grid_points(trials, []) == [{}]


def test_values_of_points_are_plain_python(trials: pd.DataFrame) -> None:
    frame = trials.assign(**{"train.batch_size": 32, "model.residual": True})
    (point,) = grid_points(frame, ["train.batch_size", "model.residual"])
    assert [type(value) for value in point.values()] == [int, bool]


def test_partners_share_seed_and_point_and_both_finished(trials: pd.DataFrame) -> None:
    paired = pair_trials(trials, measures(trials), grid_keys=KEYS, baseline="none").set_index("trial")
    assert paired.index.tolist() == trials["trial"].tolist()
    assert paired.index[paired["paired"]].tolist() == [10, 11, 14, 15, 16]
    assert paired.loc[11, "partner_value"] == 0.1
    assert np.isnan(
        paired.loc[14, "partner_value"]
    )  # the baseline finished without a finite value: a pair all the same
    assert paired["finished"].tolist() == [True, True, True, False, True, True, True, False]


def test_cells_come_as_they_appear(trials: pd.DataFrame) -> None:
    paired = pair_trials(trials, measures(trials), grid_keys=KEYS, baseline="none")
    found = [(place, cell["trial"].tolist()) for place, cell in cells(paired, point_numbers(trials, KEYS))]
    assert found == [(0, [10, 16]), (0, [11, 14]), (1, [12]), (1, [13]), (2, [15]), (2, [17])]
    assert list(cells(paired[:0], point_numbers(trials[:0], KEYS))) == []


def test_cells_can_take_several_points_together(trials: pd.DataFrame) -> None:
    paired = pair_trials(trials, measures(trials), grid_keys=KEYS, baseline="none")
    found = [(place, cell["trial"].tolist()) for place, cell in cells(paired, point_numbers(trials, KEYS[1:]))]
    assert found == [(0, [10, 13, 16]), (0, [11, 12, 14]), (1, [15]), (1, [17])]
