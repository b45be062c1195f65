"""A claim about batch normalization: what is said, by whom, and the experiment, measure and margin that test it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bnexp.config.base import Fraction, Positive, Settings, Size
from bnexp.config.sweep import once
from bnexp.config.text import Line, Lines
from bnexp.config.trial import Name, TrialKey, Value

Note = Literal["S0", "S1", "S2", "S3", "S4"]
Tier = Literal["small", "full"]
ValueName = Literal[
    "final_test_accuracy",
    "final_val_accuracy",
    "final_train_accuracy",
    "best_val_accuracy",
    "final_train_loss",
    "steps_to",
    "seconds_to",
    "seconds_per_step",
    "roughness",
    "gap",
    "gap_at_loss",
    "probe",
    "diverged",
    "measured",
]
CheckName = Literal[
    "four_parameters",
    "bias_cancelled",
    "gradient_correct",
    "restores_identity",
    "linear_regime",
    "per_feature",
    "eval_is_deterministic",
    "two_inference_methods",
    "folds_away",
    "momentum_convention",
    "clipping_numbers",
    "input_scaling",
    "gradient_tracking",
    "step_times",
    "batch_memory",
]


class Published(Settings):
    """A number from the literature that stands beside ours."""

    study: Line
    setting: Line
    found: Line
    same_setting: bool = False
    """Whether it was measured as here."""
    unverified: bool = False
    """Whether it is told from memory of the paper."""


class OverSettings(Settings):
    """How one swept axis becomes one number of each arm and seed."""

    key: TrialKey
    by: Literal["worst", "best", "spread", "largest", "slope"]
    """worst, best, spread: of the values along the axis; largest: the largest setting at which the trial completed
    above chance; slope: of the value against the setting's logarithm (give log: true for that of the value's)."""


class MeasureSettings(Settings):
    """What is compared between two arms, which way the claim says it goes, and from where on that matters."""

    label: Line
    """What it is, in words, with its unit."""
    value: ValueName
    """A column of trials.csv; steps_to and seconds_to a threshold; seconds_per_step; roughness, the standard deviation
    of the changes of the accuracy from record to record in the second half; gap, training less test accuracy, at the
    end or at a training loss; a probe; diverged, 1 or 0; or measured, what a check has measured side by side."""
    arm: Name = "before"
    baseline: Name = "none"
    better: Literal["higher", "lower"]
    """Which way the claim says that the arm lies of the baseline."""
    margin: Positive
    """The least mean difference that counts, in the unit of the value; of logarithms, in theirs."""
    log: bool = False
    """Compare logarithms: differences are ratios then."""
    absolute: bool = False
    """Compare absolute values."""
    at: dict[TrialKey, Value] = Field(default={})
    """Look at these values of swept settings only; over all others the mean is taken."""
    over: OverSettings | None = None
    change: dict[TrialKey, tuple[Value, Value]] = Field(default={}, max_length=1)
    """Of the difference between the arms how it changes from one value of a swept setting to another."""
    threshold: Fraction = 0.9
    """steps_to, seconds_to: the accuracy."""
    accuracy: Literal["train_accuracy", "val_accuracy", "test_accuracy"] = "test_accuracy"
    """steps_to, seconds_to, roughness: of which images."""
    loss: Positive = 0.1
    """gap_at_loss: the training loss."""
    probe: Line | None = None
    """The name in probes.csv."""
    layer: Line | None = None
    """Of a probe: the layer; null = the mean over all."""
    steps: tuple[Size, Size] | None = None
    """Of a probe: the first and the last step that count; null = all. Several moments are averaged."""

    @model_validator(mode="after")
    def _probe_is_named(self) -> Self:
        if (self.value == "probe") != (self.probe is not None):
            raise ValueError("value: probe and the name of the probe belong together")
        if self.arm == self.baseline:
            raise ValueError(f"arm and baseline are both {self.arm}")
        if self.steps and self.steps[0] > self.steps[1]:
            raise ValueError(f"steps: {self.steps[0]} comes after {self.steps[1]}")
        return self

    @property
    def of_logarithms(self) -> bool:
        """Whether differences are logarithms of ratios: a time to a threshold is always compared so."""
        times, largest = ("steps_to", "seconds_to"), self.over is not None and self.over.by == "largest"
        return self.log or self.value in times or largest


class ClaimSettings(Settings):
    """A file in configs/claims/. A claim has a check, which holds or fails, or an experiment, whose data decide."""

    claim: Lines
    """As the notes put it."""
    tested: Lines = ""
    """What is tested where that is wrong as worded, or says too little."""
    as_worded: bool = True
    """false: the notes' wording is wrong, and what is tested is its correction."""
    notes: Annotated[tuple[Note, ...], Field(min_length=1), AfterValidator(once)]
    """Which study notes say it."""
    literature: Annotated[tuple[Line, ...], Field(min_length=1), AfterValidator(once)]
    published: tuple[Published, ...] = ()
    check: CheckName | None = None
    """A measurement in code, by its name in bnexp/checks/registry.py."""
    experiment: dict[str, Any] | None = None
    """A configuration as in configs/, without a name."""
    tiers: dict[Tier, dict[str, Any]] = Field(default={})
    """By tier what it changes of the experiment, as on the command line: dotted.key: value."""
    measures: tuple[MeasureSettings, ...] = ()
    """What is compared; the first decides, the others stand beside it. Without any, a claim is described only."""
    primary: Literal["equal", "tuned"] | None = None
    """Which regime decides; null = tuned where the experiment has tune, else equal."""
    expect: Lines = ""
    """Where BN is expected to lose, or the claim to be surprising; said beside what was found."""

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
        if self.experiment is None and self.tiers:
            raise ValueError("tiers change an experiment, and there is none")
        if self.experiment is not None and set(self.tiers) != {"small", "full"}:
            raise ValueError("tiers: expected small and full, each with what it changes ({} for nothing)")
        if not self.as_worded and not self.tested:
            raise ValueError("as_worded: false needs tested, the corrected wording")
        return self

    @property
    def kind(self) -> Literal["exact", "empirical", "descriptive"]:
        """exact: a check that holds or fails; empirical: data decide; descriptive: no verdict."""
        if self.measures:
            return "empirical"
        return "exact" if self.check else "descriptive"
