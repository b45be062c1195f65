"""Pictures of probes show finite values of trials that didn't fail, layers in order, panels arm after arm."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bnexp.report.figures.probe_panels import layers_of, points_of, probe_figure, seeds_in, seeds_text
from tests.report.figures.made_up import ODD_NAMES, faults, probe_tables, probed_of, words

ARMS = ("none", "before")
PROBE = "gradient_norm.scale_free"


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
    probed = probed_of(trials, probes)
    assert probed.of(PROBE)["trial"].tolist() == [3]
    assert probed.of("saturation")["trial"].tolist() == [1, 2, 3]
    assert probed.of("sharpness").empty


def test_the_later_of_two_measurements_of_the_same_thing_counts() -> None:
    trials, probes = probe_tables(ARMS, seeds=1, depth=1, steps=(0,))
    late = probes[probes["probe"] == PROBE].assign(value=7.0)
    assert probed_of(trials, pd.concat([probes, late])).of(PROBE)["value"].tolist() == [7.0, 7.0]
    blank = probes.assign(layer=probes["layer"].replace("", np.nan))  # the whole network
    assert set(probed_of(trials, blank).of("loss_variation.low")["layer"]) == {""}


@pytest.mark.parametrize(
    ("by_trial", "order"),
    [
        ({0: "abc", 1: "abc"}, "abc"),
        ({0: "az", 1: "abcz"}, "abcz"),
        ({0: "bz", 1: "abc"}, "abcz"),
        ({0: "aaba"}, "ab"),
    ],
)
def test_layers_come_as_data_pass_them_whichever_trial_has_them(by_trial: dict[int, str], order: str) -> None:
    rows = [(trial, layer) for trial, layers in by_trial.items() for layer in layers]
    assert layers_of(pd.DataFrame(rows, columns=["trial", "layer"])) == list(order)


@pytest.mark.parametrize(
    ("points", "arms", "most", "chosen"),
    [
        (1, 2, 3, [0]),
        (3, 2, 3, [0, 1, 2]),
        (7, 4, 3, [0, 3, 6]),
        (7, 5, 3, [3]),
        (2, 5, 3, [1]),
        (7, 2, 1, [3]),
    ],
)
def test_three_points_are_drawn_at_most_and_one_where_there_are_many_arms(
    points: int, arms: int, most: int, chosen: list[int]
) -> None:
    table = pd.DataFrame([(point, arm) for point in range(points) for arm in range(arms)], columns=["point", "arm"])
    assert points_of(table, most) == chosen
    assert points_of(pd.DataFrame({"point": [4, 1, 4], "arm": "none"})) == [1, 4]  # only those with a value


def test_captions_say_what_is_not_drawn_and_what_diverged() -> None:
    trials, probes = probe_tables(ARMS, points=3, seeds=3, depth=1, steps=(0,))
    probed = probed_of(trials, probes)
    assert probed.caption([0, 1, 2], "one", "", "two") == "One. Two."
    assert probed.caption([0, 2]) == "Showing 2 of 3 grid points."
    assert probed.caption([1]) == "At lr\u00a02, one of 3 grid points."
    trials.loc[[0, 6, 8], "outcome"] = "diverged"
    trials.loc[1, "outcome"] = "failed"
    probed = probed_of(trials, probes[probes["trial"] > 0])  # also without a value
    assert probed.caption([0, 1, 2]) == "3 of 17 trials diverged; what is not finite is left out."
    assert probed.caption([0]).endswith("1 of 5 trials diverged; what is not finite is left out.")


def test_seeds_are_counted_where_there_are_most() -> None:
    table = probed_of(*probe_tables(ARMS, seeds=3, depth=2, steps=(0, 10))).of(PROBE)
    fewer = table[(table["arm"] == "before") | (table["seed"] == 1)]
    assert (seeds_in(fewer), seeds_text(fewer, "median")) == (3, "median over 3 seeds")
    assert seeds_text(table[table["seed"] == 1], "median") == "one seed"


def panels_of(rows: tuple[str, ...], arms: tuple[str, ...], **more: object) -> tuple[Figure, dict]:
    probed = probed_of(*probe_tables(ARMS, depth=1, steps=(0,)))
    return probe_figure(probed, rows, {arm: arm for arm in arms}, 1.5, caption="A caption.", handles=[], **more)


def test_four_arms_are_a_line_and_beyond_all_rows_come_again() -> None:
    four, five = (panels_of(("x", "y"), tuple("abcde"[:count]))[1] for count in (4, 5))
    lines = [{place: axes.get_subplotspec().rowspan.start for place, axes in panels.items()} for panels in (four, five)]
    assert lines[0] == {(row, arm): row for row in (0, 1) for arm in "abcd"}
    assert lines[1] == {(row, arm): row + 2 * (arm > "c") for row in (0, 1) for arm in "abcde"}
    numbered = {place for place, axes in five.items() if axes.xaxis.get_tick_params()["labelbottom"]}
    assert numbered == {(1, "c"), (1, "d"), (1, "e")}  # the lowest of every column


def test_square_panels_make_the_figure_as_wide_as_they_need() -> None:
    widths = [panels_of(("",), tuple("abcd"[:count]), square=True)[0].get_figwidth() for count in (1, 3, 4)]
    assert widths == sorted(set(widths))
    assert widths[0] == 4.5


@pytest.mark.parametrize("name", ODD_NAMES[2::4])
def test_any_name_is_shown_as_it_is(name: str) -> None:
    figure, _ = panels_of((f"data.name {name}", "y"), ("none", name, "before"))
    assert faults(figure) == []
    assert "".join(name.split()) in {"".join(text.split()) for text in words(figure)}
