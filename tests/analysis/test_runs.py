"""Conditions keep the trials that they say and are never run, and the best rows come first where they are sorted."""

import re
import warnings
from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.analysis.runs import EXAMPLE, OF_THE_METRIC, SMALL_IS_GOOD, filtered, ordered, study_of
from bnexp.analysis.study import Study
from bnexp.errors import InputError
from tests.analysis.conftest import a_study

COLUMNS = (
    "arm, seed, run, outcome, train.lr, train.clip.norm_global, model.activation, model.residual, "
    "final_test_accuracy, final_val_accuracy, final_train_accuracy, best_val_accuracy, test_accuracy_at_best_val, "
    "val_accuracy_at_early_stop, test_accuracy_at_early_stop, final_train_loss"
)
RATES, CLIPS = (0.01, 0.1, 1.0), (None, 5.0)
OUTCOMES = {1: "diverged", 2: "failed", 3: None}


@pytest.fixture
def study(make_folder) -> Study:
    """3 rates × 2 clips × 2 activations × 2 arms × 2 seeds: 48 trials, numbered in this order."""
    run = make_folder(
        name="a",
        seeds=2,
        grid={
            "train.lr": list(RATES),
            "train.clip.norm_global": list(CLIPS),
            "model.activation": ["relu", "tanh"],
            "model.residual": [False],
        },
        accuracy=lambda trial: trial.number / 100,
        outcomes=OUTCOMES,
    )
    return study_of([run])


def shortened(condition: str) -> str:
    return condition[:30].replace("\0", "0")


def kept(study: Study, condition: str) -> list[int]:
    return filtered(study, condition).trials["number"].tolist()


def those(study: Study, wanted) -> list[int]:
    """Numbers of the trials whose row meets a function."""
    return [row["number"] for row in study.trials.to_dict("records") if wanted(row)]


