"""The residual networks for small pictures (He et al. 2016, arXiv:1512.03385, section 4.2).

One convolution, three stages of n blocks, the second and third at half the size and twice the channels, the average
over all places, and one linear layer: 6n+2 layers. Shortcuts have no weights (option A).
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.families import resnet_blocks
from bnexp.nn.convolutional import Convolutional
from bnexp.nn.kit import Kit
from bnexp.nn.residual import ResidualBlock


class ResNet(Convolutional):
    """K networks of one shape.

    Args:
        kit: makes the layers.
        image: C, H, W of an image.
        classes: units of the output layer.
    """

    def __init__(self, kit: Kit, image: tuple[int, int, int], classes: int):
        blocks, features = resnet_blocks(kit.model.layers), kit.model.widths[0]
        stem = kit.hidden("conv", kit.conv(image[0], features), features)
        stages = nn.Sequential()
        for channels in kit.model.widths:
            first = _block(kit, features, channels)
            stages.append(nn.Sequential(first, *(_block(kit, channels, channels) for _ in range(blocks - 1))))
            features = channels
        super().__init__(kit, image, {"stem": stem, "stages": stages}, features, classes)


def _block(kit: Kit, features: int, channels: int) -> ResidualBlock:
    grows = channels > features
    first = kit.conv(features, channels, stride=2 if grows else 1)
    second = kit.conv(channels, channels, norm_next=kit.norm_in_branch)
    shortcut = partial(_padded, features=features, channels=channels) if grows else None
    return ResidualBlock(kit, first, second, channels, shortcut)


def _padded(x_BDHW: Float[Tensor, "B D H W"], features: int, channels: int) -> Float[Tensor, "B E h w"]:
    """Return every second pixel, with channels of zeros behind each trial's own."""
    halved_BKCHW = x_BDHW[:, :, ::2, ::2].unflatten(1, (-1, features))
    padded_BDHW = F.pad(halved_BKCHW, (0, 0, 0, 0, 0, channels - features)).flatten(1, 2)
    return padded_BDHW.contiguous(memory_format=torch.channels_last)
