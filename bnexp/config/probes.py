"""Which measurements are taken inside the networks while they train: `probes:`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Number, Settings
from bnexp.config.sweep import once, step_numbers
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
ALONG_THE_GRADIENT = ("loss_variation", "gradient_predictiveness", "effective_smoothness")
"""Probes of places on a line; landscape_slice is of a square."""
OF_THE_NETWORK = (*ALONG_THE_GRADIENT, "sharpness", "landscape_slice", "mode_gap", "gradient_noise")
"""Probes that have no values of single layers."""
OF_AN_UPDATE = ("update_ratio", "covariate_shift")
"""Probes that compare the parameters before and after an update, over its own batch."""
OVER_BATCHES = ("gradient_noise", "batch_spread")
"""Probes of how batches differ."""
NARROWEST = 1e-6
"""Of a range."""
MOST_POINTS = 101
"""Points of a line, or of a side of a slice."""
MOST_BATCHES = 10_000


def _steps(value: Any) -> Any:
    return None if value is None else step_numbers(value, least=0)


class ProbeSettings(Settings):
    """One entry of `probes:`. Short form: its name. Without `every` and `at` it is taken at every record."""

    name: ProbeName
    """What is measured; docs/inside.md has the definitions."""
    every: Count | None = None
    """Updates from one measurement to the next; the first is before training."""
    at: Annotated[tuple[int, ...] | None, BeforeValidator(_steps)] = None
    """The updates after which to measure, 0 for before training: a list, or `{range: [first, last, step]}`."""
    layers: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(once)] | None = None
    """Only layers with these names, as `bnexp show` prints them; * stands for any letters. null = all that apply."""
    batches: Annotated[Count, Field(le=MOST_BATCHES)] | None = None
    """Batches of training images that are looked at, at most as many as there are; null = what suits the probe."""
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
        if self.batches == 1 and self.name in OVER_BATCHES:
            raise ValueError(f"batches: {self.name} is about how batches differ and takes at least 2")
        if self.range and self.range[1] - self.range[0] < NARROWEST:
            raise ValueError(f"range: expected the lower end first, and at least {NARROWEST:g} between the ends")
        if self.range and self.name in ALONG_THE_GRADIENT and self.range[0] <= 0:
            raise ValueError("range: expected multiples of the learning rate above 0")
        if useless := [
            option for option, takers in self._without.items() if self.name in takers and option in self._set
        ]:
            raise ValueError(f"{useless[0]}: {self.name} has no use for it; leave it out")
        return self

    @property
    def _set(self) -> list[str]:
        return [option for option in self._without if getattr(self, option) is not None]

    @property
    def _without(self) -> dict[str, Sequence[str]]:
        """Options, and the probes that have no use for them."""
        pointless = [name for name in get_args(ProbeName) if name not in (*ALONG_THE_GRADIENT, "landscape_slice")]
        return {"layers": OF_THE_NETWORK, "batches": OF_AN_UPDATE, "range": pointless, "points": pointless}


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
    once(names)
    return entries


def _name(entry: Any) -> Any:
    if isinstance(entry, ProbeSettings):
        return entry.name
    return entry.get("name") if isinstance(entry, Mapping) else entry


Probes = Annotated[tuple[ProbeSettings, ...], BeforeValidator(probe_list)]
