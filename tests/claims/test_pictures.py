"""Pictures show what decides: every pair, the change of each, the margin, and all verdicts in one."""

from math import exp

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.claims.evidence import Evidence, Judgement
from bnexp.claims.pictures import COLOURS, claim_figure, verdicts_figure
from bnexp.claims.runs import Finding
from bnexp.claims.verdicts import VerdictLabel
from tests.claims.made_up import a_claim, a_study, by_seed, from_check, from_data, judged, measure
from tests.helpers import EXACT_FLOAT64, experiment
from tests.report.figures.made_up import ODD_NAMES, caption, faults, words

BASELINE, TREATED = (0.5, 0.52, 0.54), (0.7, 0.74, 0.72)


def drawn(evidence: Evidence) -> tuple[Figure, Axes, Axes]:
    figure = claim_figure(evidence)
    assert figure is not None
    left, right = figure.axes
    return figure, left, right


def dots(axes: Axes) -> list[tuple[float, float]]:
    """Where single marks stand, but for means, in the order of drawing."""
    single = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() != "D"]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in single]


def levels(axes: Axes, style: str) -> list[float]:
    """Heights of the lines across the axes."""
    across = [line for line in axes.lines if list(line.get_xdata()) == [0, 1] and line.get_linestyle() == style]
    return [float(line.get_ydata()[0]) for line in across]


def interval(axes: Axes) -> list[list[float]]:
    upright = [line for line in axes.lines if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1]
    return [list(map(float, line.get_ydata())) for line in upright]


def test_both_arms_and_every_change_are_drawn_with_the_mean_the_interval_and_the_margin() -> None:
    row = judged(BASELINE, TREATED, of=measure(label="test accuracy", margin=0.05))
    figure, left, right = drawn(from_data(row))
    assert dots(left) == [*((0, value) for value in BASELINE), *((1, value) for value in TREATED)]
    assert [text.get_text() for text in left.get_xticklabels()] == ["none", "before"]
    assert [y for _, y in dots(right)] == pytest.approx([0.2, 0.22, 0.18], rel=EXACT_FLOAT64)
    assert (levels(right, "-"), levels(right, ":")) == ([0.0], [0.05, -0.05])
    assert interval(right) == [[row.verdict.low, row.verdict.high]]
    assert [line.get_ydata()[0] for line in right.lines if line.get_marker() == "D"] == [row.verdict.change]
    assert {"Test accuracy", "agrees ↑", "against ↓", "equal"} <= set(words(figure))
    assert caption(figure) == "With equal settings, n = 3 seeds: SUPPORTED; the margin is 0.05."
    assert faults(figure) == []


def test_logarithms_are_drawn_as_ratios_the_claim_s_direction_upwards() -> None:
    figure, left, right = drawn(
        from_data(judged((8, 8, 9), (2, 4, 3), of=measure(log=True, better="lower", margin=0.5)))
    )
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    assert [y for _, y in dots(right)] == pytest.approx([4, 2, 3], rel=EXACT_FLOAT64)
    assert (levels(right, "-"), levels(right, ":")) == ([1.0], [exp(0.5), exp(-0.5)])
    assert "the margin is ×1.65" in caption(figure)
    assert faults(figure) == []


def test_the_other_regime_stands_pale_beside_it_if_it_is_calm() -> None:
    tuned = judged(BASELINE, TREATED, "tuned")
    calm = judged((0.4, 0.4, 0.4), (0.5, 0.6, 0.7), decides=False)
    figure, left, _ = drawn(from_data(calm, tuned))
    assert len(dots(left)) == 12
    assert dots(left)[:3] == [(0, value) for value in BASELINE]
    assert caption(figure).endswith("Pale: with equal settings, INCONCLUSIVE.")
    assert faults(figure) == []
    wild = judged((0, 0, 0), (400, -500, 600), decides=False)
    assert len(dots(drawn(from_data(wild, tuned))[1])) == 6


def test_rows_that_decide_stand_side_by_side_with_what_they_are_of() -> None:
    of = measure(label="test accuracy", each="model.activation")
    rows = [
        judged(*values, "tuned", of=of, point={"model.activation": name})
        for name, values in (("sigmoid", (BASELINE, TREATED)), ("relu", (TREATED, BASELINE)))
    ]
    figure, left, right = drawn(from_data(judged(BASELINE, TREATED, of=of, decides=False), *rows))
    assert len(dots(left)) == 12
    assert {"sigmoid", "relu"} <= set(words(figure))
    assert interval(right) == [[row.verdict.low, row.verdict.high] for row in rows]
    said = "Each arm with what it chose, n = 3 seeds: sigmoid SUPPORTED, relu OPPOSITE; the margin is 0.01."
    assert caption(figure) == said
    assert faults(figure) == []
    overview = verdicts_figure([from_data(*rows)])
    assert overview is not None
    assert {"made_up, sigmoid", "made_up, relu"} <= set(words(overview))


