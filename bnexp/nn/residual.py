"""Residual blocks, and Fixup, which lets them train without norm layers.

A block is activation(x + second(activation(first(x)))) (He et al. 2016, arXiv:1512.03385). Fixup: Zhang et al. 2019,
arXiv:1901.09321, section 3.
"""

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.factory import LayerFactory, sequence
from bnexp.nn.layers import Conv2d, Linear, ScalarMultiplier
from bnexp.nn.layout import Activations
from bnexp.nn.plain_layers import Residual
from bnexp.nn.to_torch import Converter

LAYERS_PER_BRANCH = 2
"""m in Fixup's rule."""

Weights = Linear | Conv2d
Joined = Float[Tensor, "K B C"] | Float[Tensor, "B E h w"]
"""Output of a block: activations, in images perhaps of other channels and sides."""


class ResidualBlock(nn.Module):
    """Two layers and a way around them.

    The first is like any hidden layer. The norm layer of the second stands before the addition, where `placement`
    doesn't move it, or after it, and there before or after the activation.

    Args:
        factory: makes the layers.
        first: the weights of the first layer.
        like: makes those of the second, `factory.linear` or `factory.conv`.
        features: that each of them outputs.
        shortcut: brings the input to the shape of the output; None where it has that shape.
    """

    def __init__(
        self,
        factory: LayerFactory,
        first: Weights,
        like: Callable[..., Weights],
        features: int,
        shortcut: Callable[[Activations], Joined] | None = None,
    ):
        super().__init__()
        self._shortcut = shortcut
        in_branch = factory.model.norm.addition == "before"
        name = "linear" if isinstance(first, Linear) else "conv"
        self.first = sequence([*factory.fixup_bias(), (name, first), *factory.activated(features)])
        second = [*factory.fixup_bias(), (name, like(features, features, norm_next=in_branch))]
        if factory.fixup:
            second.append(("multiplier", ScalarMultiplier(factory.trials)))
        self.second = sequence([*second, *(factory.norm_slot(features) if in_branch else ())])
        self.joined = sequence(factory.activated(features, norm=not in_branch))

    def forward(self, x: Activations) -> Joined:
        """Return the activated sum of the input and the branch."""
        skip = x if self._shortcut is None else self._shortcut(x)
        joined: Joined = self.joined(skip + self.second(self.first(x)))
        return joined

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        first, second = _with_weights(self)
        yield Residual(*to.layers(self.first, self.second), added=second.weight.shape[1] - first.weight.shape[2])
        yield from to.layers(self.joined)


def set_fixup_gains(network: nn.Module) -> None:
    """Tell the layers of a network of L blocks how fixup scales their initial weights.

    L^(−1/(2m−2)) in a branch of m layers, 0 in its last one, and 0 in the network's last layer.
    """
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    for block in blocks:
        first, second = _with_weights(block)
        first.fixup_gain = len(blocks) ** (-1 / (2 * LAYERS_PER_BRANCH - 2))
        second.fixup_gain = 0.0
    _with_weights(network)[-1].fixup_gain = 0.0


def _with_weights(network: nn.Module) -> list[Weights]:
    return [module for module in network.modules() if isinstance(module, Weights)]
