"""One experiment: base setting, arms, sweep, seeds and tuning; its cells, its stages, and the settings of a trial."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bnexp.config.base import WRITTEN_BY_RUNS, written_as
from bnexp.config.data import DATASETS
from bnexp.config.halving import Halving, plan_halving
from bnexp.config.keys import below, nearest_value
from bnexp.config.model import ModelSettings
from bnexp.config.norm import KERAS, NormSettings, momentum_question
from bnexp.config.origin import Origin
from bnexp.config.probes import Probes
from bnexp.config.seeds import MoreSeeds, Seeds, SeedsAsWritten, SeedsUntil, split_seeds
from bnexp.config.sweep import UNIQUE, Point, count_points, once, points
from bnexp.config.text import Label, Lines
from bnexp.config.trial import FolderName, Name, TrialKey, TrialSettings, Value, must_be_shared, with_changes
from bnexp.config.tuning import Choice, Grid, TuneSettings, Values
from bnexp.errors import InputError, nearest

MOST_TRIALS = 100_000
"""Trials of an experiment: arms × grid points × seeds."""
MOST_CHOICES = 1_000
"""Arms × grid points of an experiment that tunes."""
BuiltIn = Literal["none", "before", "after", "as_written"]
BUILT_IN_ARMS: tuple[str, ...] = get_args(BuiltIn)


class ArmsByName(BaseModel):
    """Arms as they are written: overrides by name; the built-in arms need none."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(TypeAdapter(dict[Name, dict[TrialKey, Value]]).core_schema)
        built_in = {"anyOf": [found["additionalProperties"], {"type": "null"}]}
        return {**found, "minProperties": 1, "properties": dict.fromkeys(BUILT_IN_ARMS, built_in)}


ArmsAsWritten = Annotated[list[BuiltIn], Field(min_length=1), UNIQUE] | ArmsByName | None


