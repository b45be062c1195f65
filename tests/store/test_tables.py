"""Rows of tables: every digit, a line a row, no formula for a spreadsheet; and columns that read back as configured."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.yaml import parse, to_yaml
from bnexp.plan import Trial, trials
from bnexp.records import CURVE_COLUMNS, Outcome
from bnexp.store.files import TRIALS
from bnexp.store.reader import grid_column, trial_frame
from bnexp.store.tables import (
    EARLY_STOP_COLUMNS,
    EXACT,
    RESULT_COLUMNS,
    Row,
    Table,
    csv_text,
    early_stop,
    escape_cell,
    number_texts,
    to_row,
    trial_columns,
    trial_row,
    unescape_cell,
)
from tests.helpers import experiment


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-300, "1e-300"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (7, "7"),
        (True, "True"),
        ("plain", "plain"),
        ("a, b", '"a, b"'),
        ('say "no"', '"say ""no"""'),
        ([300, 100], "300 100"),
        (np.float64(0.1), "0.1"),
    ],
)
def test_how_a_value_is_written(value: object, expected: str) -> None:
    assert csv_text([["x", "y"], to_row([value, 1])]) == f"x,y\n{expected},1\n"


@given(st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.just(np.float64(0.1)))))
def test_numbers_are_written_faster_but_not_otherwise(numbers: list[float | None]) -> None:
    assert number_texts(numbers) == to_row(numbers)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_a_text_is_no_formula_and_reads_back(text: str) -> None:
    assert escape_cell(text) == f"'{text}"
    assert unescape_cell(escape_cell(text)) == text


@pytest.mark.parametrize("value", ["-", "a=1", "'quoted'", "", "'=", "é"])
def test_other_texts_are_left_alone_or_read_back(value: str) -> None:
    written = escape_cell(value)
    assert unescape_cell(written) == value
    assert not written.startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("text", ["two\nlines", "a\rb", "tab\there", "\x1b[31mred", "\x00", "\t=1"])
def test_a_text_is_one_line_without_control_characters(text: str) -> None:
    (line,) = csv_text([to_row([text])]).splitlines()
    assert line.strip('"').isprintable()


# A trial's row: final numbers from its last record, the best by validation alone


@pytest.fixture
def trial() -> Trial:
    return trials(experiment(arms=["none", "before"], grid={"train.lr": [0.1, 1]}, seeds=[5]))[3]


def records(*validation: float | None, **last: float) -> list[Row]:
    """Rows of curves.csv whose test accuracies are 0.1, 0.2, …; keywords change the last one."""
    found: list[dict[str, Any]] = [
        dict.fromkeys(CURVE_COLUMNS, 0.5) | {"val_accuracy": value, "test_accuracy": (i + 1) / 10, "seconds": float(i)}
        for i, value in enumerate(validation)
    ]
    found[-1] |= last
    return [to_row(row[name] for name in CURVE_COLUMNS) for row in found]


def row_of(trial: Trial, *given: Any) -> dict[str, str]:
    return dict(zip(["trial", "arm", "seed", "train.lr", *RESULT_COLUMNS], trial_row(trial, *given), strict=True))


DONE = Outcome(3, "completed")


def test_an_unfinished_trial_has_its_settings_only(trial: Trial) -> None:
    assert list(filter(None, trial_row(trial, records(0.5), None))) == ["3", "before", "5", "1"]


def test_final_numbers_are_those_of_the_last_record(trial: Trial) -> None:
    row = row_of(trial, records(0.9, 0.6, train_loss=1.5, train_accuracy=0.7), DONE)
    final = [row[f"final_{name}"] for name in ("train_loss", "train_accuracy", "val_accuracy", "test_accuracy")]
    assert final == ["1.5", "0.7", "0.6", "0.2"]
    assert [row[name] for name in ("outcome", "diverged_step", "reason", "seconds")] == ["completed", "", "", "1.0"]


