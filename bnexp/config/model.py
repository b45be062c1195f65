"""The network that a trial trains: family, depth, width, activation, norm, dropout and initialisation."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp.config.base import Count, Fraction, NonNegative, OneOf, Settings, Spec
from bnexp.config.norm import NORMS, NormSettings
from bnexp.config.source import AS_WRITTEN, NetworkSource
from bnexp.config.text import listed

ActivationName = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "identity"]
WeightKind = Literal["plain", "standardized", "scaled"]
MOST_LAYERS = 1_000
MOST_UNITS = 1_000_000
"""Units of a layer."""
Image = tuple[int, int, int]
"""Channels, height and width."""


@dataclass(frozen=True)
class FamilySpec(Spec):
    """A family of networks; the implementation is an nn.Module made from a LayerFactory, an image and the classes."""

    depth: int
    """Layers, unless `model.depth` says otherwise."""
    width: int
    """Units or channels, unless `model.width` says otherwise."""
    units: bool = True
    """Hidden layers have units, whose number may differ from layer to layer; otherwise they have channels, and the
    image keeps its height and width as it enters."""
    widths: Callable[[int, int], tuple[int, ...]] = lambda depth, width: (width,) * depth
    """From depth and width to the units of each hidden layer, or the channels of each stage.

    Raises ValueError where there is no such depth.
    """
    fewest_places: Callable[[int, Image], int] = lambda depth, image: 1
    """From depth and image to the fewest places (H·W) of a hidden layer."""
    residual: Literal["always", "optional", "never"] = "never"
    """Has residual blocks; optional: where `model.residual` asks for them."""
    recurrent: bool = False
    """Takes an image's rows as time steps, and shares its weights between them."""
    tabular: bool = False
    """Takes rows of features, too, which are images of one place."""
    own: bool = False
    """Made by the user's code, `model.source`, which decides what other families have settings for."""


