"""Settings that would fill the memory or the terminal are refused at once, with their number and the limit."""

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from bnexp.config.experiment import MOST_TRIALS
from bnexp.config.load import resolve
from bnexp.config.model import MOST_LAYERS, MOST_UNITS
from bnexp.config.problems import MOST_FINDINGS
from bnexp.config.sweep import MOST_VALUES
from bnexp.config.text import LONGEST_LINE, LONGEST_LINES
from bnexp.config.train import MOST_UPDATES
from bnexp.config.tuning import MOST_SEEDS
from bnexp.config.yaml import DEEPEST
from bnexp.errors import ConfigError
from bnexp.streams import stream_seed

Refused = Callable[..., list[str]]
SECONDS = 1.0
MEMORY = 16 * 2**20
"""Bytes of Python objects that a refusal may take."""
BILLION = 10**9
HUGE = 10**400
"""Larger than any float."""
RANGE = {"range": [1, BILLION, 1]}
VALUES = "has 1,000,000,000 values; at most 10,000 are possible"
UNITS = "expected at most 1,000 layers of at most 1,000,000 units"
CONTROLS = ["\x00", "\x1b[31m", "\x9b31m", "\u202e"]


class Name(StrEnum):
    """Text that is no str to YAML."""

    RELU = "relu"
    TANH = "tanh"


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    """Every test here is over quickly and takes little memory."""
    started = time.process_time()
    tracemalloc.start()
    yield
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < MEMORY
    assert time.process_time() - started < 5 * SECONDS  # tracing makes everything slow


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"seeds": BILLION}, "seeds: 1000000000: expected at most 10,000 seeds"),
        ({"seeds": HUGE}, "seeds: a whole number of more than 300 digits"),
        ({"grid": {"train.lr": {"linspace": [0, 1, BILLION]}}}, f"grid.train.lr: linspace {VALUES}"),
        ({"grid": {"train.lr": RANGE}}, f"grid.train.lr: range {VALUES}"),
        ({"grid": {"train.lr": {"linspace": [0, HUGE, 3]}}},
         "grid.train.lr.linspace[1]: a whole number of more than 300 digits"),
        ({"grid": {"train.lr": [0] * 10_001}},
         f"grid.train.lr: [{'0, ' * 18}0,…: the list has 10,001 values; at most 10,000 are possible"),
        ({"train": {"record_at": RANGE}}, f"train.record_at: range {VALUES}"),
        ({"train": {"epochs": BILLION}},
         "train.epochs: 1000000000: expected a number less than or equal to 1000000"),
        ({"model": {"width": BILLION}}, f"model.width: 1000000000: {UNITS}"),
        ({"model": {"width": [1] * 1001}}, f"model.width: [{'1, ' * 18}1,…: {UNITS}"),
        ({"train": {"batch_size": 2**63}},
         "train.batch_size: 9223372036854775808: expected a number less than or equal to 9223372036854775807"),
    ],
)  # fmt: skip
def test_what_would_fill_the_memory_is_refused_with_the_limit(refused: Refused, raw: dict[str, Any], line: str) -> None:
    assert refused(raw) == [f"exp.yaml: {line}"]


COLUMN = {"linspace": [0, 0.9, 1000]}


@pytest.mark.parametrize(
    ("raw", "sizes"),
    [
        ({"grid": {"train.lr": COLUMN, "train.momentum": COLUMN}, "seeds": 1}, "2 arms × 1,000,000 grid points × 1"),
        ({"arms": {f"a{i}": {} for i in range(11)}, "seeds": 10_000}, "11 arms × 1 grid point × 10,000 seeds"),
    ],
)
def test_trials_are_counted_before_they_are_made(refused: Refused, raw: dict[str, Any], sizes: str) -> None:
    (line,) = refused(raw)
    assert line.startswith(f"exp.yaml: {sizes}")
    assert line.endswith("and an experiment has at most 100,000; shorten grid, zip or seeds, or split it")


