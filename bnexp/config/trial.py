"""All that decides one trial besides its seed: its settings, which of them arms may change, and which have an effect.

A setting without effect (norm.groups under batch norm, betas under sgd) is left out of the effective settings, and one
that stands for a number (null, auto) is that number. Trials with the same effective settings give the same numbers, bit
for bit where each trains alone. A setting that no rule is about always matters.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from bnexp.config.base import Settings
from bnexp.config.data import DATASETS, WHITENINGS, DataSettings
from bnexp.config.keys import below, check_key, leaves, put
from bnexp.config.model import ModelSettings
from bnexp.config.norm import NORMS
from bnexp.config.source import without_folder
from bnexp.config.train import DEFAULT_EPOCHS, OPTIMIZERS, SCHEDULE_OPTIONS, ScheduleOptions, TrainSettings


class TrialSettings(Settings):
    """All that decides a trial besides its seed."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()

    @property
    def norm_batch(self) -> int:
        """The number of images that a norm over the batch takes its statistics over in training."""
        return (self.model.norm.sliced and self.model.norm.over) or self.train.micro_batch

    @property
    def network(self) -> ModelSettings:
        """The network as it is built. It normalises a whole batch, which probes pass, in parts, as training does."""
        if self.train.accumulate == 1 or not self.model.norm.spec.batch_statistics:
            return self.model
        return self.model.model_copy(update={"norm": self.model.norm.model_copy(update={"over": self.norm_batch})})

    def with_seed(self, seed: int) -> Self:
        """Return the settings of the trial with a seed. If each seed has a split of its own, they name that split."""
        if self.data.split == "fixed":
            return self
        data = self.data.model_copy(update={"split": "fixed", "split_seed": seed})
        return self.model_copy(update={"data": data})

    @model_validator(mode="after")
    def _one_seed_draws(self) -> Self:
        if self.data.split == "per_seed" and self.data.split_seed:
            seed = self.data.split_seed
            raise ValueError(f"data.split_seed: {seed}: data.split: per_seed draws by each trial's seed; leave one out")
        return self

    @model_validator(mode="after")
    def _slices_fill_the_batch(self) -> Self:
        if self.train.micro_batch % self.norm_batch:
            parts = f" / accumulate {self.train.accumulate}" if self.train.accumulate > 1 else ""
            batch = f"train.batch_size {self.train.batch_size}{parts}"
            raise ValueError(f"model.norm.over: {self.norm_batch} does not divide {batch}")
        return self

    @model_validator(mode="after")
    def _only_pictures_are_augmented(self) -> Self:
        if self.data.normalize == "pca_whiten" and self.train.augment != "none":
            raise ValueError(
                f"train.augment: {self.train.augment} moves pixels, and data.normalize: pca_whiten leaves none; "
                "use zca_whiten, or augment: none"
            )
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        norm = self.model.norm
        lacking = next((name for name in ("kind", "affine") if getattr(norm, name) == "none"), None)
        if self.train.only == "norm" and lacking:
            raise ValueError(
                f"train.only: norm trains γ and β alone, and with model.norm.{lacking}: none there are none; leave "
                "such an arm out, or set train.only: all"
            )
        return self


def with_changes(base: TrialSettings, changes: Mapping[str, Any]) -> TrialSettings:
    """Return the settings with other values, by dotted key.

    Raises:
        pydantic.ValidationError: the values don't go together.
        ValueError: something that is no section stands in the way.
    """
    raw = base.model_dump()
    for key, value in changes.items():
        put(raw, key, value, TrialSettings)
    return TrialSettings.model_validate(raw)


SHARED = {
    "data.split": "pairs need the same images; set it under data, outside arms and sweeps",
    "train.patience": "patience measures all trials alike; set it under train, outside arms",
}
"""Settings that all trials of an experiment share, and why."""


def must_be_shared(key: str, value: Any) -> str:
    """Say why no arm or sweep may give a setting or section this value; return an empty text if it may."""
    for shared, why in SHARED.items():
        section, _, name = shared.partition(".")
        # A section with nothing in it stands for the defaults.
        if key == shared or (key == section and (not value or (isinstance(value, Mapping) and name in value))):
            return why
    return ""


def _trial_key(key: str) -> str:
    check_key(TrialSettings, key)
    return key


def _plain(value: Any) -> Any:
    # As JSON would have it, so that a value reads the same from every file.
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


DEVICE = r"^([Cc][Oo][Nn]|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]|([Cc][Oo][Mm]|[Ll][Pp][Tt])[0-9])\."
"""Begins names that Windows takes for a device; written so that JSON schemas can use it."""


def _no_device(name: str) -> str:
    if re.match(DEVICE, name):
        first = name.partition(".")[0]
        raise ValueError(
            f"expected a name that Windows allows for a folder; what begins with {first}. is a device there"
        )
    return name


