"""Every setting with its meaning, default and possible values, read from the models of the configuration."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from textwrap import fill, indent
from typing import Any

from bnexp.config.base import LARGEST_INTEGER
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.keys import below, nearest_key, setting_of
from bnexp.config.schema import Documented, Schema
from bnexp.errors import InputError

WIDTH = 80
"""Columns of a terminal."""
WRITTEN_BY_BNEXP = "tuned"
"""The setting that `bnexp run` fills in: nobody else writes what is inside it."""


@dataclass(frozen=True)
class Setting:
    """One setting as its field documents it."""

    key: str
    """Dotted key; `probes[].every` is a key of each entry of the list `probes`."""
    meaning: str
    default: Any
    required: bool
    """Has no default."""
    values: str
    """The possible values, in words."""
    choices: tuple[str, ...]
    """The possible words, if any."""

    @property
    def default_text(self) -> str:
        """The default as in a YAML file; empty where there is none."""
        if self.required:
            return ""
        return self.default if self.default and isinstance(self.default, str) else json.dumps(self.default)


@dataclass(frozen=True)
class Section:
    """Settings under one key, without those of the sections within it."""

    key: str
    """Dotted key; empty for the top of the file."""
    meaning: str
    """Empty where only some of the section's settings are shown."""
    settings: tuple[Setting, ...]


def all_sections() -> list[Section]:
    """Return all settings by section, in the order of the models: the top of the file first."""
    whole = ExperimentConfig.model_json_schema(schema_generator=Documented)
    return list(_sections("", whole, whole["$defs"]))


def find_settings(word: str) -> list[Section]:
    """Return the settings with that key or in that section; else those with the word in key or meaning.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    elsewhere = setting_of(word)
    tests = (
        lambda setting: below(setting.key.replace("[]", ""), word),
        lambda setting: elsewhere is not None and below(setting.key, elsewhere),
        lambda setting: word.lower() in setting.key,
        lambda setting: word.lower() in setting.meaning.lower(),
    )
    sections = all_sections()
    for test in tests:
        found = []
        for section in sections:
            if settings := tuple(filter(test, section.settings)):
                whole = settings == section.settings
                found.append(Section(section.key, section.meaning if whole else "", settings))
        if found:
            return found
    raise InputError(f"{word}: no such setting{nearest_key(ExperimentConfig, word)}; bnexp settings lists all of them")


def to_json(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Return every setting as plain values."""
    return [asdict(setting) for section in sections for setting in section.settings]


def to_text(sections: Sequence[Section]) -> str:
    """Return settings in lines of at most WIDTH columns: `key: default`, and the rest indented below."""
    return "\n\n".join(block for section in sections for block in _blocks(section))


HEADER = """# Settings

Everything that a configuration file can say, with its default. On the command line a setting is written
`dotted.key=value`, and `bnexp settings KEY` explains it. This page is made by `bnexp settings --markdown`."""


def to_markdown(sections: Sequence[Section]) -> str:
    """Return settings as a Markdown page: a heading and a table for each section."""
    return "\n\n".join([HEADER, *map(_table, sections)])


def _sections(key: str, schema: Schema, known: Mapping[str, Schema]) -> Iterator[Section]:
    fields = {f"{key}.{name}".lstrip("."): field for name, field in schema["properties"].items()}
    if own := [to_setting(name, field) for name, field in fields.items() if "$ref" not in field]:
        yield Section(key, schema["description"].partition("\n\n")[0], tuple(own))
    for name, field in fields.items():
        listed = _listed(field) if name != WRITTEN_BY_BNEXP else None
        if reference := field.get("$ref") or listed:
            place = name if "$ref" in field else f"{name}[]"
            yield from _sections(place, known[reference.removeprefix("#/$defs/")], known)


def _listed(field: Schema) -> str | None:
    """Return the reference to the section that describes each entry of a list."""
    items = [branch["items"] for branch in field.get("anyOf", [field]) if "items" in branch]
    found = (each["$ref"] for item in items for each in item.get("anyOf", [item]) if "$ref" in each)
    return next(found, None)


def to_setting(key: str, field: Schema) -> Setting:
    """Return what the schema of a field says."""
    branches = field.get("anyOf", [field])
    words = [word for branch in branches for word in _choices(branch)]
    *firsts, last = dict.fromkeys(value for branch in branches for value in _choices(branch) or [_kind(branch)])
    values = f"{', '.join(firsts)} or {last}" if firsts else last
    meaning = field.get("description", "")
    return Setting(key, meaning, field.get("default"), "default" not in field, values, tuple(words))


def _choices(branch: Schema) -> list[str]:
    if branch.get("type") == "boolean":
        return ["true", "false"]
    words = [branch["const"]] if "const" in branch else branch.get("enum", [])
    return [word if isinstance(word, str) else json.dumps(word) for word in words]


KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _kind(branch: Schema) -> str:
    """Say what a value has to be, if there is no list of choices."""
    if "prefixItems" in branch:
        return f"a list of {len(branch['prefixItems'])} numbers"
    found = {name: branch[name] for name in BOUNDS if branch.get(name, LARGEST_INTEGER) != LARGEST_INTEGER}
    bounds = ", ".join(f"{BOUNDS[name]} {bound:,}" for name, bound in found.items())
    kind = KINDS[branch.get("type", "object")]  # a section that may be null is a reference without a type
    return f"{kind} ({bounds})" if bounds else kind


def _blocks(section: Section) -> Iterator[str]:
    if section.key and section.meaning:
        yield _block(f"{section.key}:", [section.meaning])
    for setting in section.settings:
        paragraphs = [*setting.meaning.split("\n\n"), f"Values: {setting.values}"]
        yield _block(f"{setting.key}: {setting.default_text}", paragraphs)


def _block(first: str, paragraphs: Sequence[str]) -> str:
    wrapped = (fill(text, WIDTH - 4, break_long_words=False, break_on_hyphens=False) for text in paragraphs)
    return f"{first.rstrip()}\n{indent(chr(10).join(wrapped), '    ')}"


def _table(section: Section) -> str:
    lines = ["| setting | default | values | meaning |", "| --- | --- | --- | --- |"]
    for setting in section.settings:
        default = "" if setting.required else f"`{setting.default_text}`"
        cells = (f"`{setting.key}`", default, setting.values, setting.meaning)
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    heading, meaning = section.key or "The top of the file", " ".join(section.meaning.split())
    return "\n\n".join([f"## {heading}", meaning, "\n".join(lines)])
