"""trials.csv as a table: arms, seeds and grid values come back as they were configured, whatever they look like."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.yaml import parse, to_yaml
from bnexp.store.cells import csv_text
from bnexp.store.checksums import trial_columns
from bnexp.store.results import EXACT, grid_column, trial_table
from tests.helpers import experiment
from tests.store.conftest import MakeRun

LOOKS_LIKE = [
    "nan",
    "NA",
    "null",
    "None",
    "inf",
    "1e5",
    "1e3",
    "007",
    "0x10",
    "1_000",
    "true",
    "True",
    "-x",
    "~",
    "1.0",
]
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


def written(config: ExperimentConfig, **results: Any) -> bytes:
    rows = [
        {"trial": number, "arm": arm, "seed": seed, **point, **results}
        for number, (arm, point, seed) in enumerate(config.places())
    ]
    return csv_text(trial_columns(config), rows).encode()


@settings(deadline=None)
@given(st.lists(SCALARS, min_size=1, max_size=5))
def test_every_value_comes_back_as_it_was_configured(values: list[Any]) -> None:
    config = swept(values)
    table = trial_table(written(config), config)
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
        ([1, None], "f"),
        ([0.1, None], "f"),
        ([EXACT + 1, EXACT + 2], "i"),
        ([EXACT + 1, 0.5], "O"),
        ([EXACT + 1, None], "O"),
        ([True, False], "b"),
        ([True, 2], "O"),
        (["auto", True], "O"),
        (["1", 2], "O"),
    ],
)
def test_numbers_are_a_column_of_numbers_where_all_are_and_none_is_rounded(values: list[Any], kind: str) -> None:
    column = grid_column(values)
    assert column.dtype.kind == kind
    assert [None if pd.isna(value) else value for value in column] == values


def test_lists_and_mappings_are_texts() -> None:
    config = swept([[300, 100], {"kind": "layer"}, ["nan", None]])
    found = trial_table(written(config), config)["train.lr"]
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
    (row,) = trial_table(written(config, **given), config).to_dict("records")
    assert (row["outcome"], row["reason"], row["final_test_accuracy"]) == ("failed", "nan", 0.1 + 0.2)
    assert all(pd.isna(row[name]) for name in ("final_train_loss", "best_val_accuracy", "diverged_step"))


def test_the_order_of_the_rows_does_not_matter() -> None:
    config = swept([0.1, 0.2])
    header, *rows = written(config, outcome="completed").splitlines(keepends=True)
    pd.testing.assert_frame_equal(
        trial_table(header + b"".join(reversed(rows)), config), trial_table(header + b"".join(rows), config)
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nan,0,0.1", "none,0,0.1", "arm of trial 0 is 'none', and 'nan' in config.yaml"),
        ("nan,0,0.1", "nan,7,0.1", "seed of trial 0 is '7', and '0' in config.yaml"),
        ("nan,0,0.1", "nan,0,0.10", "train.lr of trial 0 is '0.10', and '0.1' in config.yaml"),
        ("completed", "finished", "unknown outcome 'finished'"),
        ("0.25", "a lot", "could not convert string to float: 'a lot'"),
    ],
)
def test_a_row_of_another_trial_or_without_a_result_is_refused(old: str, new: str, message: str) -> None:
    config = swept([0.1], arms=["nan"], seeds=(0,))
    content = written(config, outcome="completed", final_test_accuracy=0.25).decode()
    assert old in content
    with pytest.raises(ValueError, match=f"^{message}$"):
        trial_table(content.replace(old, new).encode(), config)


def test_a_row_too_few_is_refused() -> None:
    config = swept([0.1])
    with io.BytesIO(written(config)) as file:
        lines = file.readlines()
    with pytest.raises(ValueError, match=r"^3 trials, but 4 are planned$"):
        trial_table(b"".join(lines[:-1]), config)


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_of_a_run_folder_keeps_its_name(make_run: MakeRun, arm: str) -> None:
    run = make_run(arms={arm: {"model.norm.kind": "none"}, "other": {}})
    assert list(run.read().trials["arm"]) == [arm, "other"]