class ExperimentConfig(TrialSettings):
    """An experiment: settings that all its trials share, the arms that it compares, what it sweeps, and its seeds.

    Loading what `model_dump` gives returns an equal object.
    """

    name: FolderName
    """Name of the run folder: letters, digits and `_ . + -`. By default that of the file."""
    question: Lines = ""
    """The question that the experiment asks; the title of tables and pictures."""
    arms: dict[Name, dict[TrialKey, Value]] = Field(default=None, validate_default=True)
    """The variants that are compared: a list of none, before and after, such as `[none, before]`; or a mapping from
    names to overrides, such as `{none: {}, wide: {model.width: 200}}`. null = none and the placement in
    `model.norm`."""
    labels: dict[str, Label] = Field(default={})
    """Names of the arms for tables and pictures, such as `{before: with BN}`. Arms without one keep their own."""
    probes: Probes = ()
    """Measurements inside the networks during training, which don't change it: a list of names, or of mappings with a
    `name`. `default` stands for a few cheap ones."""
    grid: Grid = Field(default={})
    """Swept settings, crossed, such as `{train.lr: [0.1, 1], model.depth: [5, 10]}`. A list may also be written as
    `{logspace: [first, last, n]}`, `{linspace: [first, last, n]}` or `{range: [first, last, step]}`."""
    zip: dict[TrialKey, Values] = Field(default={})
    """Swept settings that change together: lists of equal length, such as
    `{train.batch_size: [32, 64], train.lr: [0.1, 0.2]}`, or ranges as in `grid`."""
    seeds: Annotated[Seeds, written_as(SeedsAsWritten | SeedsUntil)] = (0, 1, 2)
    """The number of seeds (6 means 0 to 5), a list of seeds, or `{range: [first, last, step]}`; or `{from: 6, to: 40,
    until: 0.005}`, which adds seeds until every difference to the baseline is decided."""
    more_seeds: Annotated[MoreSeeds | None, WRITTEN_BY_RUNS] = None
    """The plan to add seeds, made from `seeds: {from, to, until}`; null = no seeds are added."""
    tune: TuneSettings = TuneSettings()
    halving: Annotated[Halving | None, WRITTEN_BY_RUNS] = None
    """The plan to stop trials of the tuning early, made from `tune.halve`; null = all train to the end."""
    tuned: Annotated[tuple[Choice, ...], Field(max_length=MOST_CHOICES), WRITTEN_BY_RUNS] = ()
    """The values that each arm chose under `tune`; `bnexp run` writes them."""

    _origin: Origin = PrivateAttr(default=Origin())

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Take the plan to add seeds out of `seeds`."""
        return split_seeds(value)

    def __eq__(self, other: object) -> bool:
        """Two experiments are equal if all settings are, however they were given."""
        return isinstance(other, ExperimentConfig) and dict(self) == dict(other)

    @property
    def origin(self) -> Origin:
        """The overrides of the file or mapping that it was made from."""
        return self._origin

    def made_from(self, origin: Origin) -> Self:
        """Return the same experiment with another origin."""
        copy = self.model_copy()
        copy._origin = origin
        return copy

    @property
    def swept(self) -> tuple[str, ...]:
        """Dotted keys of the grid columns, in the order of the file."""
        return (*self.zip, *self.grid)

    def label(self, arm: str) -> str:
        """Return what tables and pictures call an arm."""
        return self.labels.get(arm, arm)

    def points(self) -> list[Point]:
        """Every grid point, in the order in which trials are numbered."""
        return points(self.grid, self.zip)

    def places(self) -> Iterator[tuple[str, Point, int]]:
        """Yield arm, grid point and seed of every trial, in the order in which trials are numbered."""
        return ((arm, point, seed) for point in self.points() for arm in self.arms for seed in self.seeds)

    @property
    def base(self) -> TrialSettings:
        """The settings outside grid and arms; they need not go together before an arm changes them."""
        return TrialSettings.model_construct(**{name: getattr(self, name) for name in TrialSettings.model_fields})

    @property
    def studies(self) -> int:
        """How many times every arm chose: 1 where nothing is tuned. The seed s belongs to study s modulo this."""
        return self.tune.studies if self.tuned else 1

    def settings(self, arm: str, point: Mapping[str, Any], study: int = 0) -> TrialSettings:
        """Settings of the trials of one arm at one grid point. Arms override grids; what was tuned overrides both.

        What was tuned is what the arm chose in one of the studies.

        Raises:
            InputError: it has not chosen yet.
            pydantic.ValidationError: the values don't go together.
        """
        found = with_changes(self.base, {**point, **self.changes(arm, point, study)})
        if not isinstance(digests := self.data.digest, Mapping):
            return found
        own = digests.get(str(found.data.root)) if "digest" in DATASETS[found.data.name].options else None
        return found.model_copy(update={"data": found.data.model_copy(update={"digest": own})})

    def changes(self, arm: str, point: Mapping[str, Any], study: int = 0) -> dict[str, Any]:
        """Return all that an arm changes at a grid point, by dotted key: its overrides, and what a study chose there.

        Raises:
            InputError: it has not chosen yet. No trial can be made of such an experiment, so none trains untuned.
        """
        if not (self.tune.options or self.tuned):
            return dict(self.arms[arm])
        for each in self.tuned:
            if (each.arm, each.point, each.study) == (arm, point, study):
                return {**self.arms[arm], **each.values}
        raise InputError(
            f"{self.name}: {arm} has not chosen yet (tune); bnexp.run chooses and then "
            "measures, and bnexp.config.experiment.default_config gives the experiment without tuning"
        )

    @field_validator("arms", mode="before", json_schema_input_type=ArmsAsWritten)
    @classmethod
    def _name_arms(cls, value: Any, info: ValidationInfo) -> Any:
        model = info.data.get("model")
        norm = model.norm if isinstance(model, ModelSettings) else NormSettings()
        arms = default_arms(norm) if value is None else value
        if isinstance(arms, list | tuple) and all(isinstance(name, str) for name in arms):
            arms = dict.fromkeys(once(arms))
        if not isinstance(arms, Mapping) or not arms:
            raise ValueError("expected a list of none, before, after, or a mapping from arm names to overrides")
        return {name: _arm(name, overrides, norm) for name, overrides in arms.items()}

    @field_validator("labels")
    @classmethod
    def _labels_are_of_arms(cls, labels: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        arms = list(info.data.get("arms") or labels)
        for arm in labels:
            if arm not in arms:
                raise ValueError(f"no arm is named {arm}; the arms are {', '.join(arms)}{nearest(arm, arms)}")
        for label, count in Counter(labels.get(arm, arm) for arm in arms).items():
            if count > 1:
                raise ValueError(f"{label}: two arms would be called that; give each a label of its own")
        return labels

    @field_validator("zip")
    @classmethod
    def _pairs_agree(cls, paired: dict[str, tuple[Any, ...]], info: ValidationInfo) -> dict[str, tuple[Any, ...]]:
        lengths = {key: len(column) for key, column in paired.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise ValueError(f"zip pairs values up, so its lists need one length: {listed}")
        if both := set(paired) & set(info.data.get("grid", {})):
            raise ValueError(f"{sorted(both)[0]} is in both grid and zip")
        return paired

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        factors = {"arm": len(self.arms), "grid point": count_points(self.grid, self.zip), "seed": len(self.seeds)}
        if (trials := prod(factors.values())) > MOST_TRIALS:
            sizes = " × ".join(f"{count:,} {thing}{'' if count == 1 else 's'}" for thing, count in factors.items())
            raise ValueError(
                f"{sizes} are {trials:,} trials, and an experiment has at most {MOST_TRIALS:,}; "
                "shorten grid, zip or seeds, or split it"
            )
        return self

    @model_validator(mode="after")
    def _what_is_tuned_is_free(self) -> Self:
        section, tunes = "tune.sample" if self.tune.sample else "tune.grid", bool(self.tune.options)
        for key in self.tune.options:
            if key in self.swept:
                raise ValueError(f"{section}.{key}: is swept too; take it out of {section}, or out of grid and zip")
            if fixed := [arm for arm, overrides in self.arms.items() if key in overrides]:
                raise ValueError(f"{section}.{key}: the arm {fixed[0]} has a value of its own; leave it to the tuning")
        cells = len(self.arms) * count_points(self.grid, self.zip) * self.tune.studies
        if tunes and cells > MOST_CHOICES:
            by_study = " × studies" if self.tune.studies > 1 else ""
            raise ValueError(f"tune: {cells:,} arms × grid points{by_study} would choose, at most {MOST_CHOICES:,} can")
        if tunes and self.data.val_size == 0:
            raise ValueError("data.val_size: 0 leaves no validation images to tune on; set null, or take out tune")
        measured = range(self.more_seeds.to) if self.more_seeds else self.seeds
        if tunes and (both := sorted(set(measured) & set(self.tune.all_seeds))):
            raise ValueError(f"tune.seeds: {both[0]} is measured too, and would favour what it chose; take other seeds")
        return self

    @model_validator(mode="after")
    def _shared_settings_are_shared(self) -> Self:
        columns = {"grid": self.grid, "zip": self.zip, "tune.grid": self.tune.grid}
        given = [(place, key, value) for place in columns for key, column in columns[place].items() for value in column]
        given += [(f"arms.{arm}", *item) for arm, overrides in self.arms.items() for item in overrides.items()]
        given += [("tune.sample", key, None) for key in self.tune.sample]
        for place, key, value in given:
            if why := must_be_shared(key, value):
                raise ValueError(f"{place}.{key}: {why}")
        return self

    @model_validator(mode="after")
    def _studies_measure_equally(self) -> Self:
        studies = self.tune.studies
        if not self.tune.options or studies == 1:
            return self
        if self.more_seeds:
            raise ValueError("tune.studies: can't be used where seeds are added (seeds.until); write seeds as a number")
        counts = Counter(seed % studies for seed in self.seeds)
        if len(counts) < studies or len(set(counts.values())) > 1:
            raise ValueError(
                f"seeds: seed s belongs to tuning study s modulo {studies}, and each study needs equally many seeds; "
                f"write seeds: {-(-len(self.seeds) // studies) * studies}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_halved(self) -> Self:
        if not self.tune.halve:
            return self
        keys = (*self.swept, *self.tune.options, *(key for overrides in self.arms.values() for key in overrides))
        if self.train.steps or any(below(length, key) for key in keys for length in ("train.epochs", "train.steps")):
            raise ValueError(
                "tune.halve: compares trials after equal numbers of epochs; write one train.epochs for all"
            )
        plan_halving(self.tune, self.train.total_steps(1))
        return self

    @model_validator(mode="after")
    def _more_seeds_go_on(self) -> Self:
        plan = self.more_seeds
        if plan and (len(self.seeds) not in plan.looks or self.seeds != tuple(range(len(self.seeds)))):
            raise ValueError("more_seeds: goes on from other seeds; write seeds: {from: 6, to: 40, until: 0.005}")
        if plan and len(self.arms) < 2:
            raise ValueError("seeds.until: a single arm has no difference that could be decided; write seeds: 6")
        return self

    @model_validator(mode="after")
    def _every_arm_chose(self) -> Self:
        if self.tuned:
            studies, chosen = range(self.studies), [(each.arm, each.point, each.study) for each in self.tuned]
            cells = [(arm, point, study) for study in studies for point in self.points() for arm in self.arms]
            missing = [cell for cell in cells if cell not in chosen]
            if missing or len(self.tuned) != len(cells):
                expected = "expected one entry for each arm at each grid point and study"
                raise ValueError(f"tuned: {expected}; leave it to bnexp run")
        return self


def default_arms(norm: NormSettings) -> list[str]:
    """Return the arms of an experiment that names none."""
    return ["none"] if norm.kind == "none" else ["none", norm.placement]


def _arm(name: Any, overrides: Any, norm: NormSettings) -> Any:
    """Return an arm's overrides; the built-in names keep their meaning whatever else is overridden."""
    if name not in BUILT_IN_ARMS:
        if overrides is None:
            known = f"{', '.join(BUILT_IN_ARMS)}{nearest_value('arms', name, BUILT_IN_ARMS)}"
            raise ValueError(f"{name}: expected one of {known}, or a mapping with its overrides")
        return overrides
    given = {} if overrides is None else overrides
    if not isinstance(given, Mapping):
        return given  # refused as what it is
    meant = {"model.norm.kind": "none"} if name == "none" else {"model.norm.placement": name}
    if name == "as_written":
        meant["model.norm.kind"] = name
    for key, value in meant.items():
        if given.get(key, value) != value:
            raise ValueError(f"{name} means {key}: {value}; give an arm with {key}: {given[key]} another name")
    if name in ("before", "after") and norm.kind in ("none", "as_written"):
        meant["model.norm.kind"] = "batch"
    return meant | dict(given)


