"""One experiment: a base setting, the arms, the sweep and the seeds; and the settings of one trial in it."""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from bnexp.config.base import Settings, Size
from bnexp.config.data import DataSettings
from bnexp.config.dotted import is_key, put
from bnexp.config.model import ModelSettings
from bnexp.config.norm import NormSettings
from bnexp.config.probes import Probes
from bnexp.config.sweep import Point, count_points, points, repeated, values
from bnexp.config.text import Lines
from bnexp.config.train import TrainSettings

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
LONGEST_NAME = 100
"""Characters of the names of experiments and arms: folders and legends are named after them."""
MOST_SEEDS = 10_000
"""Seeds of an experiment."""
MOST_TRIALS = 100_000
"""Trials of an experiment: arms × grid points × seeds."""
BUILT_IN_ARMS = ("none", "before", "after")


class TrialSettings(Settings):
    """All that decides a trial besides its seed."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()

    @property
    def no_influence(self) -> tuple[str, ...]:
        """Keys that have no influence on what is measured; of an image folder the root says which images."""
        return ("train.checkpoint_every", *(["data.root"] if self.data.name != "image_folder" else []))

    @model_validator(mode="after")
    def _only_pictures_are_augmented(self) -> Self:
        if self.data.normalize == "pca_whiten" and self.train.augment != "none":
            raise ValueError(
                f"train.augment: {self.train.augment} moves pixels, and data.normalize: pca_whiten leaves none; "
                "use zca_whiten, or augment: none"
            )
        return self


def _trial_key(key: str) -> str:
    # Without the nearest known name, which takes long to find for very many wrong keys: only some of them are said.
    if not is_key(TrialSettings, key):
        raise PydanticCustomError("unknown_key", "unknown key")
    return key


def _seeds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = range(min(value, MOST_SEEDS + 1))
    elif not isinstance(value, list | tuple):
        raise ValueError("expected a number of seeds or a list of them")
    if not value:
        raise ValueError("expected at least one seed")
    if len(value) > MOST_SEEDS:
        raise ValueError(f"expected at most {MOST_SEEDS:,} seeds")
    if len({repr(seed) for seed in value}) < len(value):
        raise ValueError("a seed is listed twice")
    return list(value)


def _plain(value: Any) -> Any:
    # As JSON would have it, so that a value reads the same from every file.
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _once(column: tuple[Any, ...]) -> tuple[Any, ...]:
    if again := repeated(column):
        raise ValueError(f"{again[0]} is listed twice")
    return column


Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
TrialKey = Annotated[str, AfterValidator(_trial_key)]
Value = Annotated[Any, BeforeValidator(_plain)]
Values = Annotated[tuple[Value, ...], BeforeValidator(values)]


class ExperimentConfig(TrialSettings):
    """A configuration file in its resolved form: loading what `model_dump` gives returns an equal object."""

    name: Name
    """Names the run folder: letters, digits and _ . + - only."""
    question: Lines = ""
    """What the experiment is to answer."""
    arms: dict[Name, dict[TrialKey, Value]] = Field(default=None, validate_default=True)
    """The treatments under comparison: a list of none, before, after, or a mapping from names to overrides."""
    probes: Probes = ()
    """Measurements inside the networks, which leave the training as it is; `default` stands for a few cheap ones."""
    grid: dict[TrialKey, Annotated[Values, AfterValidator(_once)]] = Field(default={})
    """Swept settings, crossed: a list of values each, or logspace, linspace, range."""
    zip: dict[TrialKey, Values] = Field(default={})
    """Swept settings, paired up: lists of equal length."""
    seeds: Annotated[tuple[Size, ...], BeforeValidator(_seeds)] = (0, 1, 2)
    """The seeds, or how many of 0, 1, 2, …"""

    @property
    def swept(self) -> tuple[str, ...]:
        """Dotted keys of the grid columns, in the order of the file."""
        return (*self.zip, *self.grid)

    def points(self) -> list[Point]:
        """Every grid point, in the order in which trials are numbered."""
        return points(self.grid, self.zip)

    def settings(self, arm: str, point: Mapping[str, Any]) -> TrialSettings:
        """Settings of the trials of one arm at one grid point; the arm has the last word.

        Raises:
            pydantic.ValidationError: the values don't go together.
        """
        raw: dict[str, Any] = {section: getattr(self, section).model_dump() for section in TrialSettings.model_fields}
        for key, value in {**point, **self.arms[arm]}.items():
            put(raw, key, value, TrialSettings)
        return TrialSettings.model_validate(raw)

    @field_validator("arms", mode="before")
    @classmethod
    def _name_arms(cls, value: Any, info: ValidationInfo) -> Any:
        model = info.data.get("model")
        norm = model.norm if isinstance(model, ModelSettings) else NormSettings()
        if value is None:
            value = default_arms(norm)
        if isinstance(value, list | tuple):
            if not all(isinstance(name, str) for name in value):
                raise ValueError(f"expected one of {', '.join(BUILT_IN_ARMS)}, or a mapping from names to overrides")
            value = dict.fromkeys(value)
        if not isinstance(value, Mapping) or not value:
            raise ValueError("expected a list of none, before, after, or a mapping from arm names to overrides")
        return {name: _arm(name, overrides, norm) for name, overrides in value.items()}

    @field_validator("zip")
    @classmethod
    def _pairs_agree(cls, paired: dict[str, tuple[Any, ...]], info: ValidationInfo) -> dict[str, tuple[Any, ...]]:
        lengths = {key: len(column) for key, column in paired.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise ValueError(f"zip pairs values up, so its lists need one length: {listed}")
        if both := set(paired) & set(info.data.get("grid", {})):
            raise ValueError(f"{sorted(both)[0]} stands in both grid and zip")
        if again := repeated(list(zip(*paired.values(), strict=True))):
            raise ValueError(f"{', '.join(map(str, again[0]))} is listed twice")
        return paired

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        factors = len(self.arms), count_points(self.grid, self.zip), len(self.seeds)
        if prod(factors) > MOST_TRIALS:
            sizes = "{:,} arms × {:,} grid points × {:,} seeds".format(*factors)
            raise ValueError(
                f"{sizes} are {prod(factors):,} trials, and an experiment has at most {MOST_TRIALS:,}; "
                "shorten grid, zip or seeds, or split it"
            )
        return self


def default_arms(norm: NormSettings) -> list[str]:
    """Return the arms of an experiment that names none."""
    return ["none"] if norm.kind == "none" else ["none", norm.placement]


def _arm(name: Any, overrides: Any, norm: NormSettings) -> Any:
    """Return an arm's overrides; the built-in names keep their meaning whatever else is overridden."""
    if name not in BUILT_IN_ARMS:
        if overrides is None:
            raise ValueError(f"{name}: expected one of {', '.join(BUILT_IN_ARMS)}, or a mapping with its overrides")
        return overrides
    meant = {"model.norm.kind": "none"} if name == "none" else {"model.norm.placement": name}
    given = {} if overrides is None else overrides
    if not isinstance(given, Mapping):
        return given  # refused as what it is
    for key, value in meant.items():
        if given.get(key, value) != value:
            raise ValueError(f"{name} means {key}: {value}; give an arm with {key}: {given[key]} another name")
    if name != "none" and norm.kind == "none":
        meant["model.norm.kind"] = "batch"
    return meant | dict(given)
