"""Which measurements are taken inside the networks while they train: `probes:`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Number, Settings
from bnexp.config.sweep import step_numbers
from bnexp.errors import nearest

ProbeName = Literal[
    "gradient_norm",
    "update_ratio",
    "saturation",
    "dead_units",
    "drift",
    "rank",
    "batch_spread",
    "variance_shift",
    "gradient_noise",
    "covariate_shift",
    "loss_variation",
    "gradient_predictiveness",
    "effective_smoothness",
    "sharpness",
    "landscape_slice",
    "mode_gap",
]
DEFAULT = "default"
"""Stands for DEFAULT_PROBES in a configuration."""
DEFAULT_PROBES: tuple[ProbeName, ...] = ("gradient_norm", "update_ratio", "saturation", "dead_units", "drift")
"""Probes that share one pass over one batch, and together cost little."""
MOST_POINTS = 101
"""Points of a line, or of a side of a slice."""
MOST_BATCHES = 10_000


def _steps(value: Any) -> Any:
    return None if value is None else step_numbers(value, least=0)


class ProbeSettings(Settings):
    """One entry of `probes:`. Short form: its name. Without `every` and `at` it is taken at every record."""

    name: ProbeName
    """What is measured; docs/probes.md has the definitions."""
    every: Count | None = None
    """Updates from one measurement to the next; the first is before training."""
    at: Annotated[tuple[int, ...] | None, BeforeValidator(_steps)] = None
    """The updates after which to measure, 0 for before training: a list, or `{range: [first, last, step]}`."""
    layers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Only layers with these names, as `bnexp show` prints them; * stands for any letters. null = all that apply."""
    batches: Annotated[Count, Field(le=MOST_BATCHES)] | None = None
    """Batches of training images that are looked at; null = what suits the probe."""
    range: tuple[Number, Number] | None = None
    """How far from the weights to look: in multiples of the learning rate along the gradient, for landscape_slice in
    multiples of the weights' own norm; null = 0.5 to 4, and -1 to 1."""
    points: Annotated[Count, Field(ge=2, le=MOST_POINTS)] | None = None
    """How many places in that range, for landscape_slice on each side; null = 8, and 11."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.every is not None and self.at is not None:
            raise ValueError("every and at exclude each other: give one of them")
        if self.range and self.range[0] >= self.range[1]:
            raise ValueError("range: expected the lower end first")
        line = self.name in ("loss_variation", "gradient_predictiveness", "effective_smoothness")
        if self.range and line and self.range[0] <= 0:
            raise ValueError("range: expected multiples of the learning rate above 0")
        return self


def probe_list(value: Any) -> Any:
    """Return the entries that `probes:` stands for: one or a list, `default` for several, each at most once.

    Raises:
        ValueError: neither a name nor a list, or a probe is listed twice.
    """
    if isinstance(value, str | Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError("expected a list of names of probes, or of mappings with a name")
    entries = [each for entry in value for each in (DEFAULT_PROBES if entry == DEFAULT else (entry,))]
    names = [name for entry in entries if isinstance(name := _name(entry), str)]
    if unknown := [name for name in names if name not in get_args(ProbeName)]:
        known = [DEFAULT, *get_args(ProbeName)]
        raise ValueError(f"{unknown[0]}: expected one of {', '.join(known)}{nearest(unknown[0], known)}")
    if again := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"{again[0]} is listed twice")
    return entries


def _name(entry: Any) -> Any:
    if isinstance(entry, ProbeSettings):
        return entry.name
    return entry.get("name") if isinstance(entry, Mapping) else entry


Probes = Annotated[tuple[ProbeSettings, ...], BeforeValidator(probe_list)]
