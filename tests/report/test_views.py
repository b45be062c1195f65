"""Every view holds what the comparison holds, and appears only where it says something."""

from dataclasses import replace
from typing import Any

import pytest

from bnexp.analysis.comparison import BestRow, Comparison, Overall, RobustnessRow
from bnexp.analysis.planning import with_plan
from bnexp.analysis.stats import wilson_interval
from bnexp.analysis.tuning_curve import TuningLead, TuningRow
from bnexp.errors import InputError
from bnexp.report.table import Table
from bnexp.report.views import VIEWS, frame, tables, view_table
from tests.report.conftest import BEFORE_ROW

OVERALL = Overall(
    arm="before", mean=0.6, baseline_mean=0.4, difference=0.2, difference_low=0.1, difference_high=0.3,
    bootstrap_low=0.11, bootstrap_high=0.29, deviation=0.05, effect=1.25, p=0.002, seeds=10, better=9, points=2,
)  # fmt: skip
BEST = BestRow(
    arm="before", baseline="none", point={"model.init.scale": 0.1}, validation=0.91, n=3, mean=0.9, low=0.88, high=0.92,
    difference=0.1, difference_low=0.05, difference_high=0.15, deviation=0.05, effect=2.0, p=0.25, pairs=3, better=3,
    candidates=16, excluded=(), seeds=3, seeds_left_out=0, epochs=960, edges=("model.init.scale",),
)  # fmt: skip
ROBUST = RobustnessRow(
    axis="model.init.scale", arm="before", baseline="none", values=16, worst=0.11, worst_at=0.0001, best=0.98,
    best_at=0.1, spread=0.87, usable=12, usable_low=0.001, usable_high=1.0, width=1000.0, width_ratio=250.0,
)  # fmt: skip


@pytest.fixture
def whole(comparison: Comparison) -> Comparison:
    """A comparison with something in every view: two grid points, a best, an axis, a diverged trial."""
    other = replace(comparison.rows[1], point={"model.init.scale": 1.0})
    return replace(
        comparison, rows=(*comparison.rows, other), overall=(OVERALL,), best=(BEST,), robustness=(ROBUST,), points=2
    )


def equal(comparison: Comparison, title: str = "") -> Table:
    (table,) = tables(comparison, "equal", title)
    return table


def cells(comparison: Comparison, view: str, row: int = 0) -> dict[str, str]:
    (table,) = tables(comparison, view)
    return dict(zip(table.headers, table.rows[row], strict=True))


def test_the_main_view_is_all_but_time(whole: Comparison) -> None:
    titles = [table.title for table in tables(whole, title="a run")]
    assert titles == ["a run", "Over all grid points", "Each arm at its best", "Robustness", "Diverged trials"]
    assert tables(whole, "best", "a run")[0].title == "a run: each arm at its best"
    assert [table.title for table in tables(whole, "all")][-1] == "Time and cost"
    unasked = {"evaluation", "sequence", "ladder", "plan", "across", "tuning"}
    assert len(tables(whole, "all")) == len(VIEWS.keys() - unasked)


TRIED = TuningRow(
    run="a-run", point={}, arm="before", tries=2, settings=9, seeds=3, validation=0.7, validation_low=0.1,
    validation_high=0.9, validation_error=0.01, test=0.71, test_low=0.12, test_high=0.91,
)  # fmt: skip


def test_tries_of_a_tuning_have_a_table_and_a_sentence_where_one_arm_needs_fewer(whole: Comparison) -> None:
    lead = TuningLead("a-run", {}, "before", 1, "none", 9, 0.5)
    found = replace(whole, tuning=(TRIED,), tuning_leads=(lead,), labels={"before": "with BN"})
    assert cells(found, "tuning") == {
        "tries": "2 of 9",
        "arm": "with BN",
        "validation accuracy": "0.700 [0.100, 0.900]",
        "test accuracy": "0.710 [0.120, 0.910]",
    }
    (table,) = tables(found, "tuning")
    said = "n average with BN needs 1 try for what none needs 9 for: a validation accuracy of 0.500."
    assert f"O{said}" in table.lines
    other = replace(TRIED, run="b-run", point={"model.depth": 5}, test=None, test_low=None, test_high=None)
    first = replace(other, run="a-run")
    lead = replace(lead, point=other.point)
    (table,) = tables(replace(found, tuning=(first, other), tuning_leads=(lead,)), "tuning")
    assert table.headers == ("run", "depth", "tries", "arm", "validation accuracy")
    assert f"a-run, depth 5: o{said}" in table.lines
    assert "There is no test accuracy, because the tuning had no test images." in table.lines
    assert frame(found, "tuning").columns[:5].tolist() == ["run", "arm", "tries", "settings", "seeds"]


