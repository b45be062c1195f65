"""What a raw configuration is made of: text, numbers, true, false and null, in lists and mappings."""

from collections.abc import Iterator, Mapping
from typing import Any

from bnexp.config.problems import Finding
from bnexp.config.yaml_limits import DEEPEST, MOST_DIGITS

_TOO_LARGE = 10**MOST_DIGITS


def odd_values(value: Any, key: str = "", level: int = 0) -> Iterator[Finding]:
    """Yield every part that a configuration can't hold: files have few of them, but a script can pass anything."""
    if level > DEEPEST:
        yield key, f"nested more than {DEEPEST} levels deep"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if oddity := _oddity(name):
                yield key, f"a key is {oddity}"
            else:
                yield from odd_values(inner, f"{key}.{name}" if key else str(name), level + 1)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from odd_values(inner, f"{key}[{i}]", level + 1)
    elif oddity := _oddity(value):
        yield key, oddity


def plain(value: Any) -> Any:
    """Return a value without odd parts in the types that a file is read into, which YAML is written from.

    Scripts also pass what is as good: tuples, other mappings, and subclasses such as NumPy's float64 or enums.
    """
    if isinstance(value, Mapping):
        return {plain(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enum may be its name
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return int(value) if isinstance(value, int) else float(value)


def _oddity(value: Any) -> str:
    """Say what is wrong with a single value; empty where nothing is."""
    if isinstance(value, str):
        return "" if value.isascii() or _encodes(value) else "text that can't be written as UTF-8"
    if isinstance(value, int):
        return "" if abs(value) < _TOO_LARGE else f"a whole number of more than {MOST_DIGITS} digits"
    if value is None or isinstance(value, float):
        return ""
    return f"of type {type(value).__name__}, expected text, a number, true, false, null, a list or a mapping"


def _encodes(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False
