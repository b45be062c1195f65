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
"""The first tuning seed, where only their number is given."""


def _apart(value: Any) -> Any:
    """Number seeds so that they are not those of 0, 1, 2, … that are measured."""
    counted = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return list(range(FIRST_SEED, FIRST_SEED + value)) if counted else value


class TuneSettings(Settings):
    """What every arm chooses for itself, at each grid point, before it is measured: the values with the best mean on
    the validation images over the tuning seeds."""

    grid: Grid = Field(default={})
    """Values to choose from: lists by key, crossed, or ranges as in the sweep. Empty: nothing is tuned."""
    seeds: Annotated[Seeds, BeforeValidator(_apart)] = (FIRST_SEED, FIRST_SEED + 1)
    """How many of the seeds 1000, 1001, …, or a list, or a range; none of the seeds that are measured."""
    by: Literal["accuracy", "steps"] = "accuracy"
    """Choose the highest final validation accuracy, or the fewest steps until it reaches `threshold`."""
    threshold: Fraction = 0.9
    """Validation accuracy to reach, from 0 to 1, for `by: steps`. A trial that never does counts all its steps."""


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
    """Number of values, or combinations of them, that it was chosen from; null = not recorded. Those that mean the same
    training count once."""
    left_out: Size | None = None
    """Number of further values with which too few tuning seeds finished to be candidates."""
    seeds: Count | None = None
    """Number of tuning seeds that chose: those that finished with every candidate."""
    ties: Count | None = None
    """Number of candidates within one standard error (of the difference) of the chosen one, itself included."""
    lead: NonNegative | None = None
    """Distance to the best candidate that doesn't tie, in validation accuracy, or in steps for `by: steps`; null where
    all tie."""