@pytest.mark.parametrize(("tunings", "unit", "other"), [(0, "seeds", "tunings"), (3, "tunings", "seeds")])
def test_legends_say_what_n_counts(whole: Comparison, tunings: int, unit: str, other: str) -> None:
    plan = with_plan(replace(whole, tunings=tunings, images=100), 0.01, 0.1)
    for view, said in {
        "equal": (f"t interval over the n {unit};", f"paired over {unit},", f"These intervals are about new {unit}."),
        "overall": (f"below some 30 {unit} it", f"statistics over the {unit} that have all"),
        "plan": (f"{unit} for ±0.01: how", f"{unit} to settle it", f"All this is about new {unit}."),
    }.items():
        text = "\n".join(view_table(plan, view).lines)
        assert [each for each in said if each not in text] == []
        assert f"over the n {other}" not in text


def test_where_few_images_leave_more_open_than_the_seeds_a_note_says_how_much(comparison: Comparison) -> None:
    def notes(images: int | None) -> str:
        return " ".join(tables(replace(comparison, images=images), "equal")[0].notes)

    intervals = [wilson_interval(round(100 * row.mean), 100) for row in comparison.rows]
    widest = max(high - low for low, high in intervals)
    assert f"With 100 other test images a mean could also be up to {widest / 2:.3f} higher or lower" in notes(100)
    assert "other test images" not in notes(10**9)
    assert "other test images" not in notes(None)


@pytest.mark.parametrize("view", ["main", "equal", "time", "all"])
def test_before_a_trial_has_ended_there_is_one_sentence_instead_of_empty_rows(whole: Comparison, view: str) -> None:
    blank = tuple(replace(row, n=0, trials=0, failed=0, mean=None) for row in whole.rows)
    (nothing,) = tables(replace(whole, rows=blank, finished=0, planned=27), view, "a run")
    assert (nothing.title, nothing.rows) == ("a run", ())
    assert nothing.headers == ("None of 27 trials has ended, so there is nothing to compare yet.",)
    assert "bnexp compare --plot" in nothing.lines[0]


def test_rows_without_a_trial_that_ended_are_left_out(whole: Comparison) -> None:
    first, *rest = whole.rows
    blank = replace(first, n=0, trials=0, failed=0, mean=None)
    shown = tables(replace(whole, rows=(blank, *rest)), "equal")[0]
    assert len(shown.rows) == len(rest)
    begun = replace(ROBUST, values=0, usable=0, usable_low=None, usable_high=None, arm="none")
    (table,) = tables(replace(whole, robustness=(begun, ROBUST)), "robust")
    assert len(table.rows) == 1


def test_views_without_rows_are_left_out(comparison: Comparison) -> None:
    assert [table.title for table in tables(comparison)] == ["", "Diverged trials"]
    (nothing,) = tables(comparison, "best", "a run")
    assert (nothing.title, nothing.headers) == ("a run", ("nothing to show as best",))


def test_overall(whole: Comparison) -> None:
    assert cells(whole, "overall") == {
        "arm": "before",
        "seeds": "10",
        "final test accuracy": "0.600",
        "mean of none": "0.400",
        "difference to none": "+0.200 [+0.100, +0.300]",
        "bootstrap": "[+0.110, +0.290]",
        "effect": "+1.2",
        "p": "0.002",
        "better": "9/10",
    }
    plain = replace(whole, overall=(replace(OVERALL, bootstrap_low=None, bootstrap_high=None),))
    assert "bootstrap" not in cells(plain, "overall")


def test_overall_counts_the_grid_points_of_the_trials_not_of_the_rows_shown(whole: Comparison) -> None:
    given = replace(whole, rows=whole.rows[:1], overall=(replace(OVERALL, points=16),), points=16)
    (table,) = tables(given, "overall")
    note = "Each seed's mean over its pairs at 16 grid points; statistics over the seeds that have all."
    assert note in table.lines


def test_best(whole: Comparison) -> None:
    assert cells(whole, "best") == {
        "arm": "before",
        "best point": "init.scale 0.1 (edge)",
        "final val accuracy": "0.910",
        "n": "3",
        "final test accuracy": "0.900 [0.880, 0.920]",
        "difference to none": "+0.100 [+0.050, +0.150]",
        "effect": "+2.0",
        "p": "0.250",
        "better": "3/3",
        "chosen from": "16 points, 960 epochs",
    }


def test_robustness(whole: Comparison) -> None:
    assert cells(whole, "robust") == {
        "axis": "init.scale",
        "arm": "before",
        "worst final test accuracy": "0.110 at 0.0001",
        "best": "0.980 at 0.1",
        "spread": "0.870",
        "usable": "12/16",
        "usable range": "0.001 to 1",
        "width": "1,000×",
        "width to none": "250×",
    }
    unusable = replace(ROBUST, usable=0, usable_low=None, usable_high=None, width=None, width_ratio=None, worst=None)
    found = cells(replace(whole, robustness=(unusable,)), "robust")
    assert (found["worst final test accuracy"], found["usable range"]) == ("not finite at 0.0001", "none")
    found = cells(replace(whole, robustness=(ROBUST, replace(unusable, worst_at=None))), "robust", row=1)
    assert (found["worst final test accuracy"], found["width"]) == ("-", "-")


