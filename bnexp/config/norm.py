"""Which normalisation a trial's network has, and where."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from bnexp.config.base import Count, Positive, Settings
from bnexp.config.synonyms import nearest_value

NormKind = Literal["none", "batch", "layer", "group", "whiten", "noisy_batch"]
Placement = Literal["before", "after"]
OVER_THE_BATCH = ("batch", "whiten", "noisy_batch")
"""Kinds that normalise over the images of a batch, and with running statistics in evaluation."""


class NormSettings(Settings):
    """The normalisation that the arms put in or leave out. Short form: a placement (then batch), or a kind."""

    kind: NormKind = "batch"
    """none | batch | layer | group | whiten | noisy_batch.

    whiten decorrelates the features of the batch (Huang et al. 2018); noisy_batch is batch norm followed by noise whose
    mean and scale change at every step (Santurkar et al. 2018).
    """
    placement: Placement = "before"
    """Before or after each hidden activation."""
    addition: Placement = "before"
    """Residual blocks: the norm layer of a block's second half stands before the addition, or after it (and there
    before or after the activation, as placement says)."""
    input: bool = False
    """Also normalise the network's input."""
    affine: Literal["both", "gamma", "beta", "none"] = "both"
    """Which of scale γ and shift β are learned."""
    gamma: Positive = 1.0
    """γ at the start, and for good where it isn't learned. In recurrent layers a small one keeps tanh out of its flat
    parts: 0.1 in Cooijmans et al. 2017."""
    momentum: Annotated[Positive, Field(le=1)] = 0.1
    """Weight of the new batch in the running statistics (PyTorch's convention; Keras writes 1 minus this)."""
    eps: Positive = 1e-5
    """Added to the variance under the root."""
    statistics: Literal["ema", "population"] = "ema"
    """Evaluate with running averages, or with statistics recomputed over the training images (not augmented)."""
    groups: Count = 8
    """Groups of features that group norm normalises over."""
    group_size: Count | None = None
    """whiten: neighbouring features that are decorrelated from each other; null = all of a layer.

    Where they are not far fewer than the images of a batch, what is left in training is mostly chance.
    """
    steps: Literal["each", "shared"] = "each"
    """rnn: running statistics of batch norm for each time step, or their mean over all steps, shared by them."""
    recurrent: bool = True
    """rnn: also normalise what comes from the step before; false = only what comes from the input (Laurent et al.
    2016)."""

    @property
    def grouping(self) -> tuple[str, int]:
        """The setting that says how features are grouped, and the number that has to divide them; 1 where any may."""
        if self.kind == "group":
            return "groups", self.groups
        return "group_size", (self.group_size or 1) if self.kind == "whiten" else 1

    @property
    def over_the_batch(self) -> bool:
        """Whether images are normalised with the statistics of the batch that they are in."""
        return self.kind in OVER_THE_BATCH

    @property
    def averages(self) -> bool:
        """Whether evaluation normalises with running averages over the batches of the training."""
        return self.over_the_batch and self.statistics == "ema"

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
        if value in get_args(NormKind):
            return {"kind": value}
        known = [*get_args(Placement), *get_args(NormKind)]
        hint = nearest_value("model.norm.kind", value, known)
        raise ValueError(f"expected a mapping of keys, or one of {', '.join(known)}{hint}")
