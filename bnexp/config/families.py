"""The depths and widths that the network families come in, and how far they shrink images."""

from collections.abc import Sequence
from math import prod

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

USUAL_DEPTH = {"mlp": 10, "vgg": 11, "resnet": 20, "rnn": 1}
USUAL_WIDTH = {"mlp": 100, "vgg": 64, "resnet": 16, "rnn": 100}

UNITS = ("mlp", "rnn")
"""Families whose layers have units; the others have channels."""


def resnet_blocks(depth: int) -> int:
    """Return the blocks of each of the three stages of a network for small pictures (He et al. 2016, section 4.2).

    Raises:
        ValueError: no such depth.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth {depth}: a resnet has 6n+2 layers; take 8, 14, 20, 32, 44, 56, 110 or another of them")
    return blocks


def vgg_stages(depth: int) -> tuple[int, ...]:
    """Return the convolutions of each stage.

    Raises:
        ValueError: no such depth.
    """
    if depth not in VGG_STAGES:
        raise ValueError(f"depth {depth}: a vgg has {', '.join(map(str, VGG_STAGES))} layers")
    return VGG_STAGES[depth]


def channels(family: str, depth: int, width: int) -> tuple[int, ...]:
    """Return the channels of each stage of a convolutional network.

    Raises:
        ValueError: no such depth.
    """
    if family == "resnet":
        resnet_blocks(depth)
        return tuple(width * growth for growth in RESNET_GROWTH)
    return tuple(width * growth for growth in VGG_GROWTH[: len(vgg_stages(depth))])


def fewest_places(family: str, depth: int, image: tuple[int, int, int]) -> int:
    """Return the places (H·W) where the hidden layers have the fewest; layers of units have one."""
    if family in UNITS:
        return 1
    sides: Sequence[int] = image[1:]
    for _ in range(len(RESNET_GROWTH if family == "resnet" else vgg_stages(depth)) - 1):
        if family == "resnet":  # a convolution of stride 2
            sides = [-(-side // 2) for side in sides]
        elif min(sides) > 1:  # a pooling over 2×2 places
            sides = [side // 2 for side in sides]
    return prod(sides)
