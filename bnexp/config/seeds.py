"""Seeds: how they are written, and the plan to add seeds until a question is decided."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Settings, Size
from bnexp.config.sweep import UNIQUE, Range, once, values

MOST_SEEDS = 10_000
MOST_ADDED = 200
"""Seeds up to which an experiment may add some."""
FEWEST_TO_BEGIN = 3
WRITTEN = ("from", "to", "until")
"""Keys of the short form."""
GROWTH = 4 / 3
"""From look to look there are so many times as many seeds: few looks, and few seeds too many."""


def read_seeds(value: Any) -> Any:
    """Return the list of seeds that a number, a list or a range means."""
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


SeedsAsWritten = (
    Annotated[int, Field(strict=True, ge=1, le=MOST_SEEDS)]
    | Annotated[list[Size], Field(min_length=1, max_length=MOST_SEEDS), UNIQUE]
    | Range
)
Seeds = Annotated[
    tuple[Size, ...], BeforeValidator(read_seeds, json_schema_input_type=SeedsAsWritten), AfterValidator(once)
]
"""A list of seeds, a range of them as in a grid, or how many of 0, 1, 2, …"""


def _until(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
    if not number and value != "settled":
        raise ValueError("expected settled, or half the width that intervals should have, such as 0.005")
    return value


Width = Annotated[float, Field(strict=True, gt=0, le=1)]
Until = Annotated[
    float | Literal["settled"], BeforeValidator(_until, json_schema_input_type=Width | Literal["settled"])
]


class MoreSeeds(Settings):
    """Seeds that are added until the difference of every arm to the baseline is decided, written as
    `seeds: {from: 6, to: 40, until: 0.005}`."""

    first: Count
    """How many of the seeds 0, 1, 2, … to begin with: 3 at least, since two pairs hardly have a spread."""
    to: Count
    """How many seeds there are at most; 200 at most."""
    until: Until
    """`settled`: until an interval that is valid at every look excludes 0. A number: until that interval reaches at
    most so far to either side."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if refusal := _refusal(self.first, self.to):
            raise ValueError(refusal)
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """How many seeds there are each time the data are looked at."""
        found = [self.first]
        while found[-1] < self.to:
            found.append(min(self.to, max(found[-1] + 1, round(found[-1] * GROWTH))))
        return tuple(found)


class SeedsUntil(Settings):
    """What is written under `seeds` where seeds are added."""

    first: Annotated[int, Field(strict=True, ge=FEWEST_TO_BEGIN)] = Field(alias="from")
    """How many seeds to begin with."""
    to: Annotated[int, Field(strict=True, gt=FEWEST_TO_BEGIN, le=MOST_ADDED)]
    """How many seeds there are at most."""
    until: Until
    """`settled`, or half the width that intervals should have."""


def goal_text(until: float | str) -> str:
    """Say what has to be reached before no more seeds are added."""
    return "the interval excludes 0" if until == "settled" else f"the interval is ± {until:g} or narrower"


def look_text(plan: MoreSeeds, seeds: int) -> str:
    """Say how far an experiment that adds seeds has got."""
    number = plan.looks.index(seeds) + 1
    return (
        f"look {number} of at most {len(plan.looks)}: {seeds} of at most {plan.to} seeds, until {goal_text(plan.until)}"
    )


def _refusal(first: int, to: int) -> str | None:
    """Say why seeds can't be added from one number to another."""
    if first < FEWEST_TO_BEGIN:
        return f"from: {first}: expected {FEWEST_TO_BEGIN} or more, since fewer pairs hardly have a spread"
    if not first < to <= MOST_ADDED:
        return f"to: {to}: expected more than {first}, and at most {MOST_ADDED}"
    return None


def split_seeds(given: Any) -> Any:
    """Write `seeds: {from, to, until}` of an experiment as the first seeds and `more_seeds`."""
    seeds = given.get("seeds") if isinstance(given, Mapping) else None
    if not isinstance(seeds, Mapping) or not seeds.keys() & {*WRITTEN}:
        return given
    if missing := [key for key in WRITTEN if key not in seeds]:
        raise ValueError(f"seeds: {missing[0]} is missing; write {{from: 6, to: 40, until: 0.005}}, or until: settled")
    if unknown := [key for key in seeds if key not in WRITTEN]:
        raise ValueError(f"seeds.{unknown[0]}: expected from, to and until")
    first, to, until = (seeds[key] for key in WRITTEN)
    for key, value in (("from", first), ("to", to)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"seeds.{key}: {value}: expected a whole number of seeds")
    try:
        _until(until)
    except ValueError as error:
        raise ValueError(f"seeds.until: {until}: {error}") from None
    if refusal := _refusal(first, to):
        raise ValueError(f"seeds.{refusal}")
    return {**given, "seeds": first, "more_seeds": {"first": first, "to": to, "until": until}}