CONDITIONS = {
    "arm==none": lambda row: row["arm"] == "none",
    'arm != "none"': lambda row: row["arm"] == "before",
    "none == arm": lambda row: row["arm"] == "none",
    "arm not in [before]": lambda row: row["arm"] == "none",
    "seed in [1, 7]": lambda row: row["seed"] == 1,
    "lr <= 1e-1": lambda row: row["train.lr"] <= 0.1,
    "0.01 < lr < 1": lambda row: row["train.lr"] == 0.1,
    "0.01 < lr <= 1 != seed": lambda row: row["train.lr"] > 0.01 and row["seed"] == 0,
    "activation==tanh": lambda row: row["model.activation"] == "tanh",
    "residual == False and seed == 0": lambda row: row["seed"] == 0,
    "norm_global == null": lambda row: np.isnan(row["train.clip.norm_global"]),
    "null != clip.norm_global": lambda row: row["train.clip.norm_global"] == 5,
    "norm_global not in [null, 1]": lambda row: row["train.clip.norm_global"] == 5,
    "norm_global > 1": lambda row: row["train.clip.norm_global"] > 1,
    "outcome == diverged": lambda row: row["outcome"] == "diverged",
    "outcome in [failed, null]": lambda row: row["number"] in (2, 3),
    "final_test_accuracy >= final_train_accuracy": lambda row: row["number"] != 3,
    "lr == seed": lambda row: row["train.lr"] == row["seed"],
    "not (arm==none and seed==0)": lambda row: not (row["arm"] == "none" and row["seed"] == 0),
    "arm==none and seed==0 or lr==1": lambda row: (row["arm"] == "none" and row["seed"] == 0) or row["train.lr"] == 1,
    "not (norm_global == null and lr <= 1e-1)": lambda row: row["train.clip.norm_global"] == 5 or row["train.lr"] == 1,
    "arm==none and (seed==0 or lr==1)": lambda row: row["arm"] == "none" and (row["seed"] == 0 or row["train.lr"] == 1),
    "  seed == 0  # a remark": lambda row: row["seed"] == 0,
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_keeps_what_it_says(study: Study, condition: str) -> None:
    expected = those(study, CONDITIONS[condition])
    assert expected
    assert kept(study, condition) == expected


def test_run_names_are_texts_in_quotes(make_folder) -> None:
    one, other = make_folder(name="a"), make_folder(name="b", seeds=[1])
    study = study_of([one, other])
    assert filtered(study, f"run == '{other.path.name}'").trials["seed"].tolist() == [1, 1]


def test_curves_and_arms_follow(study: Study) -> None:
    some = filtered(study, "arm==before and lr==1")
    assert some.arms == ("before",)
    assert set(some.curves["trial"]) == set(some.trials["trial"])
    assert some.trials.index.tolist() == list(range(8))
    assert len(study.trials) == 48


REFUSED = {
    # texts that a column never holds
    "arm!=befor": "arm is never 'befor' (nearest: before); it is one of none, before",
    "outcome==done": "outcome is never 'done'; it is one of completed, diverged, failed, stopped",
    "lr < abc": "train.lr is never 'abc'; it is one of 0.01, 0.1, 1.0",
    # no order
    "arm < 3": "arm and 3 have no order",
    "lr < null": "lr and null have no order",
    # no list, or one too many
    "arm in none": "none: `in` takes a list, as in arm in [none, before]",
    "seed < [1, 2]": "[1, 2]: `in` takes a list, as in arm in [none, before]",
    "none in arm": "arm: `in` takes a list, as in arm in [none, before]",
    # no comparison
    "seed==1 and arm": "expected a comparison",
    "arm is none": "expected ==, !=, <, <=, >, >= or in",
    # no value
    "lr < 10**3": "10 ** 3: expected a number, a text or a list",
    "seed in [[1]]": "[1]: expected a number, a text or a list",
    "lr < 1e999": "1e309: expected a number, a text or a list",
    "lr < " + "9" * 400: "9" * 400 + ": expected a number, a text or a list",
    # nothing left
    "lr > 5": "no trial is left of 48",
    "arm in []": "no trial is left of 48",
}
UNREADABLE = [
    "",
    "arm=none",
    "seed==1\0",
    "(" * 5_000 + "seed==1" + ")" * 5_000,
    "not " * 100_000 + "seed==1",
    "a" + ".b" * 3_000 + "==1",
]


@pytest.mark.parametrize("condition", REFUSED, ids=shortened)
def test_what_it_can_not_mean_is_refused(study: Study, condition: str) -> None:
    with pytest.raises(InputError) as error:
        filtered(study, condition)
    ending = "" if "no trial is left" in REFUSED[condition] else f"; {EXAMPLE}"
    assert str(error.value) == f"--filter {condition}: {REFUSED[condition]}{ending}"


@pytest.mark.parametrize("condition", UNREADABLE, ids=shortened)
def test_what_can_not_be_read_is_refused(study: Study, condition: str) -> None:
    # What stands in the brackets is Python's, and differs from version to version.
    with pytest.raises(InputError, match=rf"--filter .*: can't be read \(.+\); {EXAMPLE}"):
        filtered(study, condition)


def test_an_unknown_column_is_answered_with_the_known_ones(study: Study) -> None:
    near = {
        "armm == none": " (nearest: arm)",
        "train.lrs == 0": " (nearest: train.lr)",
        "0 < lrr < 1": "",
        "1 == 1": "",
    }
    for condition, nearest in near.items():
        with pytest.raises(InputError, match=re.escape(f": no such column{nearest}; there are {COLUMNS}")):
            filtered(study, condition)


HOSTILE = [
    "__import__('os').system('x')",
    "arm == __import__('os').system('x')",
    "arm == ().__class__.__base__.__subclasses__()",
    "arm.__class__ == 1",
    "seed == (x := 1)",
    "arm == f'{open(1)}'",
    "arm == 'none'.upper()",
    "seed in " + "[" * 190 + "1" + "]" * 190,
]


@pytest.mark.parametrize("condition", HOSTILE, ids=shortened)
def test_nothing_that_is_written_is_run(study: Study, condition: str, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr("os.system", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("builtins.print", refuse)
    with pytest.raises(InputError):
        filtered(study, condition)


def test_long_conditions_are_fine(study: Study) -> None:
    for long in (" and ".join(["seed==0"] * 500), "(" * 150 + "seed==0" + ")" * 150, "not " * 500 + "seed==0"):
        assert kept(study, long) == kept(study, "seed==0")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.sampled_from("arm seed lr none null 0123456789.=<>!()[]{},:'\"+-*/@#\\\n\x00`§"), max_size=30))
def test_whatever_is_typed_is_answered(study: Study, typed: str) -> None:
    with warnings.catch_warnings(), suppress(InputError):
        warnings.simplefilter("ignore")  # Python's, of a stray backslash
        assert 0 < len(filtered(study, typed).trials) <= len(study.trials)


# `--sort` and `--top`: the best rows first, whatever best means in a column.

FIELDS = [field.name for field in fields(ArmRow) if field.name != "point"]
LARGE_IS_GOOD = ["n", "pairs", "better", "trials", "reached", "first"]
NAMES = ["arm", "baseline"]
GIVEN = {
    **dict.fromkeys((*SMALL_IS_GOOD, *OF_THE_METRIC), (0.5, None, -1.0, 2.0)),
    **dict.fromkeys(LARGE_IS_GOOD, (1, 5, 0, 2)),
    **dict.fromkeys(NAMES, ("b", "c", "none", "a")),
}


@pytest.fixture
def comparison() -> Comparison:
    rows = [{"arm": "none", "seed": 0, "train.lr": lr, "accuracy": 0.5} for lr in (3, 1, 2, 4)]
    return compare_arms(a_study(rows, ["none"]))


def rates(comparison: Comparison, column: str, *values: object) -> list[float]:
    """Sort rows with these values of a column; return their rates."""
    rows = [replace(row, **{column: value}) for row, value in zip(comparison.rows, values, strict=True)]
    found = ordered(replace(comparison, rows=tuple(rows)), column, None)
    return [row.point["train.lr"] for row in found.rows]


@pytest.mark.parametrize("column", FIELDS)
def test_the_best_comes_first_and_the_unknown_last(comparison: Comparison, column: str) -> None:
    downwards = [1, 4, 3, 2] if column in LARGE_IS_GOOD else [4, 3, 2, 1]
    upwards = {"arm": [4, 3, 1, 2], "baseline": [4, 3, 1, 2]}.get(column, [2, 3, 4, 1])
    small, metrics = column in (*SMALL_IS_GOOD, *NAMES), column in OF_THE_METRIC
    assert rates(comparison, column, *GIVEN[column]) == (upwards if small else downwards)
    loss = replace(comparison, metric="final_train_loss")
    assert rates(loss, column, *GIVEN[column]) == (upwards if small or metrics else downwards)
    for same in (0.5, None):  # equal rows stay in their order
        assert rates(comparison, column, *[same] * 4) == [3, 1, 2, 4]


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ((None, 0.5, 10.0, 2.0), [0.5, 2.0, 10.0, None]),
        (("relu", None, "elu", "tanh"), ["elu", "relu", "tanh", None]),
        ((True, False, None, False), [False, False, True, None]),
    ],
)
def test_grid_values_of_every_kind_have_an_order(comparison: Comparison, values: tuple, order: list) -> None:
    rows = [replace(row, point={"k": value}) for row, value in zip(comparison.rows, values, strict=True)]
    given = replace(comparison, grid_keys=("k",), rows=tuple(rows))
    assert [row.point["k"] for row in ordered(given, "k", None).rows] == order


@pytest.mark.parametrize(("top", "left"), [(1, [1]), (9, [1, 2, 3, 4])])
def test_top_cuts_after_sorting_and_only_the_rows(comparison: Comparison, top: int, left: list[int]) -> None:
    found = ordered(comparison, "lr", top)
    assert [row.point["train.lr"] for row in found.rows] == left
    assert replace(found, rows=comparison.rows) == comparison


@pytest.mark.parametrize(("sort", "near"), [("menn", " (nearest: mean)"), ("point", "")])
def test_an_unknown_column_is_refused(comparison: Comparison, sort: str, near: str) -> None:
    with pytest.raises(InputError) as error:
        ordered(comparison, sort, 1)
    assert str(error.value) == f"--sort {sort}: no such column{near}; there are {', '.join([*FIELDS, 'train.lr'])}"
