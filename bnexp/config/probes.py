"""Which measurements are taken inside the networks while they train: `probes:`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Number, OneOf, Settings, Spec
from bnexp.config.sweep import UNIQUE, once, step_numbers, steps_as_written
from bnexp.errors import nearest


@dataclass(frozen=True)
class ProbeSpec(Spec):
    """A measurement; the implementation takes a ProbeContext and ProbeSettings and yields (layer, name, value_K)."""

    options: tuple[str, ...] = ("layers", "batches")
    """The settings among layers, batches, range and points that it reads."""
    default: bool = False
    """Is among the probes that `default` stands for: they share one pass over one batch, and together cost little."""
    fewest_batches: int = 1
    """Smallest number of `batches`."""
    along_gradient: bool = False
    """Looks at places on a line; its `range` is in multiples of the learning rate, above 0."""
    needs_update: bool = False
    """Compares the parameters before and after an update, over its own batch."""
    keeps_outputs: bool = False
    """Keeps the outputs of all layers, for all of its batches at once."""
    one_trial_at_a_time: bool = False
    """Differentiates the gradient again, one trial after the other, in float64."""
    figure: str | None = None
    """Name of the picture that shows what it found, in `bnexp.report.figures.pictures.PROBE_FIGURES`."""


_ALONG_GRADIENT = ProbeSpec("", options=("batches", "range", "points"), along_gradient=True, figure="landscape_bands")
PROBES: dict[str, ProbeSpec] = {
    "gradient_norm": ProbeSpec(
        "bnexp.probes.activations:gradient_norm", default=True, keeps_outputs=True, figure="gradient_norms"
    ),
    "update_ratio": ProbeSpec(
        "bnexp.probes.activations:update_ratio", options=("layers",), default=True, needs_update=True
    ),
    "saturation": ProbeSpec(
        "bnexp.probes.activations:saturation", default=True, keeps_outputs=True, figure="saturation"
    ),
    "dead_units": ProbeSpec(
        "bnexp.probes.activations:dead_units", default=True, keeps_outputs=True, figure="saturation"
    ),
    "drift": ProbeSpec("bnexp.probes.shift:drift", default=True, keeps_outputs=True, figure="activations"),
    "rank": ProbeSpec("bnexp.probes.activations:rank", keeps_outputs=True),
    "batch_spread": ProbeSpec("bnexp.probes.activations:batch_spread", fewest_batches=2),
    "variance_shift": ProbeSpec("bnexp.probes.shift:variance_shift"),
    "gradient_noise": ProbeSpec("bnexp.probes.activations:gradient_noise", options=("batches",), fewest_batches=2),
    "covariate_shift": ProbeSpec(
        "bnexp.probes.shift:covariate_shift", options=("layers",), needs_update=True, figure="covariate_shift"
    ),
    **{
        name: replace(_ALONG_GRADIENT, implementation=f"bnexp.probes.landscape:{name}")
        for name in ("loss_variation", "gradient_predictiveness", "effective_smoothness")
    },
    "sharpness": ProbeSpec("bnexp.probes.landscape:sharpness", options=("batches",), one_trial_at_a_time=True),
    "landscape_slice": ProbeSpec(
        "bnexp.probes.landscape:landscape_slice", options=("batches", "range", "points"), figure="slices"
    ),
    "mode_gap": ProbeSpec("bnexp.probes.shift:mode_gap", options=("batches",)),
}
"""Probes by their name in `probes:`."""
DEFAULT = "default"
"""Stands for several probes in a configuration."""
NARROWEST = 1e-6
"""Smallest allowed width of `range`."""
MOST_POINTS = 101
"""Largest number of points of a line, or of a side of a slice."""
MOST_BATCHES = 10_000


def _steps(value: Any) -> Any:
    return None if value is None else step_numbers(value, 0, "a list or range of steps counted from 0")


class ProbeSettings(Settings):
    """One entry of `probes:`. Short form: its name. Without `every` and `at` it measures at every record."""

    main_setting = "name"

    name: Annotated[str, OneOf(PROBES)]
    """What is measured; docs/inside.md has the definitions."""
    every: Count | None = None
    """Number of updates from one measurement to the next; the first measurement is before training."""
    at: Annotated[
        tuple[int, ...] | None, BeforeValidator(_steps, json_schema_input_type=steps_as_written(0) | None)
    ] = None
    """Updates after which to measure (0 = before training): a list, or `{range: [first, last, step]}`."""
    layers: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(once)] | None = None
    """Names of the layers to measure, as `bnexp show` prints them; `*` stands for any letters. null = all that
    apply."""
    batches: Annotated[Count, Field(le=MOST_BATCHES)] | None = None
    """Number of batches of training images to look at, at most as many as there are; null = what suits the probe."""
    range: tuple[Number, Number] | None = None
    """Nearest and farthest place to look at. Along the gradient they are multiples of the learning rate, null = 0.5 to
    4; for landscape_slice multiples of the weights' norm, null = -1 to 1."""
    points: Annotated[Count, Field(ge=2, le=MOST_POINTS)] | None = None
    """Number of places in that range, for landscape_slice on each side; null = 8, and 11 for landscape_slice."""

    @property
    def spec(self) -> ProbeSpec:
        """The record of this probe."""
        return PROBES[self.name]

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.every is not None and self.at is not None:
            raise ValueError("every and at exclude each other: give one of them")
        if self.batches is not None and self.batches < self.spec.fewest_batches:
            least = self.spec.fewest_batches
            raise ValueError(f"batches: {self.name} compares batches, so it needs at least {least}")
        if self.range and self.range[1] - self.range[0] < NARROWEST:
            raise ValueError(f"range: expected the lower end first, and at least {NARROWEST:g} between the ends")
        if self.range and self.spec.along_gradient and self.range[0] <= 0:
            raise ValueError("range: expected multiples of the learning rate above 0")
        for option in ("layers", "batches", "range", "points"):
            if getattr(self, option) is not None and option not in self.spec.options:
                raise ValueError(f"{option}: {self.name} doesn't use it; leave it out")
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
    entries = [each for entry in value for each in (default_probes() if entry == DEFAULT else (entry,))]
    names = [name for name in map(_name, entries) if isinstance(name, str)]
    if unknown := [name for name in names if name not in PROBES]:
        known = [DEFAULT, *PROBES]
        raise ValueError(f"{unknown[0]}: expected one of {', '.join(known)}{nearest(unknown[0], known)}")
    once(names)
    return entries


def default_probes() -> list[str]:
    """Return the names that `default` stands for."""
    return [name for name, spec in PROBES.items() if spec.default]


def _name(entry: Any) -> Any:
    if isinstance(entry, ProbeSettings):
        return entry.name
    return entry.get("name") if isinstance(entry, Mapping) else entry


ProbeAsWritten = ProbeSettings | Literal["default"]
Probes = Annotated[
    tuple[ProbeSettings, ...],
    BeforeValidator(probe_list, json_schema_input_type=Annotated[list[ProbeAsWritten], UNIQUE] | ProbeAsWritten),
]
