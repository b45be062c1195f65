"""The catalogue of claims: what is said, by whom, and the experiment, measure and margin that test it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from bnexp.analysis.study import is_number
from bnexp.claims.checks import CHECKS
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
from bnexp.claims.looks import at_look, misfits
from bnexp.config.base import Count, Fraction, OneOf, Positive, Settings, Size, written_as
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.problems import explain
from bnexp.config.sweep import Point, once
from bnexp.config.text import Line, Lines
from bnexp.config.trial import Name, TrialKey, Value
from bnexp.errors import ConfigError, Problem

FEWEST = 3
"""The fewest seeds at the first of several looks: two pairs say hardly anything of the spread."""
Note = Literal["S0", "S1", "S2", "S3", "S4"]
ValueName = Literal[
    "final_test_accuracy",
    "final_val_accuracy",
    "final_train_accuracy",
    "best_val_accuracy",
    "final_train_loss",
    "steps_to",
    "seconds_to",
    "steps_to_loss",
    "seconds_per_step",
    "roughness",
    "gap",
    "gap_at_loss",
    "probe",
    "diverged",
    "measured",
]


class Published(Settings):
    """A number from the literature that stands beside ours."""

    study: Line
    setting: Line
    found: Line
    same_setting: bool = False
    unverified: bool = False
    """Told from memory of the paper."""


class OverSettings(Settings):
    """How the values along a swept axis become one number for each arm and seed."""

    key: TrialKey
    by: Literal["worst", "best", "spread", "largest", "slope"]
    """worst, best, spread: of the values along the axis; largest: the largest usable setting; slope: of the value
    against the logarithm of the setting (with log: true, of the value's logarithm)."""
    least: Fraction | None = None
    """largest: the least value with which a setting is usable; null = the trial has to be above chance."""
    short_by: Fraction | None = None
    """largest: how far the value of a usable setting may be below the arm's and seed's best one along the axis."""

    @model_validator(mode="after")
    def _usable_is_of_largest(self) -> Self:
        if self.by != "largest" and (self.least, self.short_by) != (None, None):
            raise ValueError(f"least and short_by say which settings are usable; by: {self.by} has no use for them")
        return self


class MeasureSettings(Settings):
    """A quantity compared between two arms: the direction that is claimed, and the least difference that matters."""

    label: Line
    """Its name in words, with the unit."""
    value: ValueName
    """A column of trials.csv, or one of these. steps_to, seconds_to: the time to an accuracy. steps_to_loss.
    seconds_per_step. roughness: the standard deviation of the changes of the accuracy between records, in the second
    half of the training. gap, gap_at_loss: training minus test accuracy, at the end or at a training loss. probe.
    diverged: 1 or 0. measured: the values that a check measured side by side."""
    arm: Name = "before"
    baseline: Name = "none"
    better: Literal["higher", "lower"]
    """Whether the arm has the higher or the lower value, according to the claim."""
    margin: Positive
    """The least mean difference that counts, in the unit of the value; for logarithms, a difference of logarithms."""
    log: bool = False
    """Compare logarithms: differences are ratios then."""
    absolute: bool = False
    """Compare absolute values."""
    diverged: Literal["left_out", "counted"] = "left_out"
    """left_out: accuracies, losses, gaps and roughness leave out pairs in which a trial diverged; add a measure with
    `value: diverged` beside them. counted: such pairs count with their last values, where failing is the point, as in a
    worst case. Times to a threshold are censored either way, and probes count for every trial."""
    at: dict[TrialKey, Value] = Field(default={})
    """Use only these values of swept settings; over other swept settings the mean is taken."""
    each: Annotated[tuple[TrialKey, ...], written_as(TrialKey | list[TrialKey]), AfterValidator(once)] = ()
    """One swept setting, or several: each value, or combination of values, gets a row of its own and is not averaged
    with others. If the first measure has it, the verdict is the one that all its rows share, or else DEPENDS."""
    over: OverSettings | None = None
    change: dict[TrialKey, tuple[Value, Value]] = Field(default={}, max_length=1)
    """Compare how the difference between the arms changes from one value of a swept setting to another."""
    threshold: Fraction = 0.9
    """steps_to, seconds_to: the accuracy."""
    accuracy: Literal["train_accuracy", "val_accuracy", "test_accuracy"] = "test_accuracy"
    """steps_to, seconds_to, roughness: of which images."""
    loss: Positive = 0.1
    """gap_at_loss, steps_to_loss: the training loss."""
    probe: Line | None = None
    """The name in probes.csv."""
    minus: Line | None = None
    """probe: another probe, which is subtracted trial by trial."""
    layer: Line | None = None
    """probe: the layer; null = the mean over all."""
    steps: tuple[Size, Size] | None = None
    """probe: the first and the last step that count; null = all. Over several records the mean is taken."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Take one setting under `each` as a list of one."""
        one = isinstance(value, Mapping) and isinstance(value.get("each"), str)
        return {**value, "each": [value["each"]]} if one else value

    @model_validator(mode="after")
    def _probe_is_named(self) -> Self:
        if (self.value == "probe") != (self.probe is not None):
            raise ValueError("value: probe and the name of the probe belong together")
        if self.arm == self.baseline:
            raise ValueError(f"arm and baseline are both {self.arm}")
        if self.steps and self.steps[0] > self.steps[1]:
            raise ValueError(f"steps: {self.steps[0]} comes after {self.steps[1]}")
        return self

    @model_validator(mode="after")
    def _each_is_free(self) -> Self:
        taken = {"at": self.at, "change": self.change, "over": [self.over.key] if self.over else []}
        for place, keys in taken.items():
            if both := [key for key in self.each if key in keys]:
                raise ValueError(f"each: {both[0]} stands in {place}, too; take it out of one of them")
        return self

    def rows(self, experiment: ExperimentConfig) -> list[Point]:
        """Return the values of `each` that get rows of their own; without `each` a single empty one.

        Numbers ascend, and other values are in the order in which the experiment has them.
        """
        found: list[Point] = []
        for point in experiment.points():
            here = {key: point[key] for key in self.each}
            if self.at.items() <= point.items() and here not in found:
                found.append(here)
        written = list(dict.fromkeys(str(value) for here in found for value in here.values()))
        return sorted(found, key=lambda here: [v if is_number(v) else written.index(str(v)) for v in here.values()])

    def at_row(self, point: Point) -> Self:
        """Return the measure of one of the rows."""
        return self.model_copy(update={"at": {**self.at, **point}, "each": ()})

    @property
    def of_logarithms(self) -> bool:
        """True if differences are logarithms of ratios, as those of times to a threshold always are."""
        times, largest = (
            ("steps_to", "seconds_to", "steps_to_loss"),
            self.over is not None and self.over.by == "largest",
        )
        return self.log or self.value in times or largest

    @property
    def is_slope(self) -> bool:
        """True if values are slopes, which are never compared as ratios."""
        return self.over is not None and self.over.by == "slope"

    @property
    def as_ratio(self) -> bool:
        """True if a change is read as a ratio: it is a logarithm, and not a slope of one."""
        return self.of_logarithms and not self.is_slope


class ClaimSettings(EntrySettings):
    """A file in configs/claims/. A claim has a check, which holds or fails, or an experiment, whose data decide."""

    claim: Lines
    """The claim in the words of the notes."""
    tested: Lines = ""
    """The statement that is tested, where the notes are wrong as worded or say too little."""
    as_worded: bool = True
    """false: the notes' wording is wrong, and what is tested is its correction."""
    notes: Annotated[tuple[Note, ...], Field(min_length=1), AfterValidator(once)]
    """The study notes that make the claim."""
    literature: Annotated[tuple[Line, ...], Field(min_length=1), AfterValidator(once)]
    published: tuple[Published, ...] = ()
    check: Annotated[str, OneOf(CHECKS)] | None = None
    """A measurement in code, by its name in bnexp/claims/checks/__init__.py."""
    measures: Annotated[tuple[MeasureSettings, ...], written_as(list[MeasureSettings] | MeasureSettings)] = ()
    """The first decides, the others stand beside it. Without any, a claim is only described."""
    primary: Literal["equal", "tuned"] | None = None
    """Which regime decides; null = tuned where the experiment has tune, else equal."""
    looks: tuple[Count, ...] = ()
    """Numbers of seeds, such as [6, 12, 24]. The claim runs with the first number, and with the next as long as its
    verdict is INCONCLUSIVE. Its intervals are valid over all looks. If tuning is repeated, these are also the numbers
    of tuning studies. Without looks the seeds are fixed beforehand."""
    expect: Lines = ""
    """Where BN is expected to lose, or which surprise to expect; shown beside the result."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        one = isinstance(value, Mapping) and isinstance(value.get("measures"), Mapping)
        return {**value, "measures": [value["measures"]]} if one else value

    @model_validator(mode="after")
    def _has_evidence(self) -> Self:
        if (self.check is None) == (self.experiment is None):
            raise ValueError("expected either a check or an experiment")
        if any((measure.value == "measured") != (self.experiment is None) for measure in self.measures):
            raise ValueError("measures: value: measured is what a check measures, and all other values an experiment")
        if self.experiment is None and any(measure.each for measure in self.measures):
            raise ValueError("measures: each is of what an experiment sweeps, and there is none")
        if self.experiment is None and self.tiers:
            raise ValueError("tiers change an experiment, and there is none")
        if self.looks and (list(self.looks) != sorted({*self.looks}) or len(self.looks) < 2 or self.looks[0] < FEWEST):
            raise ValueError(f"looks: expected two or more growing numbers of seeds, from {FEWEST} on, as [6, 12, 24]")
        if self.looks and (self.experiment is None or not self.measures):
            raise ValueError("looks: only a claim that the data of an experiment decide can look again")
        if not self.as_worded and not self.tested:
            raise ValueError("as_worded: false needs tested, the corrected wording")
        return self

    @property
    def kind(self) -> Literal["exact", "empirical", "descriptive"]:
        """exact: a check that holds or fails; empirical: data decide; descriptive: no verdict."""
        if self.measures:
            return "empirical"
        return "exact" if self.check else "descriptive"


@dataclass(frozen=True)
class Claim(Entry[ClaimSettings]):
    """A claim that has been checked."""

    catalogue = "claims"

    @property
    def check(self) -> str | None:
        return self.settings.check

    def stages(self, tier: Tier) -> list[ExperimentConfig]:
        """Return the experiment of a tier at each look; if seeds are fixed beforehand, there is one look."""
        first = super().stages(tier)
        return [at_look(each, seeds) for each in first for seeds in self.settings.looks] or first


def find_claims(written: Sequence[str] = ()) -> list[Claim]:
    """Return the claims with these names or files, by default all that come with bnexp; exact ones first.

    Raises:
        InputError, ConfigError: as find_entries.
    """
    return sorted(find_entries(Claim, written, load_claim), key=lambda claim: claim.settings.kind != "exact")


def load_claim(path: Path) -> Claim:
    """Read and check a claim.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: lists every problem.
    """
    settings, source = load_settings(path, ClaimSettings), str(path)
    experiments = load_experiments(path, settings, settings.claim)
    problems = [
        Problem(source, *problem)
        for experiment in experiments.values()
        for number, measure in enumerate(settings.measures)
        for problem in _misfits(measure, experiment, f"measures.{number}")
    ]
    if settings.looks and not problems:
        problems += [Problem(source, *each) for one in experiments.values() for each in _unfit(one, settings.looks)]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Claim(path.stem, source, settings, experiments)


def _unfit(experiment: ExperimentConfig, looks: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield why an experiment can't be looked at again with more seeds: the place, and the problem."""
    if found := list(misfits(experiment, looks)):
        yield from found
        return
    try:
        at_look(experiment, looks[-1])
    except ValidationError as error:
        for place, text in explain(error, ExperimentConfig):
            yield "looks", f"{looks[-1]} seeds don't fit the experiment: {': '.join(filter(None, (place, text)))}"


def _misfits(measure: MeasureSettings, experiment: ExperimentConfig, place: str) -> Iterator[tuple[str, str]]:
    """Yield each part of a measure that the experiment doesn't have: its place, and the problem."""
    yield from unknown_arms({f"{place}.arm": measure.arm, f"{place}.baseline": measure.baseline}, experiment)
    looked_at = {f"{place}.at.{key}": (key, [value]) for key, value in measure.at.items()}
    looked_at |= {f"{place}.change.{key}": (key, list(ends)) for key, ends in measure.change.items()}
    looked_at |= {f"{place}.each": (key, []) for key in measure.each}
    if measure.over:
        looked_at[f"{place}.over.key"] = measure.over.key, []
        least = 0 if measure.over.by == "slope" else float("-inf")
        values = [point[measure.over.key] for point in experiment.points() if measure.over.key in point]
        none = [value for value in values if not (is_number(value) and value > least)]
        if none and measure.over.by in ("slope", "largest"):
            kind = "numbers above 0" if measure.over.by == "slope" else "numbers"
            yield f"{place}.over.key", f"{measure.over.key}: {measure.over.by} is along {kind}, and {none[0]} is none"
    yield from not_swept(looked_at, experiment)
    taken = [probe.name for probe in experiment.probes]
    if measure.probe and measure.probe.partition(".")[0] not in taken:
        listed = ", ".join(taken) or "none"
        yield f"{place}.probe", f"{measure.probe}: the experiment takes no such probe; it takes {listed}"
