"""What is drawn of the probes: finite values of trials that didn't fail, layers in order, points evenly chosen."""

import numpy as np
import pandas as pd
import pytest

from bnexp.report.figures.probe_panels import Probed, layers_of, make_probed, middle, points_of, seeds_in, seeds_text
from tests.report.figures.made_up import probe_tables, study_of

ARMS = ("none", "before")
PROBE = "gradient_norm.scale_free"


def probed_of(trials: pd.DataFrame, probes: pd.DataFrame) -> Probed:
    return make_probed(study_of((trials, trials), ARMS, probes=probes))


def rows_of(layers_by_trial: dict[int, list[str]]) -> pd.DataFrame:
    rows = [(trial, layer) for trial, layers in layers_by_trial.items() for layer in layers]
    return pd.DataFrame(rows, columns=["trial", "layer"])


def test_values_stand_beside_what_is_known_of_their_trial() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=2, depth=2, steps=(0, 10))
    table = probed_of(trials, probes).of(PROBE)
    assert len(table) == 2 * 2 * 2 * 2 * 2  # points, arms, seeds, layers, steps
    known = trials.set_index("trial").loc[table["trial"]]
    assert table["arm"].tolist() == known["arm"].tolist()
    assert table["seed"].tolist() == known["seed"].tolist()
    assert (table["point"] + 1).tolist() == known["train.lr"].tolist()
    assert table["value"].tolist() == probes.loc[probes["probe"] == PROBE, "value"].tolist()


def test_values_that_are_not_finite_and_failed_trials_are_left_out() -> None:
    trials, probes = probe_tables(ARMS, seeds=2, depth=1, steps=(0,))
    trials["outcome"] = ["failed", "diverged", None, "completed"]
    rows = probes.index[probes["probe"] == PROBE]
    probes["value"] = probes["value"].astype(object)
    probes.loc[rows[1:3], "value"] = [np.inf, "nan"]
    assert probed_of(trials, probes).of(PROBE)["trial"].tolist() == [3]
    assert probed_of(trials, probes).of("saturation")["trial"].tolist() == [1, 2, 3]
    assert probed_of(trials, probes).of("sharpness").empty


def test_of_two_measurements_of_the_same_thing_the_later_row_counts() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=(0,))
    late = probes[probes["probe"] == PROBE].assign(value=7.0)
    table = probed_of(trials, pd.concat([probes, late])).of(PROBE)
    assert table["value"].tolist() == [7.0, 7.0]


def test_a_layer_without_a_name_is_the_whole_network() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=(0,))
    blank = probes.assign(layer=probes["layer"].replace("", np.nan))
    assert set(probed_of(trials, blank).of("loss_variation.low")["layer"]) == {""}


@pytest.mark.parametrize(
    ("by_trial", "order"),
    [
        ({0: ["a", "b", "c"], 1: ["a", "b", "c"]}, "abc"),
        ({0: ["a", "z"], 1: ["a", "b", "c", "z"]}, "abcz"),
        ({0: ["b", "z"], 1: ["a", "b", "c"]}, "abcz"),
        ({0: ["a", "a", "b", "a"]}, "ab"),
    ],
)
def test_layers_come_as_data_pass_them_whichever_trial_has_them(by_trial: dict[int, list[str]], order: str) -> None:
    assert layers_of(rows_of(by_trial)) == list(order)


@pytest.mark.parametrize(
    ("points", "arms", "chosen"),
    [(1, 2, [0]), (2, 2, [0, 1]), (3, 2, [0, 1, 2]), (7, 4, [0, 3, 6]), (7, 5, [3]), (2, 5, [1])],
)
def test_three_points_are_drawn_at_most_and_one_where_there_are_many_arms(
    points: int, arms: int, chosen: list[int]
) -> None:
    table = pd.DataFrame([(point, arm) for point in range(points) for arm in range(arms)], columns=["point", "arm"])
    assert points_of(table) == chosen
    assert middle(chosen) == [chosen[len(chosen) // 2]]


def test_only_points_with_a_value_are_drawn() -> None:
    assert points_of(pd.DataFrame({"point": [4, 1, 4], "arm": "none"})) == [1, 4]


def test_what_is_not_all_is_said() -> None:
    probed = probed_of(*probe_tables(ARMS, points=3, seeds=1, depth=1, steps=(0,)))
    assert probed.seen([0, 1, 2]) == ""
    assert probed.seen([0, 2]) == "showing 2 of 3 grid points"
    assert probed.seen([1]) == "at lr\u00a02, one of 3 grid points"
    assert probed_of(*probe_tables(ARMS, seeds=1, depth=1, steps=(0,))).seen([0]) == ""


def test_seeds_are_counted_where_there_are_most() -> None:
    table = probed_of(*probe_tables(ARMS, seeds=3, depth=2, steps=(0, 10))).of(PROBE)
    fewer = table[(table["arm"] == "before") | (table["seed"] == 1)]
    assert (seeds_in(fewer), seeds_text(fewer, "median")) == (3, "median over 3 seeds")
    assert seeds_text(table[table["seed"] == 1], "median") == "one seed"


def test_diverged_trials_of_the_points_are_counted_also_without_a_value() -> None:
    trials, probes = probe_tables(ARMS, points=2, seeds=3, depth=1, steps=(0,))
    assert probed_of(trials, probes).diverged([0, 1]) == ""
    trials.loc[[0, 6, 8], "outcome"] = "diverged"
    trials.loc[1, "outcome"] = "failed"
    probed = probed_of(trials, probes[probes["trial"] > 0])
    assert probed.diverged([0]) == "1 of 5 trials diverged; what is not finite is left out"
    assert probed.diverged([0, 1]) == "3 of 11 trials diverged; what is not finite is left out"
