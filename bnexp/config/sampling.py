"""Random search: distributions that settings are drawn from, and the draws, which everyone can repeat."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Annotated, Any, Literal, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from bnexp.config.sweep import Point, once
from bnexp.config.trial import VALUE, TrialKey, Value

Kind = Literal["loguniform", "uniform", "integers", "choice"]
DIGITS = 3
"""Significant digits of drawn numbers, so that people can read them and write them down."""
SPARE = 10
"""The most combinations drawn for each one that is wanted, since repeated ones are left out."""


def _one(written: Any) -> Any:
    if not isinstance(written, Mapping) or len(written) != 1:
        raise ValueError("expected one distribution, such as {loguniform: [0.001, 10]}")
    return written


def _checked(written: dict[Kind, tuple[Value, ...]]) -> dict[Kind, tuple[Value, ...]]:
    ((kind, options),) = written.items()
    if kind == "choice":
        if not options:
            raise ValueError("choice needs at least one value, the list is empty")
        once(options)
        return written
    if len(options) != 2 or not all(type(bound) in (int, float) and isfinite(bound) for bound in options):
        raise ValueError(f"{kind} takes two finite numbers: [low, high]")
    low, high = options
    if not low < high:
        raise ValueError(f"{kind} takes the lower bound first: [{min(low, high)}, {max(low, high)}]")
    if kind == "loguniform" and low <= 0:
        raise ValueError(
            f"loguniform needs bounds above 0, since {low} has no logarithm; write a small one, or uniform"
        )
    if kind == "integers" and not all(type(bound) is int for bound in options):
        raise ValueError("integers takes two whole numbers, which may both be drawn")
    return written


_VALUES = {"type": "array", "items": VALUE}
_BOUNDS = _VALUES | {"minItems": 2, "maxItems": 2}
_AS_WRITTEN = WithJsonSchema(
    {
        "type": "object",
        "properties": dict.fromkeys(get_args(Kind), _BOUNDS)
        | {"choice": _VALUES | {"minItems": 1, "uniqueItems": True}},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
)
Distribution = Annotated[dict[Kind, tuple[Value, ...]], BeforeValidator(_one), AfterValidator(_checked), _AS_WRITTEN]
"""`loguniform`, `uniform` or `integers` with the lowest and the highest value, or `choice` with all values."""
Sample = dict[TrialKey, Distribution]


def draws(sample: Mapping[str, Distribution], count: int, seed: int) -> list[Point]:
    """Return `count` different combinations of values of the settings in `sample`, in the order in which they came.

    Each setting draws from a NumPy generator of its own, seeded by the seed and its name. So a longer list of draws
    begins with a shorter one, and another setting in the sample doesn't change the values of this one. A repeated
    combination is left out, and one more is drawn.

    Raises:
        ValueError: there are fewer combinations.
    """
    columns = {
        key: _column(distribution, SPARE * count, np.random.default_rng([crc32(key.encode()), seed]))
        for key, distribution in sample.items()
    }
    rows = list(dict.fromkeys(zip(*columns.values(), strict=True)))[:count]
    if len(rows) < count:
        raise ValueError(f"{count} draws were asked for, but only {len(rows)} different ones came; ask for fewer")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _column(distribution: Distribution, count: int, random: np.random.Generator) -> Sequence[Value]:
    ((kind, options),) = distribution.items()
    if kind == "choice":
        return [options[place] for place in random.integers(len(options), size=count)]
    low: Any
    high: Any
    low, high = options
    if kind == "integers":
        return [int(value) for value in random.integers(low, high, size=count, endpoint=True)]
    uniform = random.random(count)
    drawn: NDArray[np.float64] = low + (high - low) * uniform
    if kind == "loguniform":
        drawn = low * (high / low) ** uniform
    return [min(max(float(f"{value:.{DIGITS}g}"), float(low)), float(high)) for value in drawn]