@pytest.mark.parametrize(
    ("validation", "best"),
    [
        ((0.2, 0.8, 0.5), ("0.8", "0.2")),
        ((0.8, 0.8, 0.8), ("0.8", "0.1")),
        ((0.1, 0.7, 0.3, 0.7), ("0.7", "0.2")),
        ((0.0, 0.0), ("0.0", "0.1")),
        ((None, None), ("", "")),
    ],
)
def test_the_best_is_the_first_highest_validation_and_the_test_accuracy_is_the_one_beside_it(
    trial: Trial, validation: tuple[float | None, ...], best: tuple[str, str]
) -> None:
    row = row_of(trial, records(*validation), DONE)
    assert (row["best_val_accuracy"], row["test_accuracy_at_best_val"]) == best


@pytest.mark.parametrize(
    ("validation", "stopped"),
    [
        # The record, counted from 0 before training, at which it stops; the best until then, and the one it is of.
        ((0.1, 0.3, 0.2, 0.3, 0.9), (3, "0.3", 1)),  # a tie is no improvement; what came later doesn't count
        ((0.1, 0.3, 0.2, 0.4, 0.4, 0.4), (5, "0.4", 3)),
        ((0.5, 0.4, 0.4, 0.6), (2, "0.5", 0)),  # the record before training is one like any other
        ((0.1, 0.2, 0.3), (2, "0.3", 2)),  # never stopped: all of the training
    ],
)
def test_early_stopping_takes_the_best_record_before_patience_ran_out(
    validation: tuple[float, ...], stopped: tuple[int, str, int]
) -> None:
    curve = [[str(at) if name == "step" else cell for name, cell in zip(CURVE_COLUMNS, row, strict=True)]
             for at, row in enumerate(records(*validation))]  # fmt: skip
    step, best, of = stopped
    assert early_stop(curve, 2) == [str(step), best, repr((of + 1) / 10)]


def test_the_columns_of_early_stopping_are_there_where_there_is_a_patience(trial: Trial) -> None:
    train = trial.settings.train.model_copy(update={"patience": 2})
    patient = replace(trial, settings=trial.settings.model_copy(update={"train": train}))
    config = experiment()
    assert not set(EARLY_STOP_COLUMNS) & set(trial_columns(config))
    columns = trial_columns(config.model_copy(update={"train": train, "grid": {"train.lr": (1,)}}))
    assert columns[4:7] == EARLY_STOP_COLUMNS
    ended, training = trial_row(patient, records(0.4, 0.5), DONE), trial_row(patient, records(0.4, 0.5))
    assert len(ended) == len(training) == len(columns)
    assert (ended[4:7], training[4:7]) == (["0.5", "0.5", "0.2"], ["", "", ""])


def test_how_a_trial_ended_stands_beside_what_was_measured(trial: Trial) -> None:
    diverged = row_of(trial, records(0.4), Outcome(3, "diverged", diverged_step=12))
    assert (diverged["diverged_step"], diverged["final_val_accuracy"]) == ("12", "0.4")
    failed = row_of(trial, [], Outcome(3, "failed", reason="no memory"))
    assert (failed["reason"], failed["final_val_accuracy"]) == ("no memory", "")


# trials.csv as a table

LOOKS_LIKE = ["nan", "NA", "null", "None", "inf", "1e5", "007", "0x10", "1_000", "true", "True", "-x", "~", "1.0"]
"""Texts that a table reader takes for something else."""
ARMS = [name for name in LOOKS_LIKE if name[0].isalnum()]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(LOOKS_LIKE),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=8),
)


def swept(values: list[Any], arms: list[str] = ARMS[:2], seeds: tuple[int, ...] = (0, 2**60 + 1)) -> ExperimentConfig:
    """An experiment that sweeps these values: of no setting in particular, since nothing is trained."""
    update = {"grid": {"train.lr": tuple(values)}, "arms": {arm: {} for arm in arms}, "seeds": seeds}
    return experiment().model_copy(update=update)