def must_choose(config: ExperimentConfig) -> bool:
    """Tell whether an experiment has to choose before it can be measured."""
    return bool(config.tune.options) and not config.tuned


def first_stage(config: ExperimentConfig) -> tuple[ExperimentConfig, ...]:
    """Return the experiments that are trained first: those that choose settings, if any have to be chosen."""
    return searches(config) if must_choose(config) else (config,)


def searches(config: ExperimentConfig) -> tuple[ExperimentConfig, ...]:
    """Return the experiments that try what is tuned: every arm, at every grid point, with the seeds for choosing.

    Values in a grid need one for all studies, which differ in their seeds; draws differ, so each study has its own.
    """
    tune = config.tune
    common: dict[str, Any] = {"more_seeds": None, "tune": TuneSettings(), "tuned": (), "probes": ()}
    if not tune.sample:
        tried: dict[str, Any] = {"grid": {**config.grid, **tune.grid}, "seeds": tune.all_seeds}
        return (config.model_copy(update={"name": f"{config.name}.tuning", **tried, **common}),)
    found = []
    common["halving"] = plan_halving(tune, config.train.total_steps(1))
    for study in range(tune.studies):
        rows = [row | draw for row in points({}, config.zip) for draw in tune.candidates(study)]
        tried = {"zip": {key: tuple(row[key] for row in rows) for key in rows[0]}, "seeds": tune.seeds_of(study)}
        name = f"{config.name}.tuning{study + 1 if tune.studies > 1 else ''}"
        found.append(config.model_copy(update={"name": name, **tried, **common}))
    return tuple(found)


