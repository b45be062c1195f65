"""The network families: the depths and widths that they come in, how far they shrink images, what they don't take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from bnexp.config.base import Spec
from bnexp.config.norm import NORMS
from bnexp.config.text import listed

if TYPE_CHECKING:
    from bnexp.config.model import ModelSettings

Image = tuple[int, int, int]
"""Channels, height and width."""


def _layers_alike(depth: int, width: int) -> tuple[int, ...]:
    return (width,) * depth


def _one_place(depth: int, image: Image) -> int:
    return 1


def _anything(model: "ModelSettings") -> None:
    pass


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
    widths: Callable[[int, int], tuple[int, ...]] = _layers_alike
    """From depth and width to the units of each hidden layer, or the channels of each stage.

    Raises ValueError where there is no such depth.
    """
    fewest_places: Callable[[int, Image], int] = _one_place
    """From depth and image to the fewest places (H·W) of a hidden layer."""
    residual: Literal["always", "optional", "never"] = "never"
    """Has residual blocks; optional: where `model.residual` asks for them."""
    recurrent: bool = False
    """Takes an image's rows as time steps, and shares its weights between them."""
    check: Callable[["ModelSettings"], None] = _anything
    """Raises ValueError for settings that the family doesn't take."""


VGG_STAGES = {
    5: (1, 1, 2),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions between the poolings by depth. 11 to 19 are A, B, D and E of Simonyan & Zisserman 2015, table 1, whose
names count the three linear layers there; 5 is a small one of the same make, with the one linear layer it has here."""

VGG_GROWTH = (1, 2, 4, 8, 8)
RESNET_GROWTH = (1, 2, 4)
"""Channels of each stage as multiples of the first stage's."""


def vgg_stages(depth: int) -> tuple[int, ...]:
    """Return the convolutions of each stage.

    Raises:
        ValueError: no such depth.
    """
    if depth not in VGG_STAGES:
        raise ValueError(f"depth {depth}: a vgg has {', '.join(map(str, VGG_STAGES))} layers")
    return VGG_STAGES[depth]


def _vgg_widths(depth: int, width: int) -> tuple[int, ...]:
    return tuple(width * growth for growth in VGG_GROWTH[: len(vgg_stages(depth))])


def _vgg_places(depth: int, image: Image) -> int:
    sides: Sequence[int] = image[1:]
    for _ in vgg_stages(depth)[1:]:
        if min(sides) > 1:  # a pooling over 2×2 places
            sides = [side // 2 for side in sides]
    return prod(sides)


def resnet_blocks(depth: int) -> int:
    """Return the blocks of each of the three stages of a network for small images (He et al. 2016, section 4.2).

    Raises:
        ValueError: no such depth.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth {depth}: a resnet has 6n+2 layers; take 8, 14, 20, 32, 44, 56, 110 or another of them")
    return blocks


def _resnet_widths(depth: int, width: int) -> tuple[int, ...]:
    resnet_blocks(depth)
    return tuple(width * growth for growth in RESNET_GROWTH)


def _resnet_places(depth: int, image: Image) -> int:
    sides: Sequence[int] = image[1:]
    for _ in RESNET_GROWTH[1:]:  # a convolution of stride 2
        sides = [-(-side // 2) for side in sides]
    return prod(sides)


def _check_rnn(model: "ModelSettings") -> None:
    norm = model.norm
    if not norm.spec.in_rnn:
        kinds = listed((name for name, spec in NORMS.items() if spec.in_rnn), "or")
        raise ValueError(f"norm.kind: {norm.kind} is not for family rnn; set {kinds}")
    if norm.kind != "none" and norm.placement == "after":
        raise ValueError(
            "norm.placement: after is not for family rnn, which normalises what enters the activation; set before"
        )
    if model.dropout_at != "each":
        raise ValueError(
            f"dropout_at: {model.dropout_at} is not for family rnn, which drops what a layer hands up; set each"
        )


FAMILIES: dict[str, FamilySpec] = {
    "mlp": FamilySpec("bnexp.nn.mlp:MLP", depth=10, width=100, residual="optional"),
    "vgg": FamilySpec(
        "bnexp.nn.convolutional:VGG",
        depth=11,
        width=64,
        units=False,
        widths=_vgg_widths,
        fewest_places=_vgg_places,
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
    "rnn": FamilySpec("bnexp.nn.rnn:RNN", depth=1, width=100, recurrent=True, check=_check_rnn),
}
"""Network families by the name in model.family."""