@pytest.mark.parametrize(
    ("metric", "ends"), [("final_test_accuracy", "lowest and highest"), ("final_train_loss", "highest and lowest")]
)
def test_the_notes_say_which_way_a_loss_goes(whole: Comparison, metric: str, ends: str) -> None:
    (table,) = tables(replace(whole, metric=metric), "robust")
    assert table.lines[0].startswith(f"worst, best: {ends} mean along the axis")


@pytest.mark.parametrize(
    ("above", "guessing", "measured", "text"),
    [
        (0.12, 0.1, False, "with an accuracy above 0.120 (guessing 0.1 + 0.02)"),
        (0.1402, 0.1, False, "with an accuracy above 0.140 (guessing 0.1 + three standard errors 0.040)"),
        (0.51, 0.49, True, "with an accuracy above 0.510 (the mean before training 0.490 + 0.02)"),
        (None, None, False, "0.02 above chance"),
    ],
)
def test_usable_is_said_with_what_was_added_to_what(
    whole: Comparison, above: float | None, guessing: float | None, measured: bool, text: str
) -> None:
    row = replace(ROBUST, usable_above=above, guessing=guessing, guessing_measured=measured)
    (table,) = tables(replace(whole, robustness=(row,)), "robust")
    assert f"and end {text}, at the best" in table.lines[1]


CUT = "An interval that ends at the smallest or largest possible value is cut there"
FLAT = "An interval without width: all its seeds gave exactly the same value."


@pytest.mark.parametrize(
    ("said", "view", "field", "row", "ends"),
    [
        (CUT, "overall", "overall", OVERALL, {"difference_high": 1.0}),
        (CUT, "best", "best", BEST, {"high": 1.0}),
        (CUT, "equal", "rows", BEFORE_ROW, {"low": 0.0}),
        (FLAT, "overall", "overall", OVERALL, {"difference_low": 0.2, "difference_high": 0.2}),
        (FLAT, "best", "best", BEST, {"mean": 1.0, "low": 1.0, "high": 1.0}),
        (FLAT, "equal", "rows", BEFORE_ROW, {"low": 0.17, "high": 0.17}),
    ],
)
def test_an_interval_that_was_cut_or_has_no_width_is_told(
    whole: Comparison, said: str, view: str, field: str, row: Any, ends: dict[str, float]
) -> None:
    for shown, told in ((row, False), (replace(row, **ends), True)):
        (table,) = tables(replace(whole, **{field: (shown,)}), view)
        assert any(note.startswith(said) for note in table.lines) == told


def test_a_count_that_means_nothing_is_a_dash(whole: Comparison) -> None:
    unknown = replace(whole.rows[1], better=None)
    assert cells(replace(whole, rows=(whole.rows[1], unknown)), "equal", row=1)["better"] == "-"
    overall = (OVERALL, replace(OVERALL, better=None))
    assert cells(replace(whole, overall=overall), "overall", row=1)["better"] == "-"


def test_time(whole: Comparison) -> None:
    assert cells(whole, "time", row=1) == {
        "init.scale": "0.007356",
        "arm": "before",
        "epochs to 0.9": "3",
        "reached": "2/3",
        "first": "2/3",
        "restricted mean": "9",
        "seconds to 0.9": "0.2",
        "seconds per epoch": "0.07",
        "cost of a step": "1.40×",
        "gap": "+0.010",
    }


def test_diverged_trials_have_a_rate_and_the_survivors_beside_all(whole: Comparison) -> None:
    assert cells(whole, "diverged") == {
        "init.scale": "0.007356",
        "arm": "none",
        "diverged": "1/3",
        "rate": "0.33 [0.06, 0.79]",
        "final test accuracy, all trials": "0.118",
        "survivors only": "0.125",
    }


@pytest.mark.parametrize("view", ["equal", "robust", "diverged"])
def test_what_diverged_means_stands_under_every_table_that_counts_it(whole: Comparison, view: str) -> None:
    rows = tuple(replace(row, diverged=0) if view != "diverged" else row for row in whole.rows)
    (table,) = tables(replace(whole, rows=rows), view)
    assert any(
        note.startswith("diverged: a number is no longer finite, or from some step to the end every batch loss is")
        for note in table.lines
    )


