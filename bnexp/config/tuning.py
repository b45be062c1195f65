"""Seeds and grids of an experiment, and `tune:`: every arm chooses on validation images, with seeds of its own."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bnexp.config.base import Count, Fraction, NonNegative, Settings, Size
from bnexp.config.sweep import once, values
from bnexp.config.trial import Name, TrialKey, Value

MOST_SEEDS = 10_000
"""Seeds of an experiment."""


def _seeds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = range(min(value, MOST_SEEDS + 1))
    elif isinstance(value, Mapping):
        value = values(value)
    elif not isinstance(value, list | tuple):
        raise ValueError("expected a number of seeds, a list of them, or {range: [first, last, step]}")
    if not value:
        raise ValueError("expected at least one seed")
    if len(value) > MOST_SEEDS:
        raise ValueError(f"expected at most {MOST_SEEDS:,} seeds")
    return list(value)


Values = Annotated[tuple[Value, ...], BeforeValidator(values)]
Grid = dict[TrialKey, Annotated[Values, AfterValidator(once)]]
"""Settings that are crossed: a list of values each, or logspace, linspace, range."""
Seeds = Annotated[tuple[Size, ...], BeforeValidator(_seeds), AfterValidator(once)]
"""A list of seeds, a range of them as in a grid, or how many of 0, 1, 2, …"""

MOST_CHOICES = 1_000
"""Arms × grid points of an experiment that tunes."""
FIRST_SEED = 1_000
"""Of tuning, where only their number is given."""


def _apart(value: Any) -> Any:
    """Number seeds so that they are not those of 0, 1, 2, … that are measured."""
    counted = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return list(range(FIRST_SEED, FIRST_SEED + value)) if counted else value


class TuneSettings(Settings):
    """The `tune:` section. An arm takes what is best on validation images, as the mean over the tuning seeds."""

    grid: Grid = Field(default={})
    """What every arm tries at every grid point: lists of values, crossed. Empty: nothing is tuned."""
    seeds: Annotated[Seeds, BeforeValidator(_apart)] = (FIRST_SEED, FIRST_SEED + 1)
    """Seeds for choosing, none of those that are measured: a list, a range, or how many of 1000, 1001, …"""
    by: Literal["accuracy", "steps"] = "accuracy"
    """What is best: the highest final accuracy, or the fewest steps until accuracy reaches `threshold`."""
    threshold: Fraction = 0.9
    """by: steps: the accuracy; a trial that never gets there takes as long as training lasts."""


HOW_CLOSE = ("tried", "left_out", "seeds", "ties", "lead")
"""Keys of a choice that tell how it came about, and don't change what is trained."""


class Choice(Settings):
    """What one arm chose at one grid point, and how close the choice was."""

    arm: Name
    point: dict[TrialKey, Value] = Field(default={})
    """Values of the swept settings."""
    values: dict[TrialKey, Value]
    """Values of the tuned ones."""
    tried: Count | None = None
    """How many values, or combinations of them, it was chosen from; null = not recorded. Several with which the arm
    trains the same count once."""
    left_out: Size | None = None
    """How many further values were no candidates, since too few tuning seeds finished with them."""
    seeds: Count | None = None
    """How many tuning seeds chose: those that finished with all values that it was chosen from."""
    ties: Count | None = None
    """How many of them, the chosen one counted, are no more than one standard error of their difference from it."""
    lead: NonNegative | None = None
    """By how much the best of the values that don't tie was behind it, in validation accuracy, or steps where `tune.by`
    is steps; null where all tie."""
