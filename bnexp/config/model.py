"""What network a trial trains: depth, width, activation, norm, dropout and initialisation."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Fraction, NonNegative, Positive, Settings
from bnexp.errors import nearest

ActivationName = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "identity"]
NormKind = Literal["none", "batch", "layer", "group"]
Placement = Literal["before", "after"]
DEFAULT_DEPTH = 10
MOST_LAYERS = 1_000
"""Hidden layers."""
MOST_UNITS = 1_000_000
"""Units of a layer."""


def _bias(value: Any) -> Any:
    if value == "auto" or isinstance(value, bool):
        return value
    raise ValueError("expected auto, true or false")


def _width(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():  # as of a linspace
        value = int(value)
    units = value if isinstance(value, list | tuple) else [value]
    if not units or not all(isinstance(unit, int) and not isinstance(unit, bool) and unit > 0 for unit in units):
        raise ValueError("expected a whole number of units above 0, or a list of them")
    if len(units) > MOST_LAYERS or max(units) > MOST_UNITS:
        raise ValueError(f"expected at most {MOST_LAYERS:,} layers of at most {MOST_UNITS:,} units")
    return tuple(value) if isinstance(value, list | tuple) else value


class InitSettings(Settings):
    """Initial weights: normally distributed around zero; biases start at zero. Short form: the scheme's name."""

    scheme: Literal["normal", "xavier", "he", "lecun", "orthogonal"] = "xavier"
    """Standard deviation: normal 1, xavier √(2/(in+out)), he √(2/in), lecun √(1/in); or an orthogonal matrix."""
    scale: NonNegative = 1.0
    """Factor on the scheme's weights; with `normal` it is the standard deviation itself."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        return {"scheme": value} if isinstance(value, str) else value


class NormSettings(Settings):
    """The normalisation that the arms put in or leave out. Short form: a placement (then batch), or a kind."""

    kind: NormKind = "batch"
    """none | batch | layer | group."""
    placement: Placement = "before"
    """Before or after each hidden activation."""
    input: bool = False
    """Also normalise the network's input."""
    affine: Literal["both", "gamma", "beta", "none"] = "both"
    """Which of scale γ and shift β are learned."""
    momentum: Annotated[Positive, Field(le=1)] = 0.1
    """Weight of the new batch in the running statistics (PyTorch's convention; Keras writes 1 minus this)."""
    eps: Positive = 1e-5
    """Added to the variance under the root."""
    statistics: Literal["ema", "population"] = "ema"
    """Evaluate with running averages, or with statistics recomputed over the training images."""
    groups: Count = 8
    """Groups of features that group norm normalises over."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value in get_args(Placement):
            return {"kind": "batch", "placement": value}
        if value in get_args(NormKind):
            return {"kind": value}
        known = [*get_args(Placement), *get_args(NormKind)]
        raise ValueError(f"expected a mapping of keys, or one of {', '.join(known)}{nearest(value, known)}")


class ModelSettings(Settings):
    """The `model:` section."""

    family: Literal["mlp"] = "mlp"
    """Multi-layer perceptron on the flattened image."""
    depth: Annotated[Count, Field(le=MOST_LAYERS)] | None = None
    """Hidden layers; null = as many as `width` lists, 10 where width is one number."""
    width: Annotated[int | tuple[int, ...], BeforeValidator(_width)] = 100
    """Units of every hidden layer, or a list with one number a layer."""
    activation: ActivationName = "sigmoid"
    """The nonlinearity after each hidden layer."""
    bias: Annotated[Literal["auto"] | bool, BeforeValidator(_bias)] = "auto"
    """Biases of the linear layers; auto leaves out those that a directly following BN would cancel."""
    residual: bool = False
    """Skip connections around every two hidden layers after the first."""
    dropout: Fraction = 0.0
    """Probability of dropping a unit in training."""
    dropout_at: Literal["each", "before_norm", "after_norm"] = "each"
    """After each hidden layer, or right before or after every place where a norm layer stands."""
    init: InitSettings = InitSettings()
    norm: NormSettings = NormSettings()

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, first to last."""
        if isinstance(self.width, tuple):
            return self.width
        return (self.width,) * (self.depth or DEFAULT_DEPTH)

    @model_validator(mode="after")
    def _layers_agree(self) -> Self:
        if isinstance(self.width, tuple) and self.depth not in (None, len(self.width)):
            raise ValueError(f"depth {self.depth} does not fit the {len(self.width)} layers that width lists")
        if self.residual and len(set(self.widths)) > 1:
            raise ValueError("residual: true needs hidden layers of one width")
        if self.norm.kind == "group":
            uneven = [width for width in self.widths if width % self.norm.groups]
            if uneven:
                raise ValueError(f"norm.groups {self.norm.groups} does not divide the width {uneven[0]}")
        return self