VGG_STAGES = {
    5: (1, 1, 2),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions between the poolings by depth. 11 to 19 are A, B, D and E of Simonyan & Zisserman 2015, table 1, whose
names count the three linear layers there; 5 is a small one of the same make, with the one linear layer it has here."""


def vgg_stages(depth: int) -> tuple[int, ...]:
    """Return the convolutions of each stage; raise ValueError if there is no such depth."""
    if depth not in VGG_STAGES:
        raise ValueError(f"depth {depth}: a vgg has {', '.join(map(str, VGG_STAGES))} layers")
    return VGG_STAGES[depth]


def _vgg_widths(depth: int, width: int) -> tuple[int, ...]:
    return tuple(width * growth for growth in (1, 2, 4, 8, 8)[: len(vgg_stages(depth))])


def _vgg_places(depth: int, image: Image) -> int:
    sides: Sequence[int] = image[1:]
    for _ in vgg_stages(depth)[1:]:
        if min(sides) > 1:  # a pooling over 2×2 places
            sides = [side // 2 for side in sides]
    return prod(sides)


def resnet_blocks(depth: int) -> int:
    """Return the blocks of each of the three stages (He et al. 2016, section 4.2); raise ValueError if none fit."""
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth {depth}: a resnet has 6n+2 layers; take 8, 14, 20, 32, 44, 56, 110 or another of them")
    return blocks


def _resnet_widths(depth: int, width: int) -> tuple[int, ...]:
    resnet_blocks(depth)
    return (width, 2 * width, 4 * width)


def _resnet_places(depth: int, image: Image) -> int:
    return prod(-(-side // 4) for side in image[1:])  # two convolutions of stride 2


FAMILIES: dict[str, FamilySpec] = {
    "mlp": FamilySpec("bnexp.nn.mlp:MLP", depth=10, width=100, residual="optional", tabular=True),
    "vgg": FamilySpec(
        "bnexp.nn.convolutional:VGG", depth=11, width=64, units=False, widths=_vgg_widths, fewest_places=_vgg_places
    ),
    "resnet": FamilySpec(
        "bnexp.nn.convolutional:ResNet",
        depth=20,
        width=16,
        units=False,
        widths=_resnet_widths,
        fewest_places=_resnet_places,
        residual="always",
    ),
    "rnn": FamilySpec("bnexp.nn.rnn:RNN", depth=1, width=100, recurrent=True),
    "module": FamilySpec(
        "bnexp.nn.own.networks:OwnNetworks",
        depth=1,
        width=1,
        units=False,
        widths=lambda depth, width: (),
        fewest_places=lambda depth, image: 2,  # only its own code knows
        tabular=True,
        own=True,
    ),
}
"""Network families by the name in model.family."""


Bias = Literal["auto", True, False]
Units = Annotated[int, Field(strict=True, ge=1, le=MOST_UNITS)]
Width = Units | Annotated[list[Units], Field(min_length=1, max_length=MOST_LAYERS)] | None


def _bias(value: Any) -> Any:
    if value == "auto" or isinstance(value, bool):
        return value
    raise ValueError("expected auto, true or false")


def _width(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # as of a linspace
        value = int(value)
    units = value if isinstance(value, list | tuple) else [value]
    if not units or not all(isinstance(unit, int) and not isinstance(unit, bool) and unit > 0 for unit in units):
        raise ValueError("expected a whole number of units above 0, or a list of them")
    if len(units) > MOST_LAYERS or max(units) > MOST_UNITS:
        raise ValueError(f"expected at most {MOST_LAYERS:,} layers of at most {MOST_UNITS:,} units")
    return tuple(value) if isinstance(value, list | tuple) else value


class Arguments(dict[str, Any]):
    """Keyword arguments, as JSON would have them; they have a hash, since settings have one."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True, default=str))


def _source(value: str | None) -> str | None:
    if value is not None:
        NetworkSource.parse(value)
    return value


class InitSettings(Settings):
    """Initial weights, drawn from a normal distribution around zero; biases start at zero. Short form: the scheme."""

    main_setting = "scheme"

    scheme: Literal["normal", "xavier", "he", "lecun", "orthogonal", "fixup", "skipinit", "as_written"] = "xavier"
    """Standard deviation of the weights: normal 1, xavier √(2/(in+out)), he √(2/in), lecun √(1/in); orthogonal draws an
    orthogonal matrix; as_written, for a family module, leaves them to the network's own code.

    fixup (Zhang et al. 2019) lets a residual network train without norm layers: it is he with smaller weights within
    the branches, zeros in their last layers and in the output layer, and learned scalar biases and multipliers in place
    of biases. skipinit (De & Smith 2020) does so, too: it is he with a learned scalar, 0 at first, at the end of each
    branch.
    """
    scale: NonNegative = 1.0
    """Factor on the weights; for `normal` it is their standard deviation."""


WITH_SCALARS = ("fixup", "skipinit")
"""Schemes that put learned scalars into residual blocks, in place of norm layers."""
OWN_NORM = ("affine", "gamma", "momentum", "eps")
"""Settings of norm layers that may be null in family module: as the network has them."""
OTHER_FAMILIES = ("depth", "width", "activation", "bias", "residual", "weights", "dropout", "dropout_at")
"""Settings of the networks that bnexp makes."""


class ModelSettings(Settings):
    """The network. Short form: its family."""

    main_setting = "family"

    family: Annotated[str, OneOf(FAMILIES)] = "mlp"
    """mlp: multi-layer perceptron on the flattened image; vgg, resnet: convolutional networks; rnn: recurrent network
    that reads the rows of the image, from top to bottom, as time steps; module: your own network, see `source`."""
    source: Annotated[Annotated[str, AS_WRITTEN] | None, AfterValidator(_source)] = None
    """module: what makes the network: FILE.py:NAME, a class or function in a file beside the YAML file, or MODULE:NAME
    on the import path, such as torchvision.models:resnet18."""
    arguments: Annotated[dict[str, Any], AfterValidator(Arguments)] = Field(default={}, validate_default=True)
    """module: keyword arguments of the call, such as {num_classes: 10}. Arms and grids change one of them as
    `model.arguments.NAME`."""
    depth: Annotated[Count, Field(le=MOST_LAYERS)] | None = None
    """Number of layers. mlp, rnn: hidden layers; vgg: 5, 11, 13, 16 or 19; resnet: 6n+2, such as 20, 56 or 110.

    null = as many as `width` lists, or else mlp 10, rnn 1, vgg 11, resnet 20.
    """
    width: Annotated[int | tuple[int, ...] | None, BeforeValidator(_width, json_schema_input_type=Width)] = None
    """mlp, rnn: units of every hidden layer, or a list with one number per layer; vgg, resnet: channels of the first
    stage.

    null = mlp, rnn 100; vgg 64; resnet 16.
    """
    activation: ActivationName = "sigmoid"
    """Nonlinearity after each hidden layer."""
    bias: Annotated[Literal["auto"] | bool, BeforeValidator(_bias, json_schema_input_type=Bias)] = "auto"
    """Biases of the hidden layers. auto leaves out those that have no effect: right before a norm that subtracts them
    (all kinds over the batch except variance, and instance), and in an rnn also before other norms with a learned β."""
    residual: bool = False
    """mlp: add skip connections around every two hidden layers after the first."""
    weights: WeightKind = "plain"
    """How every layer except the output layer changes its weights before it uses them: plain = not at all; standardized
    = the weights of each unit get mean 0 and variance 1 (Qiao et al. 2019); scaled = they get mean 0 and a variance
    that keeps that of the signal, times a learned gain per unit (Brock et al. 2021)."""
    dropout: Fraction = 0.0
    """Probability with which a unit is dropped in training."""
    dropout_at: Literal["each", "before_norm", "after_norm", "last"] = "each"
    """Where units are dropped: after each hidden layer; right before or after every place of a norm layer, also in arms
    without one; or once, before the output layer (last)."""
    init: InitSettings = InitSettings()
    norm: NormSettings = NormSettings()

    @property
    def spec(self) -> FamilySpec:
        """The record of this family."""
        return FAMILIES[self.family]

    @property
    def layers(self) -> int:
        """The depth, whether given or not."""
        if isinstance(self.width, tuple):
            return len(self.width)
        return self.depth or self.spec.depth

    @property
    def widths(self) -> tuple[int, ...]:
        """mlp, rnn: units of each hidden layer; vgg, resnet: channels of each stage; first to last."""
        if isinstance(self.width, tuple):
            return self.width
        return self.spec.widths(self.layers, self.width or self.spec.width)

    @property
    def blocks(self) -> bool:
        """True if there are residual blocks: the first layer of an mlp is in none, and a block takes two."""
        return self.spec.residual == "always" or (self.residual and self.layers > 2)

    def has_bias(self, *, norm_next: bool = False) -> bool:
        """Return whether a hidden layer has a bias, which `auto` leaves out where it can't do anything.

        That is where fixup's scalars replace it, where a norm layer subtracts it again (with `norm_next` it comes next,
        whatever `norm.placement` says), and in recurrent layers also where β does the same.
        """
        if self.bias != "auto":
            return self.bias
        norm = self.norm
        if self.spec.recurrent:
            return norm.kind == "none" or not (norm.spec.cancels_bias or norm.affine in ("both", "beta"))
        # Also where an addition comes in between: what is added is the same for all images.
        followed = norm_next or norm.placement == "before"
        cancelled = followed and norm.spec.cancels_bias and self.dropout_at != "before_norm"
        return not (self.init.scheme == "fixup" or cancelled)

    @model_validator(mode="before")
    @classmethod
    def _left_to_the_network(cls, value: Any) -> Any:
        """Fill in what a network of one's own decides by itself unless a setting is given."""
        value = cls.expand(value)
        if not isinstance(value, Mapping) or value.get("family") != "module":
            return value
        norm, init = NormSettings.expand(value.get("norm", {})), InitSettings.expand(value.get("init", {}))
        if isinstance(norm, Mapping):
            norm = {"kind": "as_written", "placement": "as_written", **dict.fromkeys(OWN_NORM), **norm}
        if isinstance(init, Mapping):
            init = {"scheme": "as_written", **init}
        return {**value, "norm": norm, "init": init}

    @model_validator(mode="after")
    def _own_network_fits(self) -> Self:
        norm, fields = self.norm, type(self).model_fields
        if not self.spec.own:
            written = "as_written" in (norm.kind, norm.placement, self.init.scheme)
            if written or None in (getattr(norm, name) for name in OWN_NORM):
                raise ValueError("as_written, and null in norm, are for family module, a network of your own")
            if self.source or self.arguments:
                raise ValueError(f"source and arguments are for family module; {self.family} is made by bnexp")
            return self
        if self.source is None:
            raise ValueError("family module needs source: FILE.py:NAME or MODULE:NAME, which makes the network")
        for name in OTHER_FAMILIES:
            if getattr(self, name) != fields[name].get_default():
                raise ValueError(f"{name}: in family module the network's own code decides it; see model.arguments")
        if norm.input:
            raise ValueError("norm.input: true is not for family module; put a norm layer first in the network")
        if self.init.scheme in WITH_SCALARS:
            raise ValueError(f"init {self.init.scheme} is for residual networks of bnexp, not for family module")
        return self

    @model_validator(mode="after")
    def _layers_agree(self) -> Self:
        if isinstance(self.width, tuple):
            if not self.spec.units:
                raise ValueError(f"width: a {self.family} takes one number, the channels of its first stage")
            if self.depth not in (None, len(self.width)):
                raise ValueError(f"depth {self.depth} does not fit the {len(self.width)} layers that width lists")
        if self.residual and self.spec.residual != "optional":
            raise ValueError(f"residual: true is for family mlp; the connections of {self.family} are fixed")
        if self.residual and len(set(self.widths)) > 1:
            raise ValueError("residual: true needs hidden layers of one width")
        name, size = self.norm.grouping
        if uneven := [width for width in self.widths if width % size]:
            raise ValueError(f"norm.{name} {size} does not divide the width {uneven[0]}")
        return self

    @model_validator(mode="after")
    def _places_are_normalised_over(self) -> Self:
        if self.norm.spec.over_places and self.spec.units:
            alone = [name for name, spec in NORMS.items() if not (spec.batch_statistics or spec.over_places)]
            raise ValueError(
                f"norm.kind: {self.norm.kind} is not for family {self.family}: it would normalise every number by "
                f"itself, to β; set {listed(alone, 'or')}"
            )
        return self

    @model_validator(mode="after")
    def _scalars_fit(self) -> Self:
        scheme = self.init.scheme
        if scheme in WITH_SCALARS:
            if self.spec.residual != "always" and not self.residual:
                raise ValueError(f"init {scheme} is for residual networks: family resnet, or mlp with residual: true")
            if self.residual and self.layers < 3:
                raise ValueError(f"init {scheme} needs a residual block: depth 3 or more")
            if self.norm.kind != "none":
                raise ValueError(f"init {scheme} stands in for norm layers; set norm.kind: none with it")
        if scheme == "fixup" and self.weights != "plain":
            raise ValueError(
                f"init fixup makes weights small, and weights: {self.weights} undoes it; use init skipinit"
            )
        return self

    @model_validator(mode="after")
    def _rnn_fits(self) -> Self:
        if self.spec.recurrent:
            if not self.norm.spec.in_rnn:
                kinds = listed((name for name, spec in NORMS.items() if spec.in_rnn), "or")
                raise ValueError(f"norm.kind: {self.norm.kind} is not for family {self.family}; set {kinds}")
            if self.norm.kind != "none" and self.norm.placement == "after":
                raise ValueError(
                    f"norm.placement: after is not for family {self.family}, which normalises what enters the "
                    "activation; set before"
                )
            if self.weights != "plain":
                raise ValueError(f"weights: {self.weights} is not for family {self.family}; set plain")
            if self.dropout_at != "each":
                raise ValueError(
                    f"dropout_at: {self.dropout_at} is not for family {self.family}, which drops what a layer passes "
                    "on; set each"
                )
        return self
