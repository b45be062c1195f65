"""Entries of a catalogue, such as the claims: YAML files, each with an experiment in a small and a full tier."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema, model_validator

from bnexp.config.base import Settings, written_as
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import Overrides, override, resolve, shipped
from bnexp.config.problems import explain
from bnexp.config.sweep import once
from bnexp.config.text import Lines, printable
from bnexp.config.trial import CHANGES
from bnexp.config.yaml import read_mapping
from bnexp.errors import ConfigError, InputError, Problem, nearest, refuse_twice

Tier = Literal["small", "full"]

SEEDS = range(300, 306)
"""Seeds of experiments that name none: six that nobody looked at while the entries were written."""


class EntrySettings(Settings):
    """Settings that the files of all catalogues have."""

    experiment: Annotated[dict[str, Any], written_as(ExperimentConfig)] | None = None
    """A configuration as in configs/, without a name."""
    tiers: dict[Tier, Annotated[dict[str, Any], WithJsonSchema(CHANGES)]] = Field(default={})
    """The changes that each tier makes to the experiment, as on the command line: dotted.key: value."""
    discuss: Annotated[tuple[Lines, ...], Field(max_length=2), AfterValidator(once)] = ()
    """Questions for a class, one or two; pages show them (`--html`)."""

    @model_validator(mode="after")
    def _has_both_tiers(self) -> Self:
        if self.experiment is not None and set(self.tiers) != {"small", "full"}:
            raise ValueError("tiers: expected small and full, each with what it changes ({} for nothing)")
        return self


S = TypeVar("S", bound=EntrySettings)


@dataclass(frozen=True)
class Entry(Generic[S]):
    """An entry whose file has been checked."""

    catalogue: ClassVar[str]
    """Name of the folder of such files below configs/, of that of their runs, and of the command that runs them."""

    id: str
    """Name of its file."""
    source: str
    """Its file, for messages."""
    settings: S
    experiments: Mapping[Tier, ExperimentConfig]
    """By tier, named after the entry; empty where there is no experiment."""

    @property
    def check(self) -> str | None:
        """The name of a measurement in code that takes the place of an experiment."""
        return None

    def stages(self, tier: Tier) -> list[ExperimentConfig]:
        """Return the experiments of a tier in the order in which they run; each has all trials of the one before."""
        return [self.experiments[tier]] if self.experiments else []

    @property
    def command_line_name(self) -> str:
        """Its name on the command line; for a file of the reader's own the path."""
        return self.id if str(shipped(self.catalogue).get(self.id)) == self.source else self.source


E = TypeVar("E", bound=Entry[Any])


def find_entries(kind: type[E], written: Sequence[str], load: Callable[[Path], E]) -> list[E]:
    """Return the entries with these names or files, by default all that come with bnexp.

    Args:
        kind: class of the entries.
        written: names of shipped entries, or paths.
        load: reads and checks a file.

    Raises:
        InputError: no such entry, and the message lists what there is; or a file can't be read.
        ConfigError: a file is wrong, or two have the same name; lists every problem of all files.
    """
    known = shipped(kind.catalogue)
    if unknown := [name for name in written if name not in known and not Path(name).is_file()]:
        thing, close = kind.catalogue.removesuffix("s"), nearest(unknown[0], list(known))
        raise InputError(f"{unknown[0]}: no such {thing}{close}; there are {', '.join(known)}")
    entries: list[E] = []
    problems: list[Problem] = []
    paths = [known.get(name, Path(name)) for name in written or known]
    refuse_twice((name, path.resolve()) for name, path in zip(written, paths, strict=False))
    for path in paths:
        try:
            entries.append(load(path))
        except ConfigError as error:
            problems += error.problems
    first: dict[str, str] = {}
    for entry in entries:
        if first.setdefault(entry.id, entry.source) != entry.source:
            message = f"{first[entry.id]} is called {entry.id}, too; rename one of the files"
            problems.append(Problem(entry.source, "", message))
    if problems:
        raise ConfigError(problems)
    return entries


def load_settings(path: Path, schema: type[S]) -> S:
    """Read the file of an entry, and check it without its experiment.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: lists every problem.
    """
    raw = read_mapping(path)
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        found = explain(error, schema)
        raise ConfigError([Problem(str(path), *map(printable, each)) for each in found]) from None


def load_experiments(
    path: Path, settings: EntrySettings, question: str, overrides: Overrides = ()
) -> dict[Tier, ExperimentConfig]:
    """Return the experiment of each tier, named after the file.

    Raises:
        ConfigError: lists every problem of all tiers.
    """
    experiments: dict[Tier, ExperimentConfig] = {}
    problems: list[Problem] = []
    for tier in settings.tiers:
        try:
            experiments[tier] = _experiment(path, settings, tier, question, overrides)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return experiments


def _experiment(
    path: Path, settings: EntrySettings, tier: Tier, question: str, overrides: Overrides
) -> ExperimentConfig:
    raw: dict[str, Any] = {"name": path.stem, "question": question, "seeds": list(SEEDS)} | (settings.experiment or {})
    source, wrong = str(path), list[Problem]()
    for key, value in settings.tiers[tier].items():
        try:
            override(raw, key, value)
        except ValueError as error:
            wrong.append(Problem(source, f"tiers.{tier}.{printable(key)}", printable(str(error))))
    if wrong:
        raise ConfigError(wrong)
    try:
        return resolve(raw, source, overrides)
    except ConfigError as error:
        raise ConfigError([_placed(problem, source) for problem in error.problems]) from None


def _placed(problem: Problem, source: str) -> Problem:
    """Return a problem of an experiment with its place in the file; one from the command line keeps its place."""
    key = f"experiment.{problem.key}".rstrip(".") if problem.source == source else problem.key
    return Problem(problem.source, key, problem.message)


def unknown_arms(named: Mapping[str, str], experiment: ExperimentConfig) -> Iterator[tuple[str, str]]:
    """Yield the place and the problem of each arm that the experiment doesn't have.

    Args:
        named: arms, by the place that names them.
        experiment: the one that should have them.
    """
    arms = list(experiment.arms)
    for place, name in named.items():
        if name not in arms:
            yield place, f"{name}: no such arm{nearest(name, arms)}; arms: {', '.join(arms)}"


def not_swept(
    looked_at: Mapping[str, tuple[str, Sequence[Any]]], experiment: ExperimentConfig
) -> Iterator[tuple[str, str]]:
    """Yield the place and the problem of each setting that the experiment doesn't sweep, or not over such a value.

    Args:
        looked_at: a dotted key and its values, by the place that names them.
        experiment: the one that should sweep them.
    """
    for place, (key, wanted) in looked_at.items():
        tried = [point[key] for point in experiment.points() if key in point]
        if not tried:
            yield place, f"{key}: not swept in the experiment{nearest(key, list(experiment.swept))}"
        elif absent := [value for value in wanted if value not in tried]:
            yield place, f"{absent[0]}: not among the values that are swept"
