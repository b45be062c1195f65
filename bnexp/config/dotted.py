"""Dotted keys: which ones there are, and putting a value under one."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from bnexp.config.base import Settings
from bnexp.config.synonyms import setting_of
from bnexp.errors import nearest


def leaf_keys(section: type[Settings], prefix: str = "", *, sections: bool = False) -> Iterator[str]:
    """Yield the dotted key of every setting below a section, in the order of declaration, and perhaps of sections."""
    for name, field in section.model_fields.items():
        inner = _section(field.annotation)
        if inner is None or sections:
            yield prefix + name
        if inner is not None:
            yield from leaf_keys(inner, f"{prefix}{name}.", sections=sections)


def leaves(section: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every setting below a section, in the order of declaration."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Settings):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def below(key: str, section: str) -> bool:
    """Tell whether a dotted key is another, or lies below it."""
    return f"{key}.".startswith(f"{section}.")


def is_key(section: type[Settings], key: str) -> bool:
    """Tell whether the key names a setting or a section of settings."""
    here: type[Settings] | None = section
    for part in key.split("."):
        if here is None or part not in here.model_fields:
            return False
        here = _section(here.model_fields[part].annotation)
    return True


def check_key(section: type[Settings], key: str) -> None:
    """Raise ValueError with the nearest known name unless the key names a setting or a section of settings."""
    if not is_key(section, key):
        raise ValueError(f"unknown key{nearest_key(section, key)}")


def nearest_key(section: type[Settings], key: str) -> str:
    """Return " (nearest: …)" for a wrong key: the same last name elsewhere, what it is called here, or a like spelling.

    Of several settings with the same last name the first in the same section, or in the fewest sections, is taken. One
    in another section gives way to what the name means in this one: gamma of a schedule is its factor.
    """
    known = list(leaf_keys(section, sections=True))
    top, last = key.split(".")[0], key.rsplit(".", 1)[-1]
    same_name = [candidate for candidate in known if candidate.rsplit(".", 1)[-1] == last]
    elsewhere = setting_of(last)
    meant_here = elsewhere in known and str(elsewhere).startswith(f"{top}.")
    if same_name and not (meant_here and all(candidate.split(".")[0] != top for candidate in same_name)):
        here = min(same_name, key=lambda candidate: (candidate.split(".")[0] != top, candidate.count(".")))
        return f" (nearest: {here})"
    return f" (nearest: {elsewhere})" if elsewhere in known else nearest(key, list(leaf_keys(section)))


def put(raw: dict[str, Any], key: str, value: Any, section: type[Settings]) -> None:
    """Set a dotted key in a raw configuration, opening sections and their short forms on the way.

    A section's mapping or short form sets the settings that it names and keeps the others: `data=digits` keeps the
    sizes that are there. An empty mapping stands for the defaults.

    Raises:
        ValueError: something that is no section stands in the way.
    """
    named = _named_settings(section, key, value)
    for name, inner in named.items():
        put(raw, f"{key}.{name}", inner, section)
    if not named:
        _set(raw, key, value, section)


def _set(raw: dict[str, Any], key: str, value: Any, section: type[Settings]) -> None:
    *path, last = key.split(".")
    here: type[Settings] | None = section
    for part in path:
        here = _section(here.model_fields[part].annotation) if here and part in here.model_fields else None
        inner = raw.get(part)
        inner = {} if inner is None else here.expand(inner) if here else inner
        if not isinstance(inner, dict):
            raise ValueError(f"{part} is not a section with keys of its own")
        raw[part] = raw = dict(inner)
    raw[last] = value


def _named_settings(section: type[Settings], key: str, value: Any) -> dict[Any, Any]:
    """Return what a section's value sets in it; nothing where the key is a setting or the value isn't understood."""
    here: type[Settings] | None = section
    for part in key.split("."):
        here = _section(here.model_fields[part].annotation) if here and part in here.model_fields else None
    with suppress(ValueError):  # refused when the whole is checked
        expanded = here.expand(value) if here else None
        return expanded if isinstance(expanded, dict) else {}
    return {}


def _section(annotation: Any) -> type[Settings] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None
