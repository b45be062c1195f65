"""The table says what the comparison holds, and under it what it doesn't show."""

from dataclasses import replace

from bnexp.analysis.comparison import Comparison
from bnexp.report.comparison_table import comparison_table


def test_cells(comparison: Comparison) -> None:
    table = comparison_table(comparison, title="init_scale")
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
    notes = "\n".join(comparison_table(comparison).notes)
    assert "95 % Student t interval" in notes
    assert "paired over seeds" in notes
    assert "With 3 pairs p can't fall below 0.25" in notes
    assert "trials finished" not in notes


def test_six_pairs_need_no_warning(comparison: Comparison) -> None:
    baseline, before = comparison.rows
    six = replace(comparison, rows=(replace(baseline, n=6), replace(before, n=6, pairs=6, p=0.0004)))
    table = comparison_table(six)
    assert "p: two-sided exact sign-flip test. better: pairs in which the arm did better." in table.notes
    assert table.rows[1][6] == "<0.001"


def test_one_seed_shows_no_interval_and_says_why(comparison: Comparison) -> None:
    single = {"n": 1, "p": None, "effect": None}
    single |= dict.fromkeys(("low", "high", "difference_low", "difference_high"))
    baseline, before = comparison.rows
    rows = (replace(baseline, **single), replace(before, **single, pairs=1))
    table = comparison_table(replace(comparison, rows=rows))
    assert table.rows[1][3:7] == ("0.333", "+0.215", "-", "-")
    assert any(note.startswith("One seed shows no spread") for note in table.notes)
    assert not any("interval over" in note for note in table.notes)


def test_what_is_missing_is_said(comparison: Comparison) -> None:
    baseline, before = comparison.rows
    nothing = replace(baseline, n=0, trials=0, diverged=0, mean=None, low=None, high=None)
    table = comparison_table(replace(comparison, rows=(nothing, replace(before, failed=2, pairs=0))))
    assert table.headers[-1] == "failed"
    assert table.rows[0][2:] == ("0", "-", "-", "-", "-", "-", "-", "0/0", "0")
    assert table.rows[1][-1] == "2"


def test_a_loss_that_is_not_finite_is_explained(comparison: Comparison) -> None:
    rows = (replace(comparison.rows[0], mean=None, low=None, high=None), comparison.rows[1])
    table = comparison_table(replace(comparison, metric="final_train_loss", rows=rows))
    assert table.rows[0][3] == "-"
    assert "No mean where a trial's value isn't finite." in table.notes


def test_a_single_arm_has_no_difference_to_itself(comparison: Comparison) -> None:
    table = comparison_table(replace(comparison, rows=comparison.rows[:1]))
    assert "p" not in table.headers
    assert not any(header.startswith("difference") for header in table.headers)
