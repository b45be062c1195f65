"""Tuning: what every arm tries before it is measured, with which seeds, and what it chose."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bnexp.config.base import Count, Fraction, NonNegative, Settings, Size
from bnexp.config.seeds import Seeds, SeedsAsWritten
from bnexp.config.sweep import MOST_VALUES, Range, values
from bnexp.config.trial import Name, TrialKey, Value

FIRST_TUNING_SEED = 1_000


def _tuning_seeds(value: Any) -> Any:
    """Number seeds so that they are not those of 0, 1, 2, … that are measured."""
    counts = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return list(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + value)) if counts else value


def _several(studies: int) -> int:
    if studies == 2:
        raise ValueError("expected 1, or 3 or more: two studies hardly have a spread")
    return studies


ValuesAsWritten = Annotated[list[Value], Field(min_length=1, max_length=MOST_VALUES)] | Range
Values = Annotated[tuple[Value, ...], BeforeValidator(values, json_schema_input_type=ValuesAsWritten)]
Grid = dict[TrialKey, Values]
"""Settings that are crossed: a list of values each, or logspace, linspace, range."""


class TuneSettings(Settings):
    """What every arm chooses for itself, at each grid point, before it is measured: of the values with the best mean on
    the validation images over the tuning seeds, and those within one standard error of it, the smallest."""

    grid: Grid = Field(default={})
    """Values to choose from, such as `{train.lr: [0.01, 0.1, 1]}`, written as in `grid`. Empty: nothing is tuned."""
    seeds: Annotated[Seeds, BeforeValidator(_tuning_seeds, json_schema_input_type=SeedsAsWritten)] = (
        FIRST_TUNING_SEED,
        FIRST_TUNING_SEED + 1,
    )
    """How many of the seeds 1000, 1001, …, or a list, or a range; none of the seeds that are measured."""
    studies: Annotated[Count, AfterValidator(_several)] = 1
    """How many times the tuning is repeated, each time with other tuning seeds: 1, or 3 and more. The measured seed s
    uses what study s modulo `studies` chose. Comparisons are over the means of the studies, so that their intervals
    include the luck of the choice."""
    by: Literal["accuracy", "steps"] = "accuracy"
    """Choose the highest final validation accuracy, or the fewest steps until it reaches `threshold`."""
    threshold: Fraction = 0.9
    """Validation accuracy to reach, from 0 to 1, for `by: steps`. A trial that never does counts all its steps."""

    def seeds_of(self, study: int) -> tuple[int, ...]:
        """Return the tuning seeds of a study: those of the first one, moved on until none is used twice."""
        width = max(self.seeds) - min(self.seeds) + 1
        return tuple(seed + study * width for seed in self.seeds)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The tuning seeds of all studies."""
        return tuple(seed for study in range(self.studies) for seed in self.seeds_of(study))


HOW_CLOSE = ("tried", "left_out", "seeds", "ties", "lead")
"""Keys of a choice that tell how it came about, and don't change what is trained."""


class Choice(Settings):
    """What one arm chose at one grid point, and how close the choice was."""

    arm: Name
    point: dict[TrialKey, Value] = Field(default={})
    """Values of the swept settings."""
    study: Size = 0
    """Which of `tune.studies`, counted from 0."""
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
    """Number of candidates within one standard error of the best, itself included; the smallest of them was chosen.
    null with one seed."""
    lead: NonNegative | None = None
    """Distance of the best to the next candidate that doesn't tie, in validation accuracy, or in steps for `by: steps`;
    null where all tie."""
