"""VGG for small pictures: 3×3 convolutions in stages of equal size, halved in between, then one linear layer.

Simonyan & Zisserman 2015, arXiv:1409.1556, with the classifier that networks for 32×32 pixels have: the last stage is
averaged over what places are left (one), and there are no hidden fully connected layers.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bnexp.config.families import vgg_stages
from bnexp.nn.kit import Kit
from bnexp.nn.layout import pooled_features, share_images, trials_of


class VGG(nn.Module):
    """K networks of one shape.

    Args:
        kit: makes the layers.
        image: C, H, W of an image; a stage is only halved where both sides have two pixels left.
        classes: units of the output layer.
    """

    def __init__(self, kit: Kit, image: tuple[int, int, int], classes: int):
        super().__init__()
        self._image = image
        features, *sides = image
        self.input = kit.input(features)
        self.stages = nn.ModuleList()
        for convolutions, channels in zip(vgg_stages(kit.model.layers), kit.model.widths, strict=True):
            stage = nn.Sequential()
            for _ in range(convolutions):
                stage.append(kit.hidden("conv", kit.conv(features, channels), channels))
                features = channels
            if min(sides) > 1:
                stage.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
            self.stages.append(stage)
        self.before_output = kit.scalar_before()
        self.output = kit.output(features, classes)

    def forward(self, x_SBP: Float[Tensor, "S B P"]) -> Float[Tensor, "K B classes"]:
        """Return the logits; the input is shared by all trials (S = 1), one per seed, or one per trial."""
        trials = trials_of(self)
        x_BDHW = self.input(share_images(x_SBP, self._image, trials, apart=len(self.input) > 0))
        for stage in self.stages:
            x_BDHW = stage(x_BDHW)
        logits_KBC: Tensor = self.output(self.before_output(pooled_features(x_BDHW, trials)))
        return logits_KBC
