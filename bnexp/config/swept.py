"""The fields of what is swept: columns of values by dotted key, and seeds."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from bnexp.config.base import Size
from bnexp.config.sweep import once, values
from bnexp.config.trial import TrialKey, Value

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
