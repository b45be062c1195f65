"""The base of every settings model and of every spec, and the types that configurations are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticKnownError, core_schema


class Settings(BaseModel):
    """Frozen, no unknown keys, no infinities; the line under a field is its documentation (`documentation.py`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    main_setting: ClassVar[str | None] = None
    """The setting that a section's short form gives; on the command line and in arms it leaves the others alone."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Turn a short form of this section into the mapping it stands for; sections may override it.

        Raises:
            ValueError: the section doesn't know the short form.
        """
        return {cls.main_setting: value} if cls.main_setting and isinstance(value, str) else value

    @classmethod
    def short_forms(cls) -> Sequence[str]:
        """Return the words that stand for this section, if they aren't the values of the main setting."""
        return ()

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return cls.expand(value)


@dataclass(frozen=True)
class Spec:
    """Describes something that a setting chooses by name, without importing what computes it."""

    implementation: str | Callable[..., Any]
    """The class or function that computes it, or `module:name` of that."""

    def load(self) -> Any:
        """Import and return the implementation."""
        return resolve_name(self.implementation) if isinstance(self.implementation, str) else self.implementation


def _not_bool(value: Any) -> Any:
    # Python counts True as 1; in a configuration `lr: true` is a slip of the pen.
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def written_as(kind: Any) -> BeforeValidator:
    """Annotate a setting with the type that it has in a file, for the schema, if a model holds it as another type."""
    return BeforeValidator(lambda value: value, json_schema_input_type=kind)


WRITTEN_BY_RUNS = Field(json_schema_extra={"doNotSuggest": True})
"""Annotates settings that nobody writes by hand, so that editors don't suggest them."""
LARGEST_INTEGER = 2**63 - 1
"""The largest that fits in 64 bits, as in tables and tensors."""

Number = Annotated[float, BeforeValidator(_not_bool)]
Integer = Annotated[int, BeforeValidator(_not_bool), Field(le=LARGEST_INTEGER)]

Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Count = Annotated[Integer, Field(ge=1)]
Size = Annotated[Integer, Field(ge=0)]


@dataclass(frozen=True, eq=False)
class OneOf:
    """Annotates a setting that names a record of a dictionary; a record that is added later can be named at once."""

    records: Mapping[str, Any]
    other: str | None = None
    """A further value, for which there is no record."""

    @property
    def names(self) -> list[str]:
        """All values."""
        return [*self.records, *([self.other] if self.other else [])]

    def _check(self, value: Any) -> Any:
        if not isinstance(value, str) or value not in self.names:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, self.names))})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "enum": self.names}
