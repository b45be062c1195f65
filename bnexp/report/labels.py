"""How grid keys and values are written where space is short."""

from collections.abc import Mapping, Sequence
from typing import Any

from bnexp.config.reader import flow


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return each dotted key without its first component, or whole where two keys would look the same."""
    short = {key: key.partition(".")[2] or key for key in keys}
    names = list(short.values())
    return {key: name if names.count(name) == 1 else key for key, name in short.items()}


def value_text(value: Any) -> str:
    """Write a grid value: floats with four digits, otherwise as YAML would."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return flow(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def point_texts(point: Mapping[str, Any]) -> list[str]:
    """Write a grid point as "key value", one text per key."""
    short = short_keys(list(point))
    return [f"{short[key]} {value_text(value)}" for key, value in point.items()]