def test_many_rows_that_decide_have_room() -> None:
    of = measure(label="test accuracy", each=["model.family", "model.activation"])
    places = [
        {"model.family": family, "model.activation": activation}
        for family in ("mlp", "vgg")
        for activation in ("relu", "tanh", "sigmoid", "elu")
    ]
    figure, left, _ = drawn(from_data(*(judged(BASELINE, TREATED, of=of, point=place) for place in places)))
    assert len(dots(left)) == 8 * 6
    assert faults(figure) == []


def test_bounds_are_hollow() -> None:
    figure, left, right = drawn(from_data(judged(BASELINE, TREATED, bound=(True, False, False))))
    hollow = [line.get_ydata()[0] for line in (*left.lines, *right.lines) if line.get_markerfacecolor() == "white"]
    assert hollow == pytest.approx([0.5, 0.7, 0.2])
    assert "Hollow: a bound only." in caption(figure)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_labels_are_shown_as_they_are_and_nothing_touches(name: str) -> None:
    label = " ".join(name.split()).replace("\x1b", "")
    figure, _, _ = drawn(from_data(judged(BASELINE, TREATED, of=measure(label=label, arm="a" * 40, baseline="b" * 40))))
    assert faults(figure) == []


def test_without_a_number_or_a_run_there_is_no_picture() -> None:
    assert claim_figure(from_data(judged((), ()))) is None
    assert claim_figure(from_data(judged((np.inf, np.inf), (1, 2)))) is None
    assert claim_figure(Evidence(a_claim(measure()), missing=True)) is None


def test_a_claim_that_is_described_shows_its_probes_or_its_curves() -> None:
    study = a_study(*by_seed("none", [0.5, 0.6]), *by_seed("before", [0.7, 0.8]))
    described = a_claim(experiment={}, tiers={"small": {}, "full": {}})
    figure = claim_figure(Evidence(described, studies={"equal": study}, experiment=experiment()))
    assert figure is not None
    assert "made up" in words(figure)


# All verdicts


def test_all_verdicts_stand_in_margins_in_the_colour_of_their_word() -> None:
    rows = [
        judged(BASELINE, TREATED, of=measure(margin=0.1)),
        judged(TREATED, BASELINE, of=measure(margin=0.1)),
        judged(BASELINE, TREATED, of=measure(margin=0.22)),
    ]
    figure = verdicts_figure([from_data(row) for row in rows])
    assert figure is not None
    (axes,) = figure.axes
    means = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in means] == pytest.approx([2, -2, 0.2 / 0.22], rel=EXACT_FLOAT64)
    labels = VerdictLabel.supported, VerdictLabel.opposite, VerdictLabel.too_small
    assert [line.get_color() for line in means] == [COLOURS[label] for label in labels]
    ends = [
        list(line.get_xdata()) for line in axes.lines if line.get_marker() == "None" and line.get_color() != "#555555"
    ]
    assert "arrow" not in caption(figure)
    assert ends == [pytest.approx(in_margins(row), rel=EXACT_FLOAT64) for row in rows]
    assert faults(figure) == []


def in_margins(row: Judgement) -> list[float]:
    ends = (row.verdict.low, row.verdict.high)
    return [end / row.measure.margin for end in ends if end is not None]


def test_what_lies_beyond_the_axis_is_an_arrow_on_its_side() -> None:
    rows = [judged(*pairs, of=measure(margin=0.0001)) for pairs in ((BASELINE, TREATED), (TREATED, BASELINE))]
    figure = verdicts_figure([from_data(row) for row in rows])
    assert figure is not None
    assert [line.get_marker() for line in figure.axes[0].lines if line.get_marker() in ("<", ">")] == [">", "<"]
    assert caption(figure).endswith("An arrow: beyond the axis.")
    assert faults(figure) == []
    assert verdicts_figure([Evidence(a_claim(measure()), missing=True)]) is None


def test_of_a_check_every_error_and_what_it_may_be_is_drawn_and_what_is_exact_is_told() -> None:
    found = (
        Finding("near", "off by 1e-8", 1e-8, 1e-6),
        Finding("far", "off by 1", 1.0, 1e-6),
        Finding("counted", "7, 8", 0, 0),
    )
    figure = claim_figure(from_check(*found, Finding("seen", "a lot")))
    assert figure is not None
    (axes,) = figure.axes
    drawn_at = [(line.get_marker(), float(line.get_xdata()[0])) for line in axes.lines]
    assert [each for each in drawn_at if each[0] != "None"] == [("o", -8), ("X", 0), ("o", -18)]
    assert [x for marker, x in drawn_at if marker == "None"] == [-6, -6]
    assert {"near", "far", "counted", "seen", "7, 8", "a lot"} <= set(words(figure))
    assert faults(figure) == []
