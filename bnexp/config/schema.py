"""The JSON schema of configuration files: with it, editors complete, explain and check what is written.

It is made from the models. It accepts what the loader accepts: short forms, dotted keys, numbers and booleans in
quotes. If the loader refuses a key or a single value, the schema does so, too, in nearly all cases. Only the loader
knows which settings go together. The schemas of what commands print are made in the same way.
"""

import ast
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from inspect import cleandoc, getsource
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from bnexp.config.base import Settings
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.keys import section_of
from bnexp.config.trial import CHANGES, SETTING, VALUE, TrialSettings

Schema = Mapping[str, Any]
"""A part of a JSON schema."""
Explained = tuple[JsonSchemaValue, str]
"""A reference to the schema of a setting or section, and what that means."""

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The version of JSON schema that all editors know."""
REFERENCE = "#/definitions/{}"
LARGEST_NUMBER = 1.7976931348623157e308
"""The largest that is no infinity."""
WHOLE = r"^\s*[-+]?[0-9_]+(\.0+)?\s*$"
"""A whole number in quotes."""
NUMBER = r"^\s*[-+]?([0-9_]+\.?[0-9_]*|\.[0-9_]+)([eE]_?[-+]?[0-9_]+)?\s*$"
"""A number in quotes."""
INDEX = r"^\s*(\+?[0-9][0-9_]*|-0+)(\.0*)?\s*$"
"""A whole number as a key, at least 0."""
BOOLEANS = ("true", "false", "yes", "no", "on", "off", "t", "f", "y", "n")
"""Words that pydantic takes for booleans, in any case, as it does "1" and "0"."""
ARGUMENTS = r"^model\.arguments\.[^.]+$"
"""Keys of the arguments of a network of one's own."""
BY_NAME = r"^(arms|labels|grid|zip|tune\.grid|tune\.sample)\."
"""Keys below sections that have a key for each arm or setting."""
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""pydantic's names of bounds, which fields that are checked before their type is have."""


class Documented(GenerateJsonSchema):
    """The JSON schema with the lines under fields as their descriptions.

    pydantic's use_attribute_docstrings would parse the source of all models whenever they are imported.
    """

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """Return the schema, with the standard's names of bounds."""
        found: JsonSchemaValue = changed(super().generate(schema, mode), _with_bounds)
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return a model's schema."""
        found = super().model_schema(schema)
        _describe(found, [kind for kind in schema["cls"].__mro__ if issubclass(kind, Settings)])
        return found

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return the schema of mappings, with the pattern of their keys."""
        found = super().dict_schema(schema)
        for pattern, values in found.pop("patternProperties", {}).items():  # which would leave other keys free
            names = {"pattern": pattern, **found.get("propertyNames", {})}
            found |= {"propertyNames": names, "additionalProperties": values}
        numbered = "integer" in self.generate_inner(schema["keys_schema"]).get("type", ())
        return found | ({"propertyNames": {"pattern": INDEX}} if numbered else {})


def changed(part: Any, change: Callable[[JsonSchemaValue], JsonSchemaValue]) -> Any:
    """Return a schema in which each of its mappings is changed, the inner ones first."""
    if isinstance(part, list):
        return [changed(each, change) for each in part]
    return change({key: changed(each, change) for key, each in part.items()}) if isinstance(part, dict) else part


def reference(name: str) -> JsonSchemaValue:
    """Return what stands for a definition."""
    return {"$ref": REFERENCE.format(name)}


def _with_bounds(part: JsonSchemaValue) -> JsonSchemaValue:
    return {BOUNDS.get(key, key) if type(value) in (int, float) else key: value for key, value in part.items()}


class OfOutput(Documented):
    """The JSON schema of what a command prints, from dataclasses: all keys are there, and no others."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Return a dataclass's schema."""
        found = super().dataclass_schema(schema)
        _describe(found, [kind for kind in schema["cls"].__mro__ if is_dataclass(kind)])
        return found | {"required": list(found["properties"]), "additionalProperties": False}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out defaults: what is printed is never left out."""
        return self.generate_inner(schema["schema"])


def _describe(found: JsonSchemaValue, kinds: Sequence[type]) -> None:
    """Add the line under each field to the schema of a class, given with its bases."""
    for kind in reversed(kinds):
        for name, text in _documented(kind):
            if name in found["properties"]:
                found["properties"][name]["description"] = text


@cache  # a base's fields are those of every class that is made of it
def _documented(kind: type) -> tuple[tuple[str, str], ...]:
    """Return the fields that a class itself defines, and the text under each."""
    return tuple(_text_under_fields(kind))


def _text_under_fields(kind: type) -> Iterator[tuple[str, str]]:
    aliases = {name: field.alias for name, field in getattr(kind, "model_fields", {}).items() if field.alias}
    (definition,) = ast.parse(getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    for field, below_it in pairwise(definition.body):
        match field, below_it:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield aliases.get(name, name), cleandoc(text)


class _AsWritten(Documented):
    """The JSON schema of what a file may contain, which is more than a finished model holds."""

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """Return the schema, for the draft, with finite numbers."""
        found: JsonSchemaValue = changed(super().generate(schema, mode), lambda part: _finite(_in_draft(part)))
        return found

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        """Return booleans: true and false, words such as yes, and 1 and 0."""
        words = "|".join("".join(f"[{letter.upper()}{letter}]" for letter in word) for word in BOOLEANS)
        kinds = ["boolean", "integer", "string"]
        bounds = {"minimum": 0, "maximum": 1, "pattern": f"^({words}|1|0)$"}
        return {"type": kinds, **bounds, "patternErrorMessage": "Expected true or false."}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        """Return whole numbers, in quotes too unless they are strict."""
        return _in_quotes(super().int_schema(schema), WHOLE, strict=schema.get("strict"))

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        """Return numbers, in quotes too unless they are strict."""
        return _in_quotes(super().float_schema(schema), NUMBER, strict=schema.get("strict"))

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out titles, which would repeat the keys."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return a section as a mapping, or the words of its short form."""
        found, kind = super().model_schema(schema), schema["cls"]
        found.pop("title")
        if issubclass(kind, ExperimentConfig):
            found.pop("required")  # without a name it has that of its file
        for field in found["properties"].values():
            if "$ref" in field:
                field.pop("default", None)  # it follows from the section's settings
        if words := _short_forms(kind, found["properties"]):
            del found["additionalProperties"]  # for which editors would say that a text was expected
            forms = {"anyOf": [{"type": "string", "enum": words}, found]}
            return {"description": found.pop("description"), "propertyNames": {"enum": [*found["properties"]]}, **forms}
        if "required" not in found and not issubclass(kind, ExperimentConfig):
            return {"description": found.pop("description"), **_veiled(found)}
        return found


