"""The fields of what is swept: columns of values by dotted key, and seeds."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from bnexp.config.base import Size
from bnexp.config.sweep import repeated, values
from bnexp.config.trial import TrialKey, Value

MOST_SEEDS = 10_000
"""Seeds of an experiment."""


def _seeds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = range(min(value, MOST_SEEDS + 1))
    elif not isinstance(value, list | tuple):
        raise ValueError("expected a number of seeds or a list of them")
    if not value:
        raise ValueError("expected at least one seed")
    if len(value) > MOST_SEEDS:
        raise ValueError(f"expected at most {MOST_SEEDS:,} seeds")
    if len({repr(seed) for seed in value}) < len(value):
        raise ValueError("a seed is listed twice")
    return list(value)


def _once(column: tuple[Any, ...]) -> tuple[Any, ...]:
    if again := repeated(column):
        raise ValueError(f"{again[0]} is listed twice")
    return column


Values = Annotated[tuple[Value, ...], BeforeValidator(values)]
Grid = dict[TrialKey, Annotated[Values, AfterValidator(_once)]]
"""Settings that are crossed: a list of values each, or logspace, linspace, range."""
Seeds = Annotated[tuple[Size, ...], BeforeValidator(_seeds)]
"""A list of seeds, or how many of 0, 1, 2, …"""
