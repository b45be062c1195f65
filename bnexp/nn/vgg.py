"""VGG for small pictures: 3×3 convolutions in stages of equal size, halved in between, then one linear layer.

Simonyan & Zisserman 2015, arXiv:1409.1556, with the classifier that networks for 32×32 pixels have: the last stage is
averaged over what places are left (one), and there are no hidden fully connected layers.
"""

from torch import nn

from bnexp.config.families import vgg_stages
from bnexp.nn.convolutional import Convolutional
from bnexp.nn.kit import Kit


class VGG(Convolutional):
    """K networks of one shape.

    Args:
        kit: makes the layers.
        image: C, H, W of an image; a stage is only halved where both sides have two pixels left.
        classes: units of the output layer.
    """

    def __init__(self, kit: Kit, image: tuple[int, int, int], classes: int):
        features, *sides = image
        stages = nn.Sequential()
        for convolutions, channels in zip(vgg_stages(kit.model.layers), kit.model.widths, strict=True):
            stage = nn.Sequential()
            for _ in range(convolutions):
                stage.append(kit.hidden("conv", kit.conv(features, channels), channels))
                features = channels
            if min(sides) > 1:
                stage.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
            stages.append(stage)
        super().__init__(kit, image, {"stages": stages}, features, classes)
