"""Which normalisation a trial's network has, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from bnexp.config.base import Count, NonNegative, Number, OneOf, Positive, Settings, Spec, written_as
from bnexp.config.keys import nearest_value

Placement = Literal["before", "after"]
AsWritten = Literal["as_written"]
"""family module: as the network's own code has it."""


@dataclass(frozen=True)
class NormSpec(Spec):
    """A kind of norm layer; the implementation is a `bnexp.nn.norm.Norm`."""

    batch_statistics: bool = False
    """Normalises over the images of a batch, and with running statistics in evaluation."""
    averages_in_training: bool = False
    """The running statistics also have a part in training."""
    cancels_bias: bool = False
    """Subtracts from every feature what a bias right before it has added."""
    over_places: bool = False
    """Normalises over the places of an image, so there have to be several."""
    options: tuple[str, ...] = ()
    """Settings in NormSettings that this kind reads, and not every kind does."""
    in_rnn: bool = True
    """Can be used in recurrent layers."""
    noise: bool = False
    """In training, noise is added to its output (`bnexp.nn.norm.Noise`)."""
    capturable: bool = True
    """A CUDA graph can record it: the host reads nothing of what it computes."""
    twice_differentiable: bool = True
    """Autograd can derive its gradient once more."""
    saves_input: bool = False
    """Keeps a centred copy of its input until the backward pass, besides its output."""


AVERAGES = ("momentum", "statistics", "over", "freeze_at")
"""Settings of statistics over the batch, and of their running averages."""
OVER_THE_BATCH = ("over", "freeze_at")
"""Those of them that other kinds refuse."""
NORMS: dict[str, NormSpec] = {
    "none": NormSpec("torch.nn:Identity"),
    "batch": NormSpec(
        "bnexp.nn.norm:BatchNorm", batch_statistics=True, cancels_bias=True, options=(*AVERAGES, "steps")
    ),
    "layer": NormSpec("bnexp.nn.image_norm:LayerNorm"),
    "group": NormSpec("bnexp.nn.image_norm:GroupNorm", options=("groups",)),
    "instance": NormSpec(
        "bnexp.nn.image_norm:InstanceNorm", cancels_bias=True, over_places=True, in_rnn=False, saves_input=True
    ),
    "rms": NormSpec("bnexp.nn.image_norm:RMSNorm", saves_input=True),
    "mean": NormSpec(
        "bnexp.nn.batch_variants:MeanNorm", batch_statistics=True, cancels_bias=True, options=AVERAGES, in_rnn=False
    ),
    "variance": NormSpec(
        "bnexp.nn.batch_variants:VarianceNorm", batch_statistics=True, options=AVERAGES, in_rnn=False, saves_input=True
    ),
    "renorm": NormSpec(
        "bnexp.nn.batch_variants:Renorm",
        batch_statistics=True,
        averages_in_training=True,
        cancels_bias=True,
        options=(*AVERAGES, "r_max", "d_max", "relax_at"),
        in_rnn=False,
    ),
    "whiten": NormSpec(
        "bnexp.nn.whiten:Whiten",
        batch_statistics=True,
        cancels_bias=True,
        options=(*AVERAGES, "group_size"),
        in_rnn=False,
        capturable=False,  # the eigendecomposition reads its outcome on the host
        twice_differentiable=False,
        saves_input=True,
    ),
    "noisy_batch": NormSpec(
        "bnexp.nn.norm:BatchNorm",
        batch_statistics=True,
        cancels_bias=True,
        options=AVERAGES,
        in_rnn=False,
        noise=True,
    ),
}
"""Norm layers by the name in model.norm.kind."""
AS_WRITTEN = NormSpec("torch.nn:Identity", batch_statistics=True, options=AVERAGES)
"""The norm layers of the user's own network, as its code has them: perhaps batch norm."""


Updates = Annotated[list[Count], Field(min_length=3, max_length=3)]


