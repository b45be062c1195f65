"""How a trial is trained: steps, batches, optimiser, schedule, clipping, precision."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Fraction, NonNegative, Number, OneOf, Positive, Settings, Spec
from bnexp.config.sweep import step_numbers, steps_as_written, values
from bnexp.config.text import listed

DEFAULT_EPOCHS = 10
MOST_UPDATES = 1_000_000
"""Epochs, or steps where they are given instead. There is a record per epoch, which may be as short as a step."""


Steps = steps_as_written(1)


def _record_at(value: Any) -> Any:
    return value if value == "epoch" else step_numbers(value, 1, "epoch, or a list or range of steps counted from 1")


def _step_at(value: Any) -> Any:
    if value is None:
        return None
    expected = "epochs counted from 1 in ascending order, such as [80, 120]"
    epochs = step_numbers(value, 1, expected)
    if epochs != values(value):
        raise ValueError(f"expected {expected}")
    return epochs


Budget = Annotated[Count, Field(le=MOST_UPDATES)]
Augment = Literal["none", "flip_crop", "flip_crop_cutout"]


class ClipSettings(Settings):
    """Gradient clipping, by each trial's own gradient and in this order; null = off."""

    value: Positive | None = None
    """Clamp every component of the gradient to ±value, which changes its direction."""
    norm_per_tensor: Positive | None = None
    """Scale each tensor's gradient down to this norm (clipnorm in Keras, except that 1e-6 is added to the norm
    here)."""
    norm_global: Positive | None = None
    """Scale the whole gradient down to this norm (clip_grad_norm_ in PyTorch, which also adds 1e-6 to the norm)."""
    adaptive: Positive | None = None
    """Scale each unit's gradient down to this share of the norm of the unit's weights, such as 0.01, instead of other
    clipping (Brock et al. 2021). The norm counts as at least 0.001; a bias, γ or β is one unit as a whole; the output
    layer is left out."""

    @model_validator(mode="after")
    def _adaptive_is_alone(self) -> Self:
        others = [name for name in ("value", "norm_per_tensor", "norm_global") if getattr(self, name) is not None]
        if self.adaptive is not None and others:
            raise ValueError(f"adaptive clips in place of {listed(others)}: give one of them, and null for the other")
        return self


class ScheduleOptions(Settings):
    """The shape of the learning-rate schedule. Each schedule reads only the options that name it."""

    step_every: Count | None = None
    """step, exponential: number of epochs over which the rate is multiplied by `factor` once; null = 10, unless
    `step_at` is given."""
    step_at: Annotated[tuple[int, ...] | None, BeforeValidator(_step_at, json_schema_input_type=Steps | None)] = None
    """step: epochs after which the rate drops, in place of `step_every`. [80, 120] drops it after epoch 80 and again
    after epoch 120 (MultiStepLR in PyTorch). A list, or `{range: [first, last, step]}`, in ascending order."""
    factor: Positive = 0.1
    """step, exponential: factor on the rate at every drop, or over every `step_every` epochs."""
    warmup: Fraction = 0.1
    """warmup_cosine: share of all steps in which the rate rises linearly from 0; one_cycle: share in which it rises
    from `start`. For the other schedules see train.warmup."""
    floor: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """cosine, warmup_cosine: final rate, as a fraction of lr."""
    start: Annotated[Positive, Field(le=1)] = 0.04
    """one_cycle: initial rate, as a fraction of lr; the final rate is a ten-thousandth of it."""

    @model_validator(mode="after")
    def _drops_are_said_once(self) -> Self:
        if self.step_every is not None and self.step_at is not None:
            raise ValueError("step_every and step_at exclude each other: give one of them, and null for the other")
        return self


ScheduleName = Literal["constant", "step", "exponential", "cosine", "warmup_cosine", "one_cycle"]
SCHEDULE_OPTIONS: dict[ScheduleName, tuple[str, ...]] = {
    "constant": (),
    "step": ("step_every", "step_at", "factor"),
    "exponential": ("step_every", "factor"),
    "cosine": ("floor",),
    "warmup_cosine": ("floor", "warmup"),
    "one_cycle": ("start", "warmup"),
}
"""The options that each schedule reads; the others have no effect."""
USUAL_STEP_EVERY = 10


@dataclass(frozen=True)
class OptimizerSpec(Spec):
    """An update rule; the implementation is a `bnexp.training.optimizers.Optimizer`."""

    options: tuple[str, ...] = ()
    """The settings among momentum, nesterov and betas that it reads."""
    kept: int = 1
    """Numbers per parameter that it keeps from step to step at most."""
    working: int = 2
    """Numbers per parameter that are alive in an update besides: gradients with and without the penalty, roots, …"""
    without_decay: str | None = None
    """The rule that it is where there is no weight decay, if that is another one."""


OPTIMIZERS: dict[str, OptimizerSpec] = {
    "sgd": OptimizerSpec("bnexp.training.optimizers:SGD", options=("momentum", "nesterov")),
    "adam": OptimizerSpec("bnexp.training.optimizers:Adam", options=("betas",), kept=2, working=4),
    "adamw": OptimizerSpec(
        "bnexp.training.optimizers:AdamW", options=("betas",), kept=2, working=3, without_decay="adam"
    ),
    "nadam": OptimizerSpec("bnexp.training.optimizers:NAdam", options=("betas",), kept=2, working=4),
    "rmsprop": OptimizerSpec("bnexp.training.optimizers:RMSprop", options=("momentum",), kept=2, working=4),
}
"""Update rules by the name in train.optimizer."""


