"""Tuning: what every arm tries before it is measured, with which seeds, and what it chose."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Fraction, NonNegative, Settings, Size
from bnexp.config.sampling import Sample, draws
from bnexp.config.seeds import Seeds, SeedsAsWritten
from bnexp.config.sweep import MOST_VALUES, Point, Range, points, values
from bnexp.config.text import counted, listed
from bnexp.config.trial import Name, TrialKey, Value

FIRST_TUNING_SEED = 1_000
MOST_DRAWS = 10_000


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
    """What every arm chooses for itself, at each grid point, before it is measured: the value with the best mean on the
    validation images over the tuning seeds, or the smallest of those within one standard error of it."""

    grid: Grid = Field(default={})
    """Values to choose from, such as `{train.lr: [0.01, 0.1, 1]}`, written as in `grid`. Without `grid` and `sample`,
    nothing is tuned."""
    sample: Sample = Field(default={})
    """Settings that are drawn at random instead, such as `{train.lr: {loguniform: [0.001, 10]}}`. Other distributions
    are `uniform` and, for whole numbers, `integers`, each with the lowest and the highest value, and `choice` with a
    list. Every arm tries the same draws."""
    trials: Annotated[Count, Field(le=MOST_DRAWS)] | None = None
    """How many draws of `sample` each arm tries at each grid point, with each of the tuning seeds."""
    halve: Annotated[Count, Field(ge=2)] | None = None
    """Successive halving: only the best 1/`halve` of an arm's draws train on, after 1/`halve` of `train.epochs`, before
    that after 1/`halve`² of them, and so on. 3 is usual; null = all draws train to the end."""
    seeds: Annotated[Seeds, BeforeValidator(_tuning_seeds, json_schema_input_type=SeedsAsWritten)] = (
        FIRST_TUNING_SEED,
        FIRST_TUNING_SEED + 1,
    )
    """The number of seeds (2 means 1000 and 1001), a list, or a range; none of them may be a measured seed."""
    studies: Annotated[Count, AfterValidator(_several)] = 1
    """How many times the tuning is repeated, each time with other tuning seeds and other draws: 1, or 3 and more. The
    measured seed s uses what study s modulo `studies` chose. Comparisons are over the means of the studies, so that
    their intervals include the luck of the choice."""
    by: Literal["accuracy", "steps"] = "accuracy"
    """Choose the highest final validation accuracy, or the fewest steps until it reaches `threshold`."""
    threshold: Fraction = 0.9
    """Validation accuracy to reach, from 0 to 1, for `by: steps`. A trial that never does counts all its steps."""

    @model_validator(mode="after")
    def _grid_or_sample(self) -> Self:
        if self.grid and self.sample:
            raise ValueError("has both grid and sample; take one of them out (choice draws from a list)")
        if self.sample and not self.trials:
            raise ValueError("sample needs the number of draws; write trials: 32")
        if self.trials and not self.sample:
            raise ValueError("trials is the number of draws of sample, which is missing; write sample, or no trials")
        if self.halve and not self.sample:
            raise ValueError("halve stops draws of sample, which is missing; write sample, or no halve")
        if self.halve and self.by != "accuracy":
            raise ValueError("halve keeps the highest accuracies, which isn't what by: steps looks for; take one out")
        for study in range(self.studies):
            self.candidates(study)  # where there aren't enough, this says so
        return self

    @property
    def options(self) -> Mapping[str, Sequence[Value]]:
        """What each tuned setting is chosen from, by its key: all values, or the bounds of a distribution."""
        drawn = {key: next(iter(distribution.values())) for key, distribution in self.sample.items()}
        return {**self.grid, **drawn}

    @property
    def drawn(self) -> str:
        """Say what is drawn, from which distributions and how often; empty where nothing is."""
        if not self.sample:
            return ""
        return f"{counted(self.trials or 0, 'draw')} of {listed(self.sample)}"

    def candidates(self, study: int = 0) -> list[Point]:
        """Return the combinations of values that every arm tries in a study.

        Draws are seeded by the smallest tuning seed of the study, so other tuning seeds make another search.
        """
        if not self.sample:
            return points(self.grid, {})
        return draws(self.sample, self.trials or 1, min(self.seeds_of(study)))

    def seeds_of(self, study: int) -> tuple[int, ...]:
        """Return the tuning seeds of a study: those of the first one, moved on until none is used twice."""
        width = max(self.seeds) - min(self.seeds) + 1
        return tuple(seed + study * width for seed in self.seeds)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The tuning seeds of all studies."""
        return tuple(seed for study in range(self.studies) for seed in self.seeds_of(study))


HOW_CLOSE = ("tried", "left_out", "stopped", "epochs", "seeds", "ties", "lead")
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
    stopped: Size | None = None
    """Number of further values that `tune.halve` stopped early."""
    epochs: Size | None = None
    """Epochs that all trials of the arm trained for this choice."""
    seeds: Count | None = None
    """Number of tuning seeds that chose: those that finished with every candidate."""
    ties: Count | None = None
    """Number of candidates within one standard error of the best, itself included; the smallest of them was chosen.
    null with one seed."""
    lead: NonNegative | None = None
    """Distance of the best to the next candidate that doesn't tie, in validation accuracy, or in steps for `by: steps`;
    null where all tie."""
