"""The catalogue of papers and lessons: the numbers that they published, and the experiment that repeats them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp.claims.entries import (
    Entry,
    EntrySettings,
    Tier,
    find_entries,
    load_experiments,
    load_settings,
    not_swept,
    unknown_arms,
)
from bnexp.config.base import Count, Number, Settings
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import shipped
from bnexp.config.sweep import once
from bnexp.config.text import Line, Lines
from bnexp.config.trial import Name, TrialKey, Value
from bnexp.errors import ConfigError, InputError, Problem, nearest

Metric = Literal["train_accuracy", "val_accuracy", "test_accuracy", "best_val_accuracy"]
Accuracy = Annotated[Number, Field(ge=0, le=1)]


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("expected at least one")
    return values


Accuracies = Annotated[
    tuple[Accuracy, ...],
    BeforeValidator(
        lambda value: value if isinstance(value, list | tuple) else [value],
        json_schema_input_type=Accuracy | list[Accuracy],
    ),
    AfterValidator(_some),
]
"""One number, or a list with one for each published run."""


class PublishedSettings(Settings):
    """The numbers published for one setting: accuracies, or only which arms are ahead of others."""

    metric: Metric
    """The images of the accuracy; best_val_accuracy is the highest during training."""
    values: dict[Name, Accuracies] = Field(default={})
    """By arm: a fraction, or a list if several runs were published. The others are compared with the first arm."""
    ahead: Annotated[tuple[Name, ...], AfterValidator(once)] = ()
    """In place of numbers: arms, each ahead of the next one according to the source."""
    where: dict[TrialKey, Value] = Field(default={})
    """The grid point: a value for each swept setting."""
    step: Count | None = None
    """The step after which it was measured; null = the last one."""
    source: Line = ""
    """Source of the numbers, if they are not from the source of the paper."""
    unverified: bool = False
    """From memory: marked with †, and not compared."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.metric == "best_val_accuracy" and self.step is not None:
            raise ValueError("step: best_val_accuracy is the highest of all steps; leave it out")
        if bool(self.values) == bool(self.ahead) or len(self.ahead) == 1:
            raise ValueError("expected either values, for one arm or more, or ahead, a list of two arms or more")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that have a published value."""
        return self.ahead or tuple(self.values)


class PaperSettings(EntrySettings):
    """A file in configs/papers/: an experiment, and the numbers that a paper or a lesson published for it."""

    title: Line
    source: Lines
    """Where it was published, and where the numbers were read."""
    found: Lines
    """Its result in a sentence or two."""
    same: Lines
    """The settings that our experiment shares with it."""
    differs: Annotated[tuple[Lines, ...], AfterValidator(once)] = ()
    """The differences that all tiers have, one by one."""
    same_setting: Annotated[tuple[Tier, ...], AfterValidator(once)] = ()
    """The tiers that train in the published setting. In other tiers only signs and orders are compared."""
    published: Annotated[tuple[PublishedSettings, ...], AfterValidator(_some)]
    remarks: Lines = ""
    """The reason why something doesn't agree, or the open question."""

    @model_validator(mode="after")
    def _has_an_experiment(self) -> Self:
        if self.experiment is None:
            raise ValueError("experiment: expected the configuration that repeats the published one")
        return self


@dataclass(frozen=True)
class Paper(Entry[PaperSettings]):
    """A paper or lesson whose file has been checked."""

    catalogue = "papers"


def find_papers(words: Sequence[str] = ()) -> list[Paper]:
    """Return the papers with these names or files, by default all that come with bnexp.

    Args:
        words: names, files, and changes of a paper's experiment as `NAME.key=value`.

    Raises:
        InputError, ConfigError: as find_entries; or a change names a paper that is not among them.
    """
    changes = [word for word in words if "=" in word and not Path(word).is_file()]
    written = [word for word in words if word not in changes]
    wanted = [Path(word).stem for word in written] or list(shipped(Paper.catalogue))
    for change in changes:
        name = change.partition("=")[0].partition(".")[0]
        if name not in wanted:
            raise InputError(
                f"command line: {change}: expected PAPER.key=value, and {name} is none of the papers that are meant"
                f"{nearest(name, wanted)}: {', '.join(wanted)}"
            )
    return find_entries(Paper, written, lambda path: load_paper(path, _changes_of(path.stem, changes)))


def _changes_of(name: str, changes: Sequence[str]) -> list[str]:
    return [change.removeprefix(f"{name}.") for change in changes if change.startswith(f"{name}.")]


def load_paper(path: Path, overrides: Sequence[str] = ()) -> Paper:
    """Read and check a paper; overrides are `key=value` for its experiment in every tier.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: lists every problem.
    """
    settings, source = load_settings(path, PaperSettings), str(path)
    experiments = load_experiments(path, settings, settings.title, overrides)
    if any(experiment.tune.options for experiment in experiments.values()):
        message = "a paper's settings are those of its source; leave it out"
        raise ConfigError([Problem(source, "experiment.tune", message)])
    problems = [
        Problem(source, f"published.{number}.{place}", message)
        for experiment in experiments.values()
        for number, published in enumerate(settings.published)
        for place, message in _misfits(published, experiment)
    ]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Paper(path.stem, source, settings, experiments)


def _misfits(published: PublishedSettings, experiment: ExperimentConfig) -> Iterator[tuple[str, str]]:
    """Yield each arm or setting of published numbers that the experiment doesn't have: its place, and the problem."""
    yield from unknown_arms(_named(published), experiment)
    wrong = list(not_swept({f"where.{key}": (key, [value]) for key, value in published.where.items()}, experiment))
    yield from wrong
    if open_keys := [key for key in experiment.swept if key not in published.where]:
        yield "where", f"leaves {', '.join(open_keys)} open; give a value of each swept setting"
    elif not wrong and published.step and not _is_recorded(published.step, published, experiment):
        yield "step", f"{published.step} is not recorded; add it to train.record_at"


def _named(published: PublishedSettings) -> dict[str, str]:
    """Return the arms by the places that name them."""
    return {f"values.{arm}" if published.values else f"ahead.{n}": arm for n, arm in enumerate(published.arms)}


def _is_recorded(step: int, published: PublishedSettings, experiment: ExperimentConfig) -> bool:
    """Tell whether a step is recorded, or lies beyond the training; only the data tell where an epoch ends."""
    arms = [arm for arm in published.arms if arm in experiment.arms]
    trainings = [experiment.settings(arm, published.where).train for arm in arms]
    return all(
        train.steps is None or train.record_at == "epoch" or step >= train.steps or step in train.record_at
        for train in trainings
    )