def _three_updates(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(value) != 3:
        raise ValueError("expected three updates: where limits begin to grow, where r_max is reached, where d_max is")
    if value[0] > min(value[1:]):
        raise ValueError(f"update {value[0]}, where limits begin to grow, comes after one where they are reached")
    return value


class NormSettings(Settings):
    """The norm layers that the arms put in or leave out. Short form: a placement (of batch norm), or a kind."""

    kind: Annotated[str, OneOf(NORMS, "as_written")] = "batch"
    """Kind of norm layer; none leaves it out; as_written is for a family module, where null of a setting below also
    means that the network decides.

    rms divides each image by its root mean square; instance normalises each channel of each image; mean and variance
    are halves of batch norm: mean only subtracts the batch's mean, variance only divides by its standard deviation.
    renorm corrects batch norm towards its running averages (Ioffe 2017). whiten decorrelates the features of the batch
    (Huang et al. 2018); noisy_batch is batch norm followed by noise whose mean and scale change at every step
    (Santurkar et al. 2018).
    """
    placement: Placement | AsWritten = "before"
    """Before or after each activation; in a family module after each hidden weight layer, after each activation, or
    where the network has its norm layers (as_written)."""
    addition: Placement = "before"
    """Residual blocks: whether the norm layer of a block's second half comes before the addition, or after it (and
    there before or after the activation, as `placement` says)."""
    input: bool = False
    """Also normalise the network's input."""
    affine: Literal["both", "gamma", "beta", "none"] | None = "both"
    """Which of scale γ and shift β are learned."""
    gamma: Positive | None = 1.0
    """Initial γ, which stays if γ isn't learned. In recurrent layers a small one, such as 0.1, keeps tanh out of
    saturation (Cooijmans et al. 2017)."""
    momentum: Annotated[Positive, Field(le=1)] | None = 0.1
    """Weight of the newest batch in the running statistics, as in PyTorch (1 minus this in Keras)."""
    eps: Positive | None = 1e-5
    """Added to the variance before its square root is taken."""
    statistics: Literal["ema", "population"] = "ema"
    """What evaluation normalises with: running averages over the batches (ema), or statistics recomputed over the
    training images, without augmentation (population)."""
    over: Count | None = None
    """Number of images that batch statistics are taken over: a training batch is cut into slices of that size, and each
    slice is normalised by itself (ghost batch norm, Hoffer et al. 2017). null = the whole batch."""
    freeze_at: Count | None = None
    """From this update on, counted from 1, training normalises with the running statistics, too. They no longer change,
    but γ and β go on learning (Wu & Johnson 2021). null = never."""
    r_max: Annotated[Number, Field(ge=1)] = 3.0
    """renorm: largest correction of the scale, as a ratio between the deviations of batch and running average; 1 = none
    (Ioffe 2017)."""
    d_max: NonNegative = 5.0
    """renorm: largest correction of the mean, in running deviations; 0 = none."""
    relax_at: Annotated[tuple[Count, ...], AfterValidator(_three_updates), written_as(Updates)] | None = None
    """renorm: three updates. Up to the first it is batch norm (limits 1 and 0); then the limits grow linearly, and
    reach r_max at the second and d_max at the third. The paper has [5000, 40000, 25000].

    null = 5 %, 40 % and 25 % of the training.
    """
    groups: Count = 8
    """group: number of groups of features."""
    group_size: Count | None = None
    """whiten: number of neighbouring features that are decorrelated from each other; null = all of a layer.

    Keep it far below the batch size: otherwise what whitening leaves is mostly noise.
    """
    steps: Literal["each", "shared"] = "each"
    """rnn: keep running statistics of batch norm for each time step, or their mean over all steps (shared)."""
    recurrent: bool = True
    """rnn: also normalise what comes from the previous time step; false = only what comes from the input (Laurent et
    al. 2016)."""

    @property
    def spec(self) -> NormSpec:
        """The record of this kind."""
        return AS_WRITTEN if self.kind == "as_written" else NORMS[self.kind]

    @property
    def grouping(self) -> tuple[str, int]:
        """The setting that says how features are grouped, and the number that has to divide them; 1 where any may."""
        name = next((name for name in ("groups", "group_size") if name in self.spec.options), None)
        return (name, getattr(self, name) or 1) if name else ("", 1)

    @property
    def averages(self) -> bool:
        """True if evaluation normalises with running averages over the batches of the training."""
        return self.spec.batch_statistics and self.statistics == "ema"

    @property
    def sliced(self) -> bool:
        """True if batch statistics are taken over slices of a batch."""
        return self.over is not None and self.spec.batch_statistics

    @property
    def frozen_from(self) -> int | None:
        """The first update that normalises with running statistics; None where there is none."""
        return self.freeze_at if self.spec.batch_statistics else None

    def relaxed_at(self, updates: int) -> tuple[int, ...]:
        """Return `relax_at`, or what null stands for in a training of so many updates."""
        start, *ends = (updates * percent // 100 for percent in (5, 40, 25))
        first = max(start, 1)  # before which the averages have seen nothing
        return self.relax_at or (first, *(max(end, first) for end in ends))

    @model_validator(mode="after")
    def _averages_stay(self) -> Self:
        if self.spec.averages_in_training and self.statistics == "population":
            raise ValueError(
                f"{self.kind} needs the running statistics in training, and statistics: population replaces them; "
                "set ema"
            )
        return self

    @model_validator(mode="after")
    def _batch_is_normalised_over(self) -> Self:
        for name in OVER_THE_BATCH:
            if getattr(self, name) is not None and self.kind != "none" and name not in self.spec.options:
                advice = "leave it out, or set kind: batch"
                raise ValueError(f"{name}: {self.kind} takes no statistics over the batch; {advice}")
        if self.frozen_from and self.statistics == "population":
            raise ValueError("freeze_at keeps running statistics, which statistics: population replaces; set ema")
        return self

    @classmethod
    def short_forms(cls) -> Sequence[str]:
        """Return the placements of batch norm, and the kinds of norm."""
        return [*get_args(Placement), *NORMS, "as_written"]

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Return the settings that a short form stands for: a placement of batch norm, or a kind of norm."""
        if value is None or isinstance(value, bool):
            instead = "before or after, the place of batch norm" if value else "none"
            raise ValueError(f"expected {instead}; to compare with and without it, use arms")
        if not isinstance(value, str):
            return value
        if value in get_args(Placement):
            return {"kind": "batch", "placement": value}
        if value in cls.short_forms():
            return {"kind": value}
        known = [word for word in cls.short_forms() if word != "as_written"]
        hint = nearest_value("model.norm.kind", value, known)
        raise ValueError(f"expected a mapping of keys, or one of {', '.join(known)}{hint}")


KERAS = 0.9
"""From here on a momentum was probably written as in Keras, which weighs the old value with it."""


def momentum_question(momentum: float) -> str:
    """Ask whether a momentum was written as in Keras."""
    keras = f"; Keras' {momentum:g} is written {round(1 - momentum, 12):g} here" if momentum < 1 else ""
    return f"norm.momentum {momentum:g} gives the newest batch a weight of {momentum:g}{keras}"
