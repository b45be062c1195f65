"""Numbers and lists as people write them."""

from collections.abc import Iterable


def counted(number: int, thing: str) -> str:
    """Write how many there are of a thing: 1 trial, 2 trials."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def have(number: int) -> str:
    """Write the verb that goes with a number of things."""
    return "has" if number == 1 else "have"


def listed(names: Iterable[object]) -> str:
    """Write names one after the other: "a", "a and b", "a, b and c"."""
    *firsts, last = map(str, names)
    return f"{', '.join(firsts)} and {last}" if firsts else last


def gibibytes(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
