"""The multi-layer perceptron: hidden layers with a place for a norm layer before or after the activation."""

from collections.abc import Iterator
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.factory import LayerFactory, ResidualBlock, sequence
from bnexp.nn.layers import share_features, trials_of
from bnexp.nn.plain_layers import Converter


class MLP(nn.Module):
    """K perceptrons of one shape; the pixels of an image are the features of the input."""

    def __init__(self, factory: LayerFactory, image: tuple[int, int, int], classes: int):
        super().__init__()
        widths = factory.model.widths
        pixels = image[0] * image[1] * image[2]
        self.input = factory.input(pixels)
        fans = list(pairwise((pixels, *widths)))
        self.hidden = nn.ModuleList(_residual(factory, fans) if factory.model.residual else _plain(factory, fans))
        self.before_output = factory.before_output()
        self.output = factory.output(widths[-1], classes)

    def forward(self, x_SBC: Float[Tensor, "S B in"]) -> Float[Tensor, "K B classes"]:
        x_KBC = self.input(share_features(x_SBC, trials_of(self))) if len(self.input) else x_SBC
        for layer in self.hidden:
            x_KBC = layer(x_KBC)
        logits_KBC: Tensor = self.output(self.before_output(x_KBC))
        return logits_KBC

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield nn.Flatten()
        yield from to.layers(*self.children())


def _plain(factory: LayerFactory, fans: list[tuple[int, int]]) -> list[nn.Module]:
    return [factory.hidden("linear", factory.linear(*fan), fan[1]) for fan in fans]


def _residual(factory: LayerFactory, fans: list[tuple[int, int]]) -> list[nn.Module]:
    """Return the layers with every two after the first as a block; with an even depth the last is by itself."""
    width, pairs = fans[0][1], (len(fans) - 1) // 2
    blocks = [ResidualBlock(factory, factory.linear(width, width), factory.linear, width) for _ in range(pairs)]
    alone = [
        sequence([*factory.fixup_bias(), *layer.named_children()]) for layer in _plain(factory, fans[1 + 2 * pairs :])
    ]
    return [*_plain(factory, fans[:1]), *blocks, *alone]