def _veiled(found: JsonSchemaValue) -> JsonSchemaValue:
    """Return a section whose settings an editor doesn't write down with all defaults when it completes the key."""
    return {"type": found.pop("type"), "allOf": [found]}


def _in_draft(part: JsonSchemaValue) -> JsonSchemaValue:
    """Describe the entries of a list by position as drafts before 2020 do."""
    return {"items" if key == "prefixItems" else key: value for key, value in part.items()}


def _finite(part: JsonSchemaValue) -> JsonSchemaValue:
    if "number" not in part.get("type", ()):
        return part
    least = {} if "exclusiveMinimum" in part else {"minimum": -LARGEST_NUMBER}
    most = {} if "exclusiveMaximum" in part else {"maximum": LARGEST_NUMBER}
    return least | most | part


def _in_quotes(found: JsonSchemaValue, pattern: str, *, strict: bool | None) -> JsonSchemaValue:
    quoted = {"type": [found["type"], "string"], "pattern": pattern, "patternErrorMessage": "Expected a number."}
    return found if strict else found | quoted


def _short_forms(kind: type[Settings], fields: Schema) -> list[str]:
    main = fields.get(kind.main_setting or "", {})
    return [*kind.short_forms()] or main.get("enum", [])


def file_schema(kind: type[Settings] = ExperimentConfig) -> JsonSchemaValue:
    """Return the JSON schema of the files that a model is read from: experiments, or files that contain one."""
    whole = kind.model_json_schema(schema_generator=_AsWritten, ref_template=REFERENCE.format("{model}"))
    definitions = whole.pop("$defs")
    settings = dict(_settings(TrialSettings, definitions, {}))
    mappings: dict[str, JsonSchemaValue] = {}
    names: dict[str, str] = {}

    def with_keys(part: JsonSchemaValue) -> JsonSchemaValue:
        """Where the models allow any setting, put in the keys of all settings and their values."""
        if part == SETTING:
            return {"anyOf": [{"enum": list(settings)}, {"pattern": ARGUMENTS}]}
        if part == CHANGES:
            parts = definitions[ExperimentConfig.__name__]["properties"]
            whole = dict(_settings(ExperimentConfig, definitions, parts, place=ExperimentConfig.__name__))
            mappings["changes"] = _mapping(VALUE, whole, BY_NAME)
            return reference("changes")
        if part.get("propertyNames", {}).get("format") != SETTING["format"]:
            return part
        under = part.pop("additionalProperties")
        name = names.setdefault(json.dumps(under), f"dotted_keys_{len(names) + 1}")
        mappings[name] = _mapping(under, settings)
        return {key: value for key, value in part.items() if key not in ("type", "propertyNames")} | reference(name)

    return {"$schema": DRAFT, **changed(whole, with_keys), "definitions": changed(definitions, with_keys) | mappings}


def _mapping(under: JsonSchemaValue, settings: Mapping[str, Explained], *patterns: str) -> JsonSchemaValue:
    """Return a mapping from dotted keys to what stands under each, such as values or lists of them.

    Args:
        under: what stands under a key, with VALUE in place of the setting's value.
        settings: by dotted key.
        patterns: of further keys, under which anything stands.
    """

    def holding(setting: JsonSchemaValue) -> Any:
        return changed(under, lambda part: setting if part == VALUE else part)

    meanings = {key: {**holding(value), "description": meaning} for key, (value, meaning) in settings.items()}
    argument = {**holding({}), "description": settings["model.arguments"][1]}
    others = {
        "patternProperties": {ARGUMENTS: argument, **{key: {} for key in patterns}},
        "additionalProperties": False,
    }
    return _veiled({"type": "object", "properties": meanings, **others})


def _settings(
    section: type[Settings], definitions: Schema, fields: Schema, prefix: str = "", place: str = ""
) -> Iterator[tuple[str, Explained]]:
    """Yield every setting and section below a section by its dotted key."""
    for name in section.model_fields:
        inner = section_of(section, name)
        if inner is None:
            yield prefix + name, (reference(f"{place}/properties/{name}"), fields[name]["description"])
            continue
        whole, there = definitions[inner.__name__], inner.__name__
        yield prefix + name, (reference(there), whole["description"])
        for way in whole.keys() & {"anyOf", "allOf"}:
            whole, there = whole[way][-1], f"{there}/{way}/{len(whole[way]) - 1}"
        yield from _settings(inner, definitions, whole["properties"], f"{prefix}{name}.", there)
