"""The sweep grammar: lists and ranges of values, crossed by `grid:` and paired up by `zip:`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from math import isfinite, prod
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bnexp.errors import nearest

Column = TypeVar("Column", bound=Sequence[Any])

MOST_VALUES = 10_000
"""Values that a list or a range of a sweep has at most."""
RANGES = {
    "logspace": "n values from first to last, each the same factor larger than the one before",
    "linspace": "n values from first to last, at equal distances",
    "range": "values from first to last, each larger by step than the one before",
}
"""Ways to write many values short."""
UNIQUE = Field(json_schema_extra={"uniqueItems": True})
"""Annotates lists in which nothing is listed twice."""
Point = dict[str, Any]
"""One combination of the swept values, by dotted key."""


class Range(BaseModel):
    """A range, as it is written."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _one_of(*RANGES)


def steps_as_written(least: int) -> Any:
    """Return the type of whole numbers of at least `least` as a list, or as a range."""
    steps = Annotated[list[Annotated[int, Field(strict=True, ge=least)]], Field(min_length=1), UNIQUE]
    return steps | Annotated[Any, WithJsonSchema(_one_of("range"))]


def _one_of(*kinds: str) -> JsonSchemaValue:
    """Return the JSON schema of a range of one of these kinds."""
    number = {"type": "number"}
    return {
        "type": "object",
        "properties": {
            kind: {
                "type": "array",
                "items": [number, number, number if kind == "range" else {"type": "integer", "minimum": 1}],
                "minItems": 3,
                "maxItems": 3,
                "description": f"[{', '.join(arguments_of(kind))}]: {RANGES[kind]}.",
            }
            for kind in kinds
        },
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def values(written: Any) -> tuple[Any, ...]:
    """Return the values that a sweep's right-hand side stands for.

    A list stands for itself; `{linspace: [first, last, n]}` and `{logspace: [first, last, n]}` for n
    values evenly spaced (in ratio) between two end values; `{range: [first, last, step]}` for a
    progression that includes `last` where a step meets it.

    Raises:
        ValueError: neither of these, no value at all, or more than MOST_VALUES.
    """
    if isinstance(written, Mapping):
        return _ranged(written)
    if not isinstance(written, list | tuple):
        raise ValueError(f"expected a list of values or one of {', '.join(RANGES)}")
    if not written:
        raise ValueError("expected at least one value, the list is empty")
    _check_count("the list", len(written))
    return tuple(written)


def step_numbers(written: Any, least: int, expected: str) -> tuple[int, ...]:
    """Return whole numbers of at least `least`, written as a list or a range, in ascending order.

    Raises:
        ValueError: it isn't written so (with `expected` in the message), or one is listed twice.
    """
    # values() itself says what is wrong with a range.
    steps = values(written) if isinstance(written, Mapping | list | tuple) and written else ()
    if not steps or not all(type(step) is int and step >= least for step in steps):
        raise ValueError(f"expected {expected}")
    return tuple(sorted(once(steps)))


def points(grid: Mapping[str, Sequence[Any]], paired: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Return every grid point: the paired settings side by side, crossed with the product of the others.

    The last key of the grid varies fastest. Without any sweep there is one point with nothing in it.
    """
    rows = [dict(zip(paired, row, strict=True)) for row in zip(*paired.values(), strict=True)] if paired else [{}]
    return [row | dict(zip(grid, combination, strict=True)) for row in rows for combination in product(*grid.values())]


def count_points(grid: Mapping[str, Sequence[Any]], paired: Mapping[str, Sequence[Any]]) -> int:
    """Return how many grid points there are, without making them."""
    return prod(map(len, grid.values())) * (len(next(iter(paired.values()))) if paired else 1)


def once(column: Column) -> Column:
    """Return the values as they are.

    Raises:
        ValueError: a value is listed twice. That must be a slip, since repeating it changes nothing.
    """
    if len(set(column)) < len(column):
        again, _ = max(Counter(column).items(), key=lambda item: item[1])
        raise ValueError(f"{again} is listed twice")
    return column


def _ranged(written: Mapping[str, Any]) -> tuple[float, ...]:
    if len(written) != 1 or (kind := next(iter(written))) not in RANGES:
        names = [str(name) for name in written if name not in RANGES]
        raise ValueError(f"expected one of {', '.join(RANGES)}{nearest(names[0], [*RANGES]) if names else ''}")
    arguments = written[kind]
    numbers = isinstance(arguments, list) and all(isinstance(x, int | float) for x in arguments)
    if not numbers or len(arguments) != 3 or any(isinstance(x, bool) for x in arguments):
        raise ValueError(f"{kind} takes three numbers: [{', '.join(arguments_of(kind))}]")
    if not all(map(isfinite, arguments)):
        raise ValueError(f"{kind} takes three finite numbers")
    return _range(*arguments) if kind == "range" else _spaced(kind, *arguments)


def arguments_of(kind: str) -> list[str]:
    """Return the names of the three numbers that a kind of range takes."""
    return ["first", "last", "step" if kind == "range" else "n"]


def _spaced(kind: str, first: float, last: float, count: float) -> tuple[float, ...]:
    if kind == "logspace" and (first == 0 or last == 0 or (first > 0) != (last > 0)):
        raise ValueError("logspace needs end values other than 0 and of one sign (they are values, not exponents)")
    if count < 1 or count != int(count):
        raise ValueError(f"{kind} [first, last, n] needs a whole number n above 0")
    _check_count(kind, count)
    space = np.geomspace if kind == "logspace" else np.linspace
    with np.errstate(all="ignore"):  # what is not finite is refused as a value
        return tuple(space(float(first), float(last), int(count)).tolist())


def _range(first: float, last: float, step: float) -> tuple[float, ...]:
    if step == 0 or (last - first) / step < 0:
        raise ValueError("range [first, last, step] never reaches its last value")
    steps = (last - first) / step
    _check_count("range", steps + 1)
    # Rounding keeps 0.1 + 0.1 + 0.1 from missing 0.3.
    meets = abs(steps - round(steps)) < 1e-6
    count = round(steps) if meets else int(steps)
    inner = [first + i * step for i in range(count + 1)]
    return tuple([*inner[:-1], type(inner[-1])(last)] if meets and count else inner)


def _check_count(what: str, count: float) -> None:
    if count > MOST_VALUES:
        raise ValueError(f"{what} has {count:,.12g} values; at most {MOST_VALUES:,} are possible")