def final_config(config: ExperimentConfig, choices: Iterable[Choice]) -> ExperimentConfig:
    """Return the experiment that measures every arm with what it chose, at every grid point."""
    chosen = config.model_copy(update={"tuned": tuple(choices)}).model_dump()
    return ExperimentConfig.model_validate(chosen).made_from(config.origin)


def at_look(config: ExperimentConfig, seeds: int) -> ExperimentConfig:
    """Return an experiment that adds seeds as it is at a look, with the seeds of that look."""
    return config.model_copy(update={"seeds": tuple(range(seeds))})


def default_config(config: ExperimentConfig) -> ExperimentConfig:
    """Return the experiment that measures all arms with the settings as they are written."""
    return config.model_copy(update={"tune": TuneSettings(), "tuned": ()})


def cell_settings(config: ExperimentConfig, keys: Sequence[str], study: int = 0) -> list[dict[str, TrialSettings]]:
    """Return every arm's settings for each grid point, in their order, with what it chose in one study.

    Read only the settings and sections in `keys`: cells that can't differ in these share one object, since thousands
    take long to make.

    Raises:
        InputError: an arm has not chosen yet.
    """
    free = (*config.swept, *config.tune.options)
    deciding = [key for key in free if any(below(key, wanted) or below(wanted, key) for wanted in keys)]
    if set(deciding) & set(config.tune.options):
        deciding = list(config.swept)  # what was chosen may differ at every grid point
    known: dict[tuple[str, str], TrialSettings] = {}

    def settings(arm: str, point: Point) -> TrialSettings:
        place = (arm, repr([point[key] for key in deciding]))
        if place not in known:
            known[place] = config.settings(arm, point, study)
        return known[place]

    return [{arm: settings(arm, point) for arm in config.arms} for point in config.points()]


def momentum_questions(config: ExperimentConfig) -> Iterator[str]:
    """Yield a line for each momentum of running statistics that looks as if it were written for Keras."""
    cells = [here for stage in first_stage(config) for here in cell_settings(stage, ["model.norm"])]
    norms = [settings.model.norm for here in cells for settings in here.values()]
    momenta = {norm.momentum for norm in norms if norm.averages and norm.momentum is not None}
    for momentum in sorted(momentum for momentum in momenta if momentum >= KERAS):
        yield momentum_question(momentum)
