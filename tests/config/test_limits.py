"""Settings that would fill the memory or the terminal are refused at once, with their number and the limit."""

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bnexp.config.experiment import MOST_TRIALS
from bnexp.config.load import resolve
from bnexp.config.model import MOST_LAYERS, MOST_UNITS
from bnexp.config.seeds import MOST_SEEDS
from bnexp.config.sweep import MOST_VALUES
from bnexp.config.text import ESCAPES
from bnexp.config.train import MOST_UPDATES
from bnexp.errors import ConfigError
from bnexp.streams import stream_seed

Refused = Callable[..., list[str]]
MEMORY = 16 * 2**20
"""Bytes of Python objects that a refusal may take."""
BILLION = 10**9
RANGE = {"range": [1, BILLION, 1]}
VALUES = "has 1,000,000,000 values; at most 10,000 are possible"
UNITS = "expected at most 1,000 layers of at most 1,000,000 units"
CONTROLS = ["\x00", "\x1b[31m", "\x9b31m", "\u202e"]


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    """Every test here takes little memory."""
    tracemalloc.start()
    yield
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < MEMORY


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"seeds": BILLION}, "seeds: 1000000000: expected at most 10,000 seeds"),
        ({"grid": {"train.lr": {"linspace": [0, 1, BILLION]}}}, f"grid.train.lr: linspace {VALUES}"),
        ({"grid": {"train.lr": RANGE}}, f"grid.train.lr: range {VALUES}"),
        ({"grid": {"train.lr": {"linspace": [0, 10**400, 3]}}}, "grid.train.lr: linspace takes three finite numbers"),
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
    train = {"epochs": MOST_UPDATES, "record_at": {"range": [1, MOST_VALUES, 1]}}
    model = {"depth": MOST_LAYERS, "width": MOST_UNITS}
    config = resolve({"name": "exp", "train": train, "model": model, "arms": arms, "seeds": MOST_SEEDS}, "x")
    assert (len(config.train.record_at), len(config.seeds)) == (MOST_VALUES, MOST_SEEDS)


@pytest.mark.parametrize("seed", [2**53 + 1, 2**63 - 1])
def test_seeds_have_64_bits(seed: int) -> None:
    assert resolve({"name": "exp", "seeds": [seed]}, "exp.yaml").seeds == (seed,)
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
        assert line.endswith(f": expected text of one line without control characters{ESCAPES}")


LEAVING = ["..", "../a", "/tmp/a", "a\\..\\b", "~", "a\x00b", "a\n", "x" * 101, "a\u2215b", ".git", "-exp", "", "a b"]


@pytest.mark.parametrize("name", LEAVING)
def test_no_name_leaves_the_folder_of_runs(refused: Refused, name: str) -> None:
    for lines in (refused({"name": name}), refused({}, f"name={name!r}"), refused({"arms": {name: {}}})):
        assert len(lines) == 1
        assert lines[0].isprintable()
        assert "expected letters, digits and _ . + - only" in lines[0] or "at most 100 characters" in lines[0]


@pytest.mark.parametrize("raw", [None, [1], "name: exp", 3])
def test_a_configuration_is_a_mapping(raw: Any) -> None:
    with pytest.raises(ConfigError, match=r"^exp\.yaml: expected a mapping of keys$"):
        resolve(raw, "exp.yaml")
