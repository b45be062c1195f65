"""What convolutional networks share: images in at one end, every channel's mean into a linear layer at the other."""

from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.kit import Kit
from bnexp.nn.layout import pooled_features, share_images, trials_of


class Convolutional(nn.Module):
    """K networks of one shape; a family builds the body.

    Args:
        kit: makes the layers.
        image: C, H, W of an image.
        body: the layers with convolutions, by the name under which the network keeps them, in the order in which data
            pass them.
        features: channels that the last of them hands on.
        classes: units of the output layer.
    """

    def __init__(self, kit: Kit, image: tuple[int, int, int], body: dict[str, nn.Module], features: int, classes: int):
        super().__init__()
        self._image, self._body = image, tuple(body)
        self.input = kit.input(image[0])
        for name, layers in body.items():
            self.add_module(name, layers)
        self.before_output = kit.before_output()
        self.output = kit.output(features, classes)

    def forward(self, x_SBP: Float[Tensor, "S B P"]) -> Float[Tensor, "K B classes"]:
        """Return the logits; the input is shared by all trials (S = 1), one per seed, or one per trial."""
        trials = trials_of(self)
        x_BDHW = self.input(share_images(x_SBP, self._image, trials, apart=len(self.input) > 0))
        for name in self._body:
            x_BDHW = self.get_submodule(name)(x_BDHW)
        logits_KBC: Tensor = self.output(self.before_output(pooled_features(x_BDHW, trials)))
        return logits_KBC
