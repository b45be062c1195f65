"""How the numbers of claims are written: changes, spreads, margins, and what arms chose."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bnexp.claims.arms import Chosen
from bnexp.report.labels import short_keys, value_text

MOST_CHOICES = 4
"""Of an arm that are written out; of more their range."""


def rounded(value: float, digits: int = 3) -> str:
    """Write a number with so many digits that count, as 110 rather than 1.1e+02."""
    return f"{float(f'{value:.{digits}g}'):g}"


def margin_text(margin: float | None, ratio: bool) -> str:
    """Write the least change that counts."""
    return "-" if margin is None else f"{'×' if ratio else ''}{rounded(margin)}"


def change_text(change: tuple[float, float | None, float | None] | None, ratio: bool) -> str:
    """Write a change with its interval; a ratio as ×."""
    if change is None:
        return "-"
    mean, low, high = (None if end is None else _signed(end, ratio) for end in change)
    return f"{mean}" if low is None or high is None else f"{mean} [{low}, {high}]"


def spread_text(values: tuple[float, float | None] | None) -> str:
    """Write a mean and a standard deviation."""
    if values is None:
        return "-"
    mean, deviation = values
    return rounded(mean) if deviation is None else f"{rounded(mean)} ± {rounded(deviation, 2)}"


def choices_text(choices: Sequence[Chosen]) -> str:
    """Write what one arm chose: "lr 0.01 at depth 11, 1e-06 at depth 41", or of many choices the range."""
    names = short_keys(list(dict.fromkeys(each.key for each in choices)))
    return "; ".join(f"{name} {_values([each for each in choices if each.key == key])}" for key, name in names.items())


def _signed(value: float, ratio: bool) -> str:
    return f"×{rounded(value)}" if ratio else ("+" if value > 0 else "") + rounded(value)


def _values(choices: Sequence[Chosen]) -> str:
    values = list(dict.fromkeys(value_text(each.value) for each in choices))
    edges = sum(each.at_edge for each in choices)
    if len(values) == 1:
        return values[0] + _edges(edges, len(choices))
    if len(choices) <= MOST_CHOICES:
        return ", ".join(" ".join(_one(each, choices)) for each in choices)
    known = sorted((each.value for each in choices), key=_order)
    return f"{value_text(known[0])} … {value_text(known[-1])}{_edges(edges, len(choices))}"


def _one(choice: Chosen, choices: Sequence[Chosen]) -> Iterator[str]:
    """Yield the value, where it was chosen as far as that differs from the other choices, and whether at an edge."""
    yield value_text(choice.value)
    differing = _differing([each.point for each in choices])
    short = short_keys(list(choice.point))
    if texts := [f"{short[key]} {value_text(choice.point[key])}" for key in differing]:
        yield f"at {' '.join(texts)}"
    if choice.at_edge:
        yield "(edge)"


def _differing(points: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key for key in points[0] if len({value_text(point[key]) for point in points}) > 1]


def _edges(count: int, of: int) -> str:
    if not count:
        return ""
    return " (edge)" if of == 1 else f", {count} of {of} at an edge"


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers in their order, then all else."""
    number = isinstance(value, int | float)
    return not number, value if number else str(value)