class TrainSettings(Settings):
    """How the network is trained."""

    epochs: Budget | None = None
    """Passes over the training images; null = 10, unless `steps` is given."""
    steps: Budget | None = None
    """Updates of the weights, instead of epochs."""
    batch_size: Count = 128
    """Images per update."""
    accumulate: Count = 1
    """Micro-batches per update: their gradients are averaged, they take memory one after the other, and batch norm sees
    one at a time. It divides batch_size."""
    sampling: Literal["epoch", "replacement", "by_class"] = "epoch"
    """How batches are drawn: epoch = every image once per epoch, in random order; replacement = each batch at random
    from all images; by_class = as epoch, but sorted by label, so that a batch holds one class or two, with the batches
    in random order."""
    drop_last: bool = True
    """Leave out the last batch of an epoch if it is smaller."""
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "sgd"
    """Update rule, as in torch.optim."""
    lr: NonNegative = 0.1
    """Learning rate; `schedule` changes it over the steps."""
    momentum: Fraction = 0.0
    """sgd, rmsprop: momentum."""
    nesterov: bool = False
    """sgd: Nesterov momentum."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """adam, adamw, nadam: decay rates of the averages of the gradient and of its square."""
    weight_decay: NonNegative = 0.0
    """Coefficient of the L2 penalty on the weights; adamw decays them separately from the gradient."""
    decay_all: bool = False
    """Decay biases and the parameters of norm layers, too."""
    label_smoothing: Fraction = 0.0
    """Share of the target probability that is spread evenly over all classes."""
    schedule: ScheduleName = "constant"
    """How the learning rate changes over the steps; docs/reproducibility.md has the formulas.

    step multiplies it by a factor after every so many epochs, or after the epochs of a list; exponential does so
    smoothly, at every step; cosine lets it fall along half a cosine; warmup_cosine is cosine after a warm-up; one_cycle
    rises and then falls (Smith & Topin 2018).
    """
    schedule_options: ScheduleOptions = ScheduleOptions()
    warmup: Fraction = 0.0
    """Share of all steps in which the rate first rises linearly from 0. Leave it 0 with warmup_cosine and one_cycle,
    which have a warm-up of their own."""
    clip: ClipSettings = ClipSettings()
    only: Literal["all", "norm"] = "all"
    """What is trained: all parameters, or γ and β of the norm layers alone, while all others keep their initial values
    (Frankle, Schwab & Morcos 2021)."""
    augment: Augment = "none"
    """Random changes to the training images: flip_crop mirrors half of them and moves all by up to an eighth of their
    side (reflecting what moves in); flip_crop_cutout also sets a square of half their side to 0."""
    precision: Literal["fp32", "tf32", "bf16", "fp64"] = "fp32"
    """Arithmetic: fp32; tf32, which changes something on GPUs only; bf16; or fp64, for checks."""
    record_at: Annotated[
        Literal["epoch"] | tuple[int, ...],
        BeforeValidator(_record_at, json_schema_input_type=Literal["epoch"] | Steps),
    ] = "epoch"
    """When to measure: after each epoch, or after these steps (a list, or `{range: [first, last, step]}`). The states
    before training and after the last step are always measured."""
    patience: Count | None = None
    """Measure what early stopping would have done: a trial counts as stopped when this many records in a row (epochs,
    unless `record_at` says otherwise) have brought no higher validation accuracy. The step, and the accuracies at the
    best record until then, are columns of trials.csv; training goes on to its end. null = not measured."""
    stop_diverged: bool = False
    """Stop a trial that has diverged, at a record at the end of an epoch: if one of its numbers is no longer finite, or
    if every batch loss of that epoch was above 1,000 times the first."""
    checkpoint_every: Positive = 60
    """Seconds between checkpoints."""

    @property
    def optimizer_spec(self) -> OptimizerSpec:
        """The record of the update rule."""
        return OPTIMIZERS[self.optimizer]

    @property
    def schedule_read(self) -> ScheduleOptions:
        """The options that the schedule reads, with null replaced by its meaning; the others are at their defaults.

        `warmup` is that of the schedule, whichever setting says it.
        """
        read = self.schedule_options.model_dump(include=set(SCHEDULE_OPTIONS[self.schedule]))
        read.setdefault("warmup", self.warmup)
        if "step_every" in read and read.get("step_at") is None:
            read["step_every"] = read["step_every"] or USUAL_STEP_EVERY
        return ScheduleOptions(**read)

    @property
    def micro_batch(self) -> int:
        """Images that pass through the network at once."""
        return self.batch_size // self.accumulate

    def total_steps(self, steps_per_epoch: int) -> int:
        """Updates that a trial makes in all."""
        return self.steps or (self.epochs or DEFAULT_EPOCHS) * steps_per_epoch

    @model_validator(mode="after")
    def _micro_batches_fill_the_batch(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: {self.accumulate} does not divide batch_size {self.batch_size}")
        return self

    @model_validator(mode="after")
    def _budget_and_momentum_agree(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("epochs and steps exclude each other: give one of them, and null for the other")
        if self.nesterov and ("nesterov" not in self.optimizer_spec.options or self.momentum == 0):
            takers = listed((name for name, spec in OPTIMIZERS.items() if "nesterov" in spec.options), "or")
            raise ValueError(f"nesterov: true needs optimizer {takers} and a momentum above 0")
        return self

    @model_validator(mode="after")
    def _warm_ups_agree(self) -> Self:
        if self.warmup and "warmup" in SCHEDULE_OPTIONS[self.schedule]:
            raise ValueError(
                f"warmup: {self.schedule} has a warm-up of its own; leave this one at 0 and set schedule_options.warmup"
            )
        return self