def test_the_limits_themselves_are_allowed() -> None:
    arms = {f"a{i}": {} for i in range(MOST_TRIALS // MOST_SEEDS)}
    assert len(resolve({"name": "exp", "arms": arms, "seeds": MOST_SEEDS}, "x").seeds) == MOST_SEEDS
    train = {"epochs": MOST_UPDATES, "record_at": {"range": [1, MOST_VALUES, 1]}}
    config = resolve({"name": "exp", "train": train, "model": {"depth": MOST_LAYERS, "width": MOST_UNITS}}, "x")
    assert len(config.train.record_at) == MOST_VALUES
    assert resolve({"name": "exp", "train": {"steps": MOST_UPDATES}}, "x").train.steps == MOST_UPDATES


@pytest.mark.parametrize("seed", [2**53 + 1, 2**63 - 1])
def test_seeds_have_64_bits(seed: int) -> None:
    config = resolve({"name": "exp", "seeds": [seed]}, "exp.yaml")
    assert config.seeds == (seed,)
    assert 0 <= stream_seed(seed, "batches", 1) < 2**63


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_reach_neither_folders_nor_the_terminal(refused: Refused, control: str) -> None:
    for raw in (
        {"question": f"Does it{control}help?"},
        {"data": {"root": f"/data{control}"}},
        {"name": f"exp{control}"},
        {"arms": {f"a{control}": {}}},
        {f"key{control}": 1},
        {"train": {"lr": f"0.1{control}", "optimizer": f"sgd{control}"}},
        {"grid": {f"train.lr{control}": [1]}},
    ):
        lines = refused(raw)
        assert all(line.isprintable() for line in lines)
        assert all("expected" in line or "unknown key" in line for line in lines)


def test_a_question_may_have_lines_and_tabs_but_a_path_may_not(refused: Refused) -> None:
    question = "Does it help?\n\tOr not – größe, 日本語 🙂?"
    assert resolve({"name": "exp", "question": question}, "x").question == question
    for root in ("/data\n", "/da\tta"):
        (line,) = refused({"data": {"root": root}})
        assert ": expected text of one line without control characters; " in line


def test_long_text_is_refused_with_the_limit(refused: Refused) -> None:
    resolve({"name": "exp", "question": "x" * LONGEST_LINES, "data": {"root": "x" * LONGEST_LINE}}, "x")
    (line,) = refused({"question": "x" * (LONGEST_LINES + 1)})
    assert line.endswith("…: expected at most 2000 characters")
    (line,) = refused({"data": {"root": "x" * (LONGEST_LINE + 1)}})
    assert line.endswith("…: expected at most 4096 characters")


def test_names_of_arms_are_as_long_as_names_of_experiments(refused: Refused) -> None:
    resolve({"name": "exp", "arms": {"x" * 100: {}}}, "x")
    (line,) = refused({"arms": {"x" * 101: {}}})
    assert line.startswith("exp.yaml: arms.xxx")
    assert line.endswith(": expected at most 100 characters")


LEAVING = [
    "..", "../a", "/tmp/a", "a/b", "a\\..\\b", "~", "$HOME", "a\x00b", "a\n", "a\x1b[2J", "x" * 101, "a\u2215b", "еxp",
    "ex\u200bp", ".git", "-exp", "", "a:b", "*", "a b",
]  # fmt: skip


@pytest.mark.parametrize("name", LEAVING)
def test_no_name_leaves_the_folder_of_runs(refused: Refused, name: str) -> None:
    for lines in (refused({"name": name}), refused({}, f"name={name!r}"), refused({"arms": {name: {}}})):
        assert len(lines) == 1
        assert lines[0].isprintable()
        assert "expected letters, digits and _ . + - only" in lines[0] or "at most 100 characters" in lines[0]


@pytest.mark.parametrize(
    ("value", "kind"), [(b"x", "bytes"), (object(), "object"), (range(3), "range"), ((1, {2}), "set")]
)
def test_a_script_is_told_what_no_file_could_hold(refused: Refused, value: object, kind: str) -> None:
    expected = f"of type {kind}, expected text, a number, true, false, null, a list or a mapping"
    for raw in (
        {"seeds": value}, {"grid": {"train.lr": [value]}}, {"data": {"feature_scale": {3: value}}},
    ):  # fmt: skip
        (line,) = refused(raw)
        assert line.endswith(expected)


@pytest.mark.parametrize(
    ("passed", "read"),
    [
        ({"train": {"lr": [np.float64(0.1), np.float64(0.2)]}}, {"train": {"lr": [0.1, 0.2]}}),
        ({"model": {"activation": (Name.RELU, Name.TANH)}}, {"model": {"activation": ["relu", "tanh"]}}),
        ({"arms": MappingProxyType({"a": MappingProxyType({"train.lr": "x"})})}, {"arms": {"a": {"train.lr": "x"}}}),
    ],
)
def test_what_python_has_besides_is_refused_as_in_a_file(refused: Refused, passed: Any, read: Any) -> None:
    assert refused(passed) == refused(read)


@pytest.mark.parametrize("key", [(1, 2), HUGE, "\ud800"])
def test_odd_keys_are_refused_where_they_stand(refused: Refused, key: object) -> None:
    for raw, place in (
        ({key: 1}, ""), ({"train": {key: 1}}, "train: "),
        ({"grid": {"train.clip": [{key: 1}]}}, "grid.train.clip[0]: "),
    ):  # fmt: skip
        (line,) = refused(raw)
        assert line.startswith(f"exp.yaml: {place}a key is ")


@pytest.mark.parametrize("key", [None, 1.5, True])
def test_keys_of_settings_are_text(refused: Refused, key: object) -> None:
    for raw, section in (({key: 1}, ""), ({"train": {key: 1}}, "train.")):
        (line,) = refused(raw)
        assert line.startswith(f"exp.yaml: {section}")
        assert f": {json.dumps(key)}: expected text as a key" in line


def test_what_holds_itself_is_refused(refused: Refused) -> None:
    inner: list[Any] = []
    inner.append(inner)
    (line,) = refused({"seeds": inner})
    assert line.endswith(f": nested more than {DEEPEST} levels deep")


@pytest.mark.parametrize("raw", [None, [1], "name: exp", 3])
def test_a_configuration_is_a_mapping(raw: Any) -> None:
    with pytest.raises(ConfigError, match=r"^exp\.yaml: expected a mapping of keys$"):
        resolve(raw, "exp.yaml")


@pytest.mark.parametrize(
    "raw",
    [
        {f"k{i}": 1 for i in range(20_000)},
        {"seeds": [-1 - i for i in range(5_000)]},
    ],
)
def test_of_very_many_problems_the_first_are_said(refused: Refused, raw: dict[str, Any]) -> None:
    lines = refused(raw)
    assert lines[MOST_FINDINGS:] == ["exp.yaml: and more; mend these first"]
    assert len(set(lines)) == MOST_FINDINGS + 1


def test_the_same_values_in_long_lists_are_found_quickly(refused: Refused) -> None:
    column = [float(i) for i in range(3_000)]
    assert refused({"grid": {"train.lr": [*column, 7]}})[0].endswith("7 is listed twice")


def test_equal_lists_and_mappings_are_listed_twice(refused: Refused) -> None:
    (line,) = refused({"grid": {"model.width": [[3, 4], [4, 3], [3, 4]]}})
    assert line.endswith("[3, 4] is listed twice")
    (line,) = refused({"grid": {"model.init": [{"scheme": "he", "scale": 1}, {"scale": 1.0, "scheme": "he"}]}})
    assert line.endswith("is listed twice")


@pytest.mark.parametrize(
    ("written", "value"),
    [("{logspace: [1.0e-200, 1.0e-180, 3]}", 1e-190), ("{logspace: [1, 100000000000000000000000000, 3]}", 1e13)],
)
def test_ranges_between_very_small_and_very_large_ends(written: str, value: float) -> None:
    config = resolve({"name": "exp"}, "x", [f"grid.train.lr={written}"])
    assert config.grid["train.lr"][1] == pytest.approx(value, rel=1e-12)


def test_a_range_wider_than_all_numbers_is_refused_without_a_warning(refused: Refused) -> None:
    lines = refused(
        {"grid": {"train.lr": {"linspace": [0, 1.7e308, 3]}, "train.momentum": {"linspace": [-1.7e308, 1.7e308, 3]}}}
    )
    assert any(line.endswith("expected a finite number") for line in lines)