def written(config: ExperimentConfig, **results: Any) -> Table:
    places = enumerate(config.places())
    rows = [
        to_row([n, arm, seed, *point.values(), *map(results.get, RESULT_COLUMNS)]) for n, (arm, point, seed) in places
    ]
    return Table(TRIALS, list(rows))


@settings(deadline=None)
@given(st.lists(SCALARS, min_size=1, max_size=5))
def test_every_value_comes_back_as_it_was_configured(values: list[Any]) -> None:
    config = swept(values)
    table = trial_frame(written(config), config)
    arms, points, seeds = zip(*config.places(), strict=True)
    assert (tuple(table["arm"]), tuple(table["seed"])) == (arms, seeds)
    for found, point in zip(table["train.lr"], points, strict=True):
        value = point["train.lr"]
        assert pd.isna(found) if value is None else found == value
        assert isinstance(value, str) == isinstance(found, str)
        assert value is None or isinstance(value, bool) == isinstance(found, bool | np.bool_)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "i"),
        ([1, 1.5], "f"),
        ([0.1, None], "f"),
        ([EXACT + 1, EXACT + 2], "i"),
        ([EXACT + 1, 0.5], "O"),
        ([EXACT + 1, None], "O"),
        ([True, False], "b"),
        ([True, 2], "O"),
        (["1", 2], "O"),
    ],
)
def test_numbers_are_a_column_of_numbers_where_all_are_and_none_is_rounded(values: list[Any], kind: str) -> None:
    column = grid_column(values)
    assert column.dtype.kind == kind
    assert [None if pd.isna(value) else value for value in column] == values


def test_lists_and_mappings_are_texts() -> None:
    config = swept([[300, 100], {"kind": "layer"}, ["nan", None]])
    found = trial_frame(written(config), config)["train.lr"]
    assert list(dict.fromkeys(found)) == ["300 100", "{kind: layer}", "nan None"]


@pytest.mark.parametrize("text", LOOKS_LIKE)
def test_a_text_in_config_yaml_is_a_text_again(text: str) -> None:
    config = experiment(data={"name": "image_folder"}, grid={"data.root": [text, "other"]}, arms=["none"])
    again = resolve(parse(to_yaml(config.model_dump(mode="json")), "config.yaml"), "config.yaml")
    assert [point["data.root"] for point in again.points()] == [text, "other"]
    assert again == config


def test_results_are_numbers_and_texts_whatever_they_look_like() -> None:
    config = swept([0.1], arms=["none"], seeds=(0,))
    given = {"outcome": "failed", "reason": "nan", "final_train_loss": float("nan"), "final_test_accuracy": 0.1 + 0.2}
    (row,) = trial_frame(written(config, **given), config).to_dict("records")
    assert (row["outcome"], row["reason"], row["final_test_accuracy"]) == ("failed", "nan", 0.1 + 0.2)
    assert all(pd.isna(row[name]) for name in ("final_train_loss", "best_val_accuracy", "diverged_step"))


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        (1, "none", "arm of trial 0 is 'none', and 'nan' in config.yaml"),
        (2, "7", "seed of trial 0 is '7', and '0' in config.yaml"),
        (3, "0.2", "train.lr of trial 0 is '0.2', and '0.1' in config.yaml"),
    ],
)
def test_a_row_of_another_trial_is_refused(column: int, cell: str, message: str) -> None:
    config = swept([0.1], arms=["nan"], seeds=(0,))
    row = ["0", "nan", "0", "0.10", *[""] * len(RESULT_COLUMNS)]
    assert trial_frame(Table(TRIALS, [row]), config)["train.lr"].tolist() == [0.1]
    row[column] = cell
    with pytest.raises(ValueError, match=f"^{message}$"):
        trial_frame(Table(TRIALS, [row]), config)
