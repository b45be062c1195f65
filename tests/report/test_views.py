"""Every view holds what the comparison holds, and appears only where it says something."""

from dataclasses import replace

import pytest

from bnexp.analysis.comparison import BestRow, Comparison, Overall, RobustnessRow
from bnexp.report.views import VIEWS, remarks, rows_of, tables

OVERALL = Overall(
    arm="before",
    mean=0.6,
    baseline_mean=0.4,
    difference=0.2,
    difference_low=0.1,
    difference_high=0.3,
    bootstrap_low=0.11,
    bootstrap_high=0.29,
    effect=1.25,
    p=0.002,
    seeds=10,
    better=9,
    points=2,
)
BEST = BestRow(
    arm="before",
    baseline="none",
    point={"model.init.scale": 0.1},
    validation=0.91,
    n=3,
    mean=0.9,
    low=0.88,
    high=0.92,
    difference=0.1,
    difference_low=0.05,
    difference_high=0.15,
    effect=2.0,
    p=0.25,
    pairs=3,
    better=3,
    candidates=16,
    excluded=(),
    seeds=3,
    seeds_left_out=0,
    epochs=960,
    edges=("model.init.scale",),
)
ROBUST = RobustnessRow(
    axis="model.init.scale",
    arm="before",
    baseline="none",
    values=16,
    worst=0.11,
    worst_at=0.0001,
    best=0.98,
    best_at=0.1,
    spread=0.87,
    usable=12,
    usable_low=0.001,
    usable_high=1.0,
    width=1000.0,
    width_ratio=250.0,
)


@pytest.fixture
def whole(comparison: Comparison) -> Comparison:
    """A comparison with something in every view: two grid points, a best, an axis, a diverged trial."""
    other = replace(comparison.rows[1], point={"model.init.scale": 1.0})
    return replace(
        comparison, rows=(*comparison.rows, other), overall=(OVERALL,), best=(BEST,), robustness=(ROBUST,), points=2
    )


def cells(comparison: Comparison, view: str, row: int = 0) -> dict[str, str]:
    (table,) = tables(comparison, view)
    return dict(zip(table.headers, table.rows[row], strict=True))


def test_the_main_view_is_all_but_time(whole: Comparison) -> None:
    titles = [table.title for table in tables(whole, title="a run")]
    assert titles == ["a run", "Over all grid points", "Each arm at its best", "Robustness", "Diverged trials"]
    assert [table.title for table in tables(whole, "all")][-1] == "Time and cost"
    assert len(tables(whole, "all")) == len(VIEWS) - 1  # no probe: nothing about evaluation


def test_a_view_alone_bears_the_title_and_its_own(whole: Comparison) -> None:
    assert tables(whole, "best", "a run")[0].title == "a run: each arm at its best"


@pytest.mark.parametrize("view", ["main", "equal", "time", "all"])
def test_before_a_trial_has_ended_there_is_one_sentence_instead_of_empty_rows(whole: Comparison, view: str) -> None:
    blank = tuple(replace(row, n=0, trials=0, failed=0, mean=None) for row in whole.rows)
    (nothing,) = tables(replace(whole, rows=blank, finished=0, planned=27), view, "a run")
    assert (nothing.title, nothing.rows) == ("a run", ())
    assert nothing.headers == ("None of 27 trials has ended, so there is nothing to compare yet.",)
    assert "bnexp compare --plot" in nothing.notes[0]


def test_rows_without_a_trial_that_ended_are_left_out(whole: Comparison) -> None:
    first, *rest = whole.rows
    blank = replace(first, n=0, trials=0, failed=0, mean=None)
    shown = tables(replace(whole, rows=(blank, *rest)), "equal")[0]
    assert len(shown.rows) == len(rest)


def test_views_without_rows_are_left_out(comparison: Comparison) -> None:
    assert [table.title for table in tables(comparison)] == ["", "Diverged trials"]
    (nothing,) = tables(comparison, "best", "a run")
    assert (nothing.title, nothing.headers) == ("a run", ("nothing to show as best",))


def test_overall(whole: Comparison) -> None:
    assert cells(whole, "overall") == {
        "arm": "before",
        "seeds": "10",
        "final test accuracy": "0.600",
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
    assert note in table.notes


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
    found = cells(replace(whole, robustness=(replace(unusable, worst_at=None),)), "robust")
    assert (found["worst final test accuracy"], found["width"]) == ("-", "-")


def test_the_notes_say_what_usable_means_and_which_way_a_loss_goes(whole: Comparison) -> None:
    (table,) = tables(whole, "robust")
    assert table.notes[0].startswith("worst, best: lowest and highest mean along the axis")
    (table,) = tables(replace(whole, metric="final_train_loss"), "robust")
    assert table.notes[0].startswith("worst, best: highest and lowest mean along the axis")


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
    assert f"and end {text}, at the best" in table.notes[1]


def test_an_interval_that_was_cut_is_told(whole: Comparison) -> None:
    said = "An interval that ends at the smallest or largest possible value is cut there"
    assert not any(note.startswith(said) for view in ("overall", "best") for note in tables(whole, view)[0].notes)
    for view, cut in (
        ("overall", replace(whole, overall=(replace(OVERALL, difference_high=1.0),))),
        ("best", replace(whole, best=(replace(BEST, high=1.0),))),
        ("equal", replace(whole, rows=(replace(whole.rows[1], low=0.0),))),
    ):
        assert any(note.startswith(said) for note in tables(cut, view)[0].notes)


def test_an_interval_without_width_is_told(whole: Comparison) -> None:
    said = "An interval without width: its seeds came out exactly alike."
    for view in ("equal", "overall", "best"):
        assert not any(note.startswith(said) for note in tables(whole, view)[0].notes)
    for view, flat in (
        ("overall", replace(whole, overall=(replace(OVERALL, difference_low=0.2, difference_high=0.2),))),
        ("best", replace(whole, best=(replace(BEST, mean=1.0, low=1.0, high=1.0),))),
        ("equal", replace(whole, rows=(replace(whole.rows[1], low=0.17, high=0.17),))),
    ):
        assert any(note.startswith(said) for note in tables(flat, view)[0].notes)


def test_where_no_value_is_finite_the_pairs_that_did_better_are_a_dash(whole: Comparison) -> None:
    row = next(row for row in whole.rows if row.pairs)
    assert cells(replace(whole, rows=(replace(row, better=None),)), "equal")["better"] == "-"
    assert cells(replace(whole, overall=(replace(OVERALL, better=None),)), "overall")["better"] == "-"


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
        for note in table.notes
    )


def test_remarks_are_sentences(comparison: Comparison) -> None:
    said = replace(comparison, warnings=("few seeds: 3",), differs=("lr: 1 in a, 2 in b",), left_out=("c: nothing",))
    assert remarks(said) == ("Differs: lr: 1 in a, 2 in b.", "Left out: c: nothing.", "Careful: few seeds: 3.")


def test_rows_of_a_view_are_its_records(whole: Comparison) -> None:
    assert rows_of(whole, "best") == (BEST,)
    assert rows_of(whole, "robust") == (ROBUST,)
    assert rows_of(whole, "overall") == (OVERALL,)
    assert rows_of(whole, "main") == rows_of(whole, "time") == whole.rows