SETTING = {"type": "string", "format": "key of a setting"}
VALUE = {"format": "value of the setting"}
CHANGES = {"type": "object", "format": "changes of an experiment"}
"""Stand in JSON schemas for what `schema.py` knows of each setting."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=100)]
"""Name of an arm."""
FolderName = Annotated[Name, AfterValidator(_no_device), Field(json_schema_extra={"not": {"pattern": DEVICE}})]
"""Name of an experiment, with which the names of its run folders begin."""
TrialKey = Annotated[str, AfterValidator(_trial_key), WithJsonSchema(SETTING)]
"""Dotted key of a setting, or of a section of them."""
Value = Annotated[Any, BeforeValidator(_plain), WithJsonSchema(VALUE)]
"""Value of a setting that a key names."""


RECORDS = "records"
"""A rule that relies on it holds for the training only: the records of the trial may differ."""
EARLY_STOP = "early stop"
"""A rule that relies on it holds for the training and its records: what early stopping makes of these may differ."""


@dataclass(frozen=True)
class Rule:
    """When some settings have no effect."""

    about: tuple[str, ...]
    """Dotted keys of these settings."""
    relies_on: tuple[str, ...]
    """Dotted keys of the settings that decide it."""
    matters: Callable[[TrialSettings], bool]
    """Tells whether they have an effect on a trial."""


def _normalised(settings: TrialSettings) -> bool:
    return settings.model.norm.kind != "none"


def _placed(settings: TrialSettings) -> bool:
    """True if there are norm layers, or units are dropped where norm layers would be."""
    model = settings.model
    return _normalised(settings) or (model.dropout > 0 and model.dropout_at in ("before_norm", "after_norm"))


def _data_reads(option: str) -> Rule:
    return Rule((f"data.{option}",), ("data.name",), lambda trial: option in DATASETS[trial.data.name].options)


def _splits(settings: TrialSettings) -> bool:
    """Tell whether the seed of the split decides anything."""
    data, spec = settings.data, DATASETS[settings.data.name]
    own_test = spec.test > 0 and not spec.pooled
    return data.split == "fixed" and not (own_test and data.val_size == 0)


def _norm_reads(option: str) -> Rule:
    return Rule((f"model.norm.{option}",), ("model.norm.kind",), lambda trial: option in trial.model.norm.spec.options)


def _optimizer_reads(option: str) -> Rule:
    return Rule((f"train.{option}",), ("train.optimizer",), lambda trial: option in trial.train.optimizer_spec.options)


def _schedule_reads(option: str) -> Rule:
    key = f"train.schedule_options.{option}"
    return Rule((key,), ("train.schedule",), lambda trial: option in SCHEDULE_OPTIONS[trial.train.schedule])


_SHAPE = ("model.family", "model.depth", "model.width")

NO_EFFECT = (
    Rule(("train.checkpoint_every",), (), lambda trial: False),
    # Only a record can stop a trial.
    Rule(("train.record_at",), ("train.stop_diverged", RECORDS), lambda trial: trial.train.stop_diverged),
    Rule(("train.patience",), (EARLY_STOP,), lambda trial: False),
    # Where the digest is known, the files are the same wherever they lie.
    Rule(
        ("data.root",),
        ("data.name", "data.digest"),
        lambda trial: "root" in DATASETS[trial.data.name].options and not isinstance(trial.data.digest, str),
    ),
    *map(_data_reads, ("digest", "channels", "label", "size")),
    Rule(("data.split_seed",), ("data.name", "data.split", "data.val_size"), _splits),
    Rule(("data.whiten_eps",), ("data.normalize",), lambda trial: trial.data.normalize in WHITENINGS),
    Rule(("model.residual",), _SHAPE, lambda trial: trial.model.layers > 2),
    Rule(("model.dropout_at",), ("model.dropout",), lambda trial: trial.model.dropout > 0),
    Rule(("model.norm.affine", "model.norm.eps", "model.norm.gamma"), ("model.norm.kind",), _normalised),
    # Dropout keeps its place where the norm is left out.
    Rule(
        ("model.norm.placement", "model.norm.addition", "model.norm.input"),
        ("model.norm.kind", "model.dropout", "model.dropout_at"),
        _placed,
    ),
    Rule(("model.norm.addition",), (*_SHAPE, "model.residual"), lambda trial: trial.model.blocks),
    *map(_norm_reads, dict.fromkeys(option for spec in NORMS.values() for option in spec.options)),
    # The averages are made, and a probe may read them, but they are put aside before anything is evaluated.
    Rule(
        ("model.norm.momentum",),
        ("model.norm.statistics", RECORDS),
        lambda trial: trial.model.norm.statistics == "ema",
    ),
    Rule(("model.norm.steps",), ("model.family",), lambda trial: trial.model.spec.recurrent),
    Rule(
        ("model.norm.recurrent",),
        ("model.family", "model.norm.kind"),
        lambda trial: trial.model.spec.recurrent and _normalised(trial),
    ),
    Rule(("train.epochs",), ("train.steps",), lambda trial: trial.train.steps is None),
    Rule(("train.drop_last",), ("train.sampling",), lambda trial: trial.train.sampling != "replacement"),
    *map(_optimizer_reads, dict.fromkeys(option for spec in OPTIMIZERS.values() for option in spec.options)),
    Rule(
        ("train.weight_decay",),
        ("train.only", "train.decay_all"),
        lambda trial: trial.train.only == "all" or trial.train.decay_all,
    ),
    Rule(("train.decay_all",), ("train.weight_decay",), lambda trial: trial.train.weight_decay > 0),
    *map(_schedule_reads, ScheduleOptions.model_fields),
    # Of warmup_cosine it is in train.warmup: see below.
    Rule(
        ("train.schedule_options.warmup",),
        ("train.schedule", "train.warmup"),
        lambda trial: trial.train.schedule == "one_cycle",
    ),
)


@dataclass(frozen=True)
class Meaning:
    """The value that a setting takes in the end."""

    of: str
    """Its dotted key."""
    relies_on: tuple[str, ...]
    """Dotted keys of the other settings that decide it."""
    value: Callable[[TrialSettings], Any]
    """The value that it stands for."""


def _biases(settings: TrialSettings) -> list[bool]:
    """Return whether hidden layers have biases: most of them, and the last ones of residual blocks."""
    model = settings.model
    last = model.blocks and model.norm.addition == "before"
    return [model.has_bias(), model.has_bias(norm_next=last)]


def _widths(settings: TrialSettings) -> Any:
    model = settings.model
    widths = dict.fromkeys(model.widths)
    if not widths:
        return None
    return next(iter(widths)) if not model.spec.units or len(widths) == 1 else " ".join(map(str, model.widths))


def _over(settings: TrialSettings) -> int | None:
    # A single slice is the batch.
    return settings.model.norm.over if settings.norm_batch < settings.train.micro_batch else None


def _optimizer(settings: TrialSettings) -> str:
    train = settings.train
    return train.optimizer if train.weight_decay > 0 else train.optimizer_spec.without_decay or train.optimizer


def _warmup(settings: TrialSettings) -> float:
    return 0.0 if settings.train.schedule == "one_cycle" else settings.train.schedule_read.warmup


def _schedule(settings: TrialSettings) -> str:
    # warmup_cosine is cosine with a warm-up of its own.
    return "cosine" if settings.train.schedule == "warmup_cosine" else settings.train.schedule


def _option(name: str) -> Callable[[TrialSettings], Any]:
    return lambda trial: getattr(trial.train.schedule_read, name)


def _sizes(settings: TrialSettings) -> tuple[int | None, int | None, int | None]:
    """Return how many images to train, validate and test on; the settings as they are if only the files can tell."""
    data, spec = settings.data, DATASETS[settings.data.name]
    return data.sizes(spec.train, 0, spec.test) if spec.image else (data.train_size, data.val_size, data.test_size)


def _drop_last(settings: TrialSettings) -> bool:
    """Return whether a smaller last batch is left out; also true if batches fill the epoch, so there is none."""
    known = DATASETS[settings.data.name].image is not None
    images = _sizes(settings)[0] if known else None
    filled = images is not None and images % settings.train.batch_size == 0
    return settings.train.drop_last or filled


MEANINGS = (
    Meaning("data.train_size", ("data.name", "data.val_size"), lambda trial: _sizes(trial)[0]),
    Meaning("data.val_size", ("data.name",), lambda trial: _sizes(trial)[1]),
    Meaning("data.test_size", ("data.name",), lambda trial: _sizes(trial)[2]),
    Meaning("model.source", (), lambda trial: without_folder(trial.model.source)),
    Meaning("model.depth", ("model.family", "model.width"), lambda trial: trial.model.layers),
    Meaning("model.width", ("model.family", "model.depth"), _widths),
    Meaning(
        "model.bias", ("model.norm", "model.init.scheme", "model.dropout_at", "model.residual", "model.depth"), _biases
    ),
    Meaning("model.norm.over", ("train.batch_size", "train.accumulate"), _over),
    Meaning("train.epochs", (), lambda trial: trial.train.epochs or DEFAULT_EPOCHS),
    Meaning("train.drop_last", ("data", "train.batch_size"), _drop_last),
    Meaning("train.optimizer", ("train.weight_decay",), _optimizer),
    Meaning("train.schedule", ("train.schedule_options.warmup", "train.warmup"), _schedule),
    Meaning("train.warmup", ("train.schedule", "train.schedule_options.warmup"), _warmup),
    *(
        Meaning(f"train.schedule_options.{name}", ("train.schedule",), _option(name))
        for name in ScheduleOptions.model_fields
    ),
)


def effective(settings: TrialSettings, *, varying: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings that matter to a trial by their dotted keys, null and auto replaced by what they stand for.

    No rule may rely on the settings in `varying`: what matters at some value of them is kept. If RECORDS is among them,
    settings that matter to the records alone are kept, too; with EARLY_STOP, those that matter to the measures of early
    stopping.
    """
    found = dict(leaves(settings))
    for meaning in MEANINGS:
        if not _depends_on(meaning.relies_on, varying):
            found[meaning.of] = meaning.value(settings)
    for rule in NO_EFFECT:
        if not _depends_on(rule.relies_on, varying) and not rule.matters(settings):
            for key in rule.about:
                found.pop(key, None)
    return found


def _depends_on(settings: Iterable[str], varying: Collection[str]) -> bool:
    return any(below(key, other) or below(other, key) for key in settings for other in varying)
