"""Convolutional networks for small images: VGG (Simonyan & Zisserman 2015, arXiv:1409.1556) and residual networks (He
et al. 2016, arXiv:1512.03385, section 4.2)."""

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.model import resnet_blocks, vgg_stages
from bnexp.nn.factory import LayerFactory, ResidualBlock
from bnexp.nn.layers import pooled_features, share_images, trials_of
from bnexp.nn.plain_layers import Converter


class Convolutional(nn.Module):
    """K networks of one shape; a family builds the body."""

    images = True
    """Norm layers get images, not features."""

    def __init__(
        self,
        factory: LayerFactory,
        image: tuple[int, int, int],
        body: dict[str, nn.Module],
        features: int,
        classes: int,
    ):
        super().__init__()
        self._image, self._body = image, tuple(body)
        self.input = factory.input(image[0])
        for name, layers in body.items():
            self.add_module(name, layers)
        self.before_output = factory.before_output()
        self.output = factory.output(features, classes)

    def forward(self, x_SBP: Float[Tensor, "S B P"]) -> Float[Tensor, "K B classes"]:
        trials = trials_of(self)
        x_BDHW = self.input(share_images(x_SBP, self._image, trials, apart=len(self.input) > 0))
        for name in self._body:
            x_BDHW = self.get_submodule(name)(x_BDHW)
        logits_KBC: Tensor = self.output(self.before_output(pooled_features(x_BDHW, trials)))
        return logits_KBC

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield from to.layers(self.input, *(self.get_submodule(name) for name in self._body))
        yield from (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        yield from to.layers(self.before_output, self.output)


class VGG(Convolutional):
    """3×3 convolutions in stages of equal size, halved in between, then one linear layer.

    The classifier is that for images of 32×32 pixels: the last stage is averaged over the remaining places (one), and
    there are no hidden fully connected layers.
    """

    def __init__(self, factory: LayerFactory, image: tuple[int, int, int], classes: int):
        features, *sides = image
        stages = nn.Sequential()
        for convolutions, channels in zip(vgg_stages(factory.model.layers), factory.model.widths, strict=True):
            stage = nn.Sequential()
            for _ in range(convolutions):
                stage.append(factory.hidden("conv", factory.conv(features, channels), channels))
                features = channels
            if min(sides) > 1:
                stage.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
            stages.append(stage)
        super().__init__(factory, image, {"stages": stages}, features, classes)


class ResNet(Convolutional):
    """One convolution, three stages of n blocks, the second and third at half the size and twice the channels, the
    average over all places, and one linear layer: 6n+2 layers. Shortcuts have no weights (option A).
    """

    def __init__(self, factory: LayerFactory, image: tuple[int, int, int], classes: int):
        blocks, features = resnet_blocks(factory.model.layers), factory.model.widths[0]
        stem = factory.hidden("conv", factory.conv(image[0], features), features)
        stages = nn.Sequential()
        for channels in factory.model.widths:
            first = _block(factory, features, channels)
            stages.append(nn.Sequential(first, *(_block(factory, channels, channels) for _ in range(blocks - 1))))
            features = channels
        super().__init__(factory, image, {"stem": stem, "stages": stages}, features, classes)


def _block(factory: LayerFactory, features: int, channels: int) -> ResidualBlock:
    grows = channels > features
    first = factory.conv(features, channels, stride=2 if grows else 1)
    shortcut = partial(_padded, features=features, channels=channels) if grows else None
    return ResidualBlock(factory, first, factory.conv, channels, shortcut)


def _padded(x_BDHW: Float[Tensor, "B D H W"], features: int, channels: int) -> Float[Tensor, "B E h w"]:
    """Return every second pixel, with channels of zeros after each trial's own."""
    halved_BKCHW = x_BDHW[:, :, ::2, ::2].unflatten(1, (-1, features))
    padded_BDHW = F.pad(halved_BKCHW, (0, 0, 0, 0, 0, channels - features)).flatten(1, 2)
    return padded_BDHW.contiguous(memory_format=torch.channels_last)