def test_cells(comparison: Comparison) -> None:
    table = equal(comparison, "init_scale")
    assert table.title == "init_scale"
    assert dict(zip(table.headers, table.rows[0], strict=True)) == {
        "init.scale": "0.007356",
        "arm": "none",
        "n": "3",
        "final test accuracy": "0.118 [0.100, 0.136]",
        "difference to none": "-",
        "effect": "-",
        "p": "-",
        "better": "-",
        "epochs to 0.9": "not reached",
        "diverged": "1/3",
    }
    assert table.rows[1][:4] == ("0.007356", "before", "3", "0.333 [0.300, 0.360]")
    assert table.rows[1][4:] == ("+0.215 [+0.190, +0.240]", "+4.2", "0.250", "3/3", "3", "0/3")


def test_notes_name_the_interval_and_the_smallest_p(comparison: Comparison) -> None:
    lines = equal(comparison).lines
    assert lines[0].startswith("mean [low, high]: 95 % Student t interval over the n seeds")
    assert lines[1].startswith("difference: paired over seeds")
    assert "p: two-sided exact sign-flip test. With 3 pairs p can't fall below 0.25." in lines
    baseline, before = comparison.rows
    six = equal(replace(comparison, rows=(replace(baseline, n=6), replace(before, n=6, pairs=6, p=0.0004))))
    assert "p: two-sided exact sign-flip test." in six.lines
    assert six.rows[1][6] == "<0.001"


def test_one_seed_shows_no_interval_and_says_why(comparison: Comparison) -> None:
    single = {"n": 1, "p": None, "effect": None}
    single |= dict.fromkeys(("low", "high", "difference_low", "difference_high"))
    baseline, before = comparison.rows
    rows = (replace(baseline, **single), replace(before, **single, pairs=1))
    table = equal(replace(comparison, rows=rows))
    assert table.rows[1][3:5] == ("0.333", "+0.215")
    assert not {"p", "effect"} & set(table.headers)  # no row has one
    assert any(note.startswith("One seed shows no spread") for note in table.lines)
    assert not any("interval over" in note for note in table.lines)


def test_rows_without_a_value_have_dashes(comparison: Comparison) -> None:
    baseline, before = comparison.rows
    failed = replace(baseline, n=0, trials=0, diverged=0, mean=None, low=None, high=None, failed=3)
    table = equal(replace(comparison, rows=(failed, before)))
    assert table.headers[-1] == "failed"
    assert table.rows[0][2:] == ("0", "-", "-", "-", "-", "-", "-", "0/0", "3")
    assert table.rows[1][-1] == "0"


def test_a_loss_that_is_not_finite_is_explained(comparison: Comparison) -> None:
    rows = (replace(comparison.rows[0], mean=None, low=None, high=None), comparison.rows[1])
    table = equal(replace(comparison, metric="final_train_loss", rows=rows))
    assert table.rows[0][3] == "-"
    assert "No mean where a trial's value isn't finite." in table.lines


def test_a_single_arm_has_no_difference_to_itself(comparison: Comparison) -> None:
    table = equal(replace(comparison, rows=comparison.rows[:1]))
    assert "p" not in table.headers
    assert not any(header.startswith("difference") for header in table.headers)


def test_columns_are_chosen_by_header_or_field_in_the_order_asked_for(whole: Comparison) -> None:
    (table,) = tables(whole, "equal", columns=["difference", "arm", "final test accuracy", "scale"])
    assert table.headers == ("difference to none", "arm", "final test accuracy", "init.scale")
    assert [line.partition(":")[0] for line in table.lines] == ["difference", "mean [low, high]"]
    assert [len(table.columns) for table in tables(whole, columns=["arm", "axis"])] == [1, 1, 1, 2, 1]
    with pytest.raises(
        InputError, match=r"--columns efect: no such column \(nearest: effect\); there are init.scale, arm, n,"
    ):
        tables(whole, "equal", columns=["efect"])


def test_a_frame_has_the_numbers_behind_the_table(whole: Comparison) -> None:
    equal = frame(whole, "equal")
    assert list(equal.columns[:4]) == ["model.init.scale", "arm", "baseline", "n"]
    assert list(equal["mean"]) == [row.mean for row in whole.rows]
    assert frame(whole, "best")["model.init.scale"].tolist() == [0.1]
    for view in VIEWS:
        assert len(frame(whole, view)) == len(view_table(whole, view).records)
    assert list(frame(whole, "evaluation").columns)[:2] == ["model.init.scale", "arm"]  # also where there are no rows


def test_arms_go_by_their_labels_in_tables_and_by_their_names_in_numbers(whole: Comparison) -> None:
    labelled = replace(whole, labels={"before": "with BN", "none": "without BN"})
    table = equal(labelled)
    assert [row[1] for row in table.rows] == ["without BN", "with BN", "with BN"]
    assert "difference to without BN" in table.headers
    assert "better: pairs in which the arm did better than without BN." in table.lines
    assert list(frame(labelled)["arm"]) == ["none", "before", "before"]
