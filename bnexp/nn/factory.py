"""Makes the layers of a network: weights, activation, the places for a norm layer and for dropout; residual blocks.

A block is activation(x + second(activation(first(x)))) (He et al. 2016, arXiv:1512.03385). Two schemes let blocks train
without norm layers: Fixup (Zhang et al. 2019, arXiv:1901.09321, section 3) and SkipInit (De & Smith 2020,
arXiv:2002.10444, section 4).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from bnexp.config.model import ModelSettings
from bnexp.nn.layers import ACTIVATIONS, GAINS, Activations, Conv2d, Dropout, Linear, ScalarBias, ScalarMultiplier
from bnexp.nn.norm import Noise
from bnexp.nn.plain_layers import Converter, Residual
from bnexp.streams import TrialRandom

Steps = Iterable[tuple[str, nn.Module]]


@dataclass(frozen=True)
class LayerFactory:
    """Makes the layers of K trials.

    Layers, activations and dropout have the same places in every arm: a norm layer is put in between or left out.
    """

    models: Sequence[ModelSettings]
    """Settings of each trial; they differ in dropout and init only."""
    draws: TrialRandom | None
    """Random numbers for dropout and noise; None where nothing will be trained."""

    @property
    def model(self) -> ModelSettings:
        """The settings that all trials share."""
        return self.models[0]

    @property
    def trials(self) -> int:
        """K."""
        return len(self.models)

    @property
    def fixup(self) -> bool:
        """True if learned scalars replace biases."""
        return self.model.init.scheme == "fixup"

    def linear(self, features: int, units: int, *, norm_next: bool = False) -> Linear:
        """Return a hidden fully connected layer; `norm_next`: a norm place comes next, whatever the placement."""
        bias = self.model.has_bias(norm_next=norm_next)
        return Linear(self.trials, features, units, bias=bias, weights=self.model.weights)

    def conv(self, features: int, channels: int, *, stride: int = 1, norm_next: bool = False) -> Conv2d:
        """Return a convolution; `norm_next` as in linear."""
        bias = self.model.has_bias(norm_next=norm_next)
        return Conv2d(self.trials, features, channels, stride=stride, bias=bias, weights=self.model.weights)

    def output(self, features: int, classes: int) -> Linear:
        """Return the output layer, whose weights are plain."""
        return Linear(self.trials, features, classes)

    def fixup_bias(self, name: str = "outer_bias") -> Steps:
        """Yield the scalar bias that fixup puts before every layer but the first; without fixup nothing."""
        if self.fixup:
            yield name, ScalarBias(self.trials)

    def branch_multiplier(self) -> Steps:
        """Yield the scalar at the end of each residual branch, which fixup and skipinit have."""
        if self.fixup:
            yield "multiplier", ScalarMultiplier(self.trials)
        elif self.model.init.scheme == "skipinit":
            yield "multiplier", ScalarMultiplier(self.trials, start=0.0, share=1.0)

    def before_output(self) -> nn.Sequential:
        """Return dropout, if it is before the output layer only, and fixup's scalar."""
        dropout = self._dropout() if self.model.dropout_at == "last" else ()
        return sequence([*dropout, *self.fixup_bias()])

    def input(self, features: int) -> nn.Sequential:
        """Return the input's norm layer, or nothing."""
        return sequence(self.norm_slot(features) if self.model.norm.input else ())

    def hidden(self, name: str, layer: nn.Module, features: int) -> nn.Sequential:
        """Return a hidden layer: weights, activation, norm where placement says, dropout."""
        return sequence([(name, layer), *self.activated(features)])

    def activated(self, features: int, *, norm: bool = True) -> Steps:
        """Yield the steps after the weights: activation, norm where placement says, dropout."""
        placement = self.model.norm.placement if norm else ""
        if placement == "before":
            yield from self.norm_slot(features)
        yield from self.fixup_bias("inner_bias")
        yield "activation", ACTIVATIONS[self.model.activation]()
        if placement == "after":
            yield from self.norm_slot(features)
        if self.model.dropout_at == "each":
            yield from self._dropout()

    def norm_slot(self, features: int) -> Steps:
        """Yield the norm layer with its noise, if there is one, and dropout, if it is beside norm layers."""
        model = self.model
        if model.dropout_at == "before_norm":
            yield from self._dropout()
        if model.norm.kind != "none":
            yield "norm", model.norm.spec.load()(self.trials, features, model.norm)
        if model.norm.spec.noise and self.draws is not None:
            yield "noise", Noise(self.trials, features, self.draws)
        if model.dropout_at == "after_norm":
            yield from self._dropout()

    def _dropout(self) -> Steps:
        if self.draws is not None and any(model.dropout > 0 for model in self.models):
            yield "dropout", Dropout([model.dropout for model in self.models], self.draws)


def sequence(steps: Steps) -> nn.Sequential:
    """Return named modules as one."""
    return nn.Sequential(OrderedDict(steps))


LAYERS_PER_BRANCH = 2
"""m in Fixup's rule."""

Weights = Linear | Conv2d
Joined = Float[Tensor, "K B C"] | Float[Tensor, "B E h w"]
"""Output of a block: activations, for images perhaps with other numbers of channels and pixels."""


class ResidualBlock(nn.Module):
    """Two layers and a way around them.

    The first, made of the given weights, is like any hidden layer. The weights of the second are made by `like`, which
    is `factory.linear` or `factory.conv`. Its norm layer comes before the addition, where `placement` has no effect on
    it, or after it, and there before or after the activation. A shortcut brings the input to the shape of the output.
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
        last = like(features, features, norm_next=in_branch)
        second = [*factory.fixup_bias(), (name, last), *factory.branch_multiplier()]
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


def set_gains(network: nn.Module, activation: str) -> None:
    """Tell all layers but the first of the activation's gain, and how fixup scales the initial weights of each.

    In a network of L blocks that is L^(−1/(2m−2)) in a branch of m layers, 0 in its last one, and 0 in the network's
    last layer.
    """
    for layer in _with_weights(network)[1:]:
        layer.activation_gain = GAINS[activation]
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    for block in blocks:
        first, second = _with_weights(block)
        first.fixup_gain = len(blocks) ** (-1 / (2 * LAYERS_PER_BRANCH - 2))
        second.fixup_gain = 0.0
    for last in _with_weights(network)[-1:]:
        last.fixup_gain = 0.0


def _with_weights(network: nn.Module) -> list[Weights]:
    return [module for module in network.modules() if isinstance(module, Weights)]
