"""Dotted keys: which ones there are, and putting a value under one."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from bnexp.config.base import Settings
from bnexp.config.synonyms import setting_of
from bnexp.errors import nearest


def leaf_keys(section: type[Settings], prefix: str = "", *, sections: bool = False) -> Iterator[str]:
    """Yield the dotted key of every setting below a section, in the order of declaration, and perhaps of sections."""
    for name in section.model_fields:
        inner = _section(section, name)
        if inner is None or sections:
            yield prefix + name
        if inner is not None:
            yield from leaf_keys(inner, f"{prefix}{name}.", sections=sections)


def leaves(section: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every setting below a section, in the order of declaration."""
    for name, value in section:
        if isinstance(value, Settings):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def below(key: str, section: str) -> bool:
    """Tell whether a dotted key is another, or lies below it."""
    return f"{key}.".startswith(f"{section}.")


def is_key(section: type[Settings], key: str) -> bool:
    """Tell whether the key names a setting or a section of settings."""
    return key in leaf_keys(section, sections=True)


def check_key(section: type[Settings], key: str) -> None:
    """Raise ValueError with the nearest known name unless the key names a setting or a section of settings."""
    if not is_key(section, key):
        raise ValueError(f"unknown key{nearest_key(section, key)}")


def nearest_key(section: type[Settings], key: str) -> str:
    """Return " (nearest: …)" for a wrong key: the same last name elsewhere, what it is called here, or a like spelling.

    Of several the first in the same section, or in the fewest sections, is taken: gamma of a schedule is its factor.
    """
    known = list(leaf_keys(section, sections=True))
    top, last = key.split(".")[0], key.rsplit(".", 1)[-1]
    meant = [candidate for candidate in known if candidate.rsplit(".", 1)[-1] == last or candidate == setting_of(last)]
    if not meant:
        return nearest(key, list(leaf_keys(section)))
    return f" (nearest: {min(meant, key=lambda each: (each.split('.')[0] != top, each.count('.')))})"


def get(raw: Any, key: str) -> Any:
    """Return what a raw configuration has under a dotted key; None where it has nothing."""
    for part in key.split("."):
        raw = raw.get(part) if isinstance(raw, Mapping) else None
    return raw


def put(raw: dict[str, Any], key: str, value: Any, section: type[Settings] | None) -> None:
    """Set a dotted key in a raw configuration, opening sections and their short forms on the way.

    A section's mapping or short form sets the settings that it names and keeps the others: `data=digits` keeps the
    sizes that are there. An empty mapping stands for the defaults.

    Raises:
        ValueError: something that is no section stands in the way.
    """
    name, _, rest = key.partition(".")
    inner = _section(section, name) if section else None
    named = {rest: value} if rest else _expanded(inner, value)
    if not named:
        raw[name] = value
        return
    here = raw.get(name)
    opened = {} if here is None else inner.expand(here) if inner else here
    if not isinstance(opened, dict):
        raise ValueError(f"{name} is not a section with keys of its own")
    raw[name] = dict(opened)
    for each, setting in named.items():
        put(raw[name], each, setting, inner)


def _expanded(section: type[Settings] | None, value: Any) -> dict[Any, Any]:
    """Return what a section's value sets in it; nothing where the key is a setting or the value isn't understood."""
    with suppress(ValueError):  # refused when the whole is checked
        expanded = section.expand(value) if section else None
        return expanded if isinstance(expanded, dict) and all(isinstance(key, str) for key in expanded) else {}
    return {}


def _section(section: type[Settings], name: str) -> type[Settings] | None:
    """Return the section of that name within another; None where it is a setting, or there is none."""
    field = section.model_fields.get(name)
    annotation: Any = field.annotation if field else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None
