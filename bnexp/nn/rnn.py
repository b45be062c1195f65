"""The recurrent network: the rows of an image are its time steps, and batch norm is where Cooijmans et al. put it.

h_t = f(W_x x_t + W_h h_{t−1} + b) with h_0 = 0. With a norm layer each of the two products is normalised by itself,
with a γ of its own, and there is one β (Cooijmans et al. 2017, arXiv:1603.09025, equation 6); with `recurrent: false`
only the first (Laurent et al. 2016, arXiv:1510.01378). Layer norm likewise (Ba et al. 2016, arXiv:1607.06450,
appendix).

Shapes: T time steps, N = T·B samples of all steps, those of the first step first.
"""

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn import plain_layers
from bnexp.nn.factory import LayerFactory
from bnexp.nn.layers import Linear, share_features, trials_of
from bnexp.nn.norm import Norm
from bnexp.nn.plain_layers import Converter


class RNN(nn.Module):
    """K recurrent networks of one shape; the last step's state of the last layer goes to the output layer.

    Attributes:
        image: C, H, W.
    """

    def __init__(self, factory: LayerFactory, image: tuple[int, int, int], classes: int):
        super().__init__()
        self.image = image
        channels, height, width = image
        widths = factory.model.widths
        self.input = factory.input(channels * height * width)
        fans = list(pairwise((channels * width, *widths)))
        self.hidden = nn.ModuleList(
            Recurrent(factory, *fan, height, last=number == len(fans)) for number, fan in enumerate(fans, start=1)
        )
        self.output = factory.output(widths[-1], classes)

    def forward(self, x_SBP: Float[Tensor, "S B P"]) -> Float[Tensor, "K B classes"]:
        if len(self.input):
            x_SBP = self.input(share_features(x_SBP, trials_of(self)))
        x_KNC = x_SBP.unflatten(-1, self.image).permute(0, 3, 1, 2, 4).flatten(3).flatten(1, 2)
        for layer in self.hidden:
            x_KNC = layer(x_KNC)
        logits_KBC: Tensor = self.output(x_KNC)
        return logits_KBC

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        if len(self.input):
            yield from (nn.Flatten(), *to.layers(self.input), nn.Unflatten(1, self.image))
        yield plain_layers.ImageRowsAsSteps()
        yield from to.layers(*self.hidden)
        yield plain_layers.TakeLastStep()
        yield from to.layers(self.output)


class Recurrent(nn.Module):
    """One recurrent layer; what comes from its input is computed for all steps at once."""

    def __init__(self, factory: LayerFactory, features: int, units: int, steps: int, *, last: bool):
        super().__init__()
        self._steps, self.last = steps, last
        settings = factory.model.norm
        self.input = Way(
            Linear(factory.trials, features, units, bias=factory.model.has_bias()),
            _norm(factory, units, steps, settings.affine or "both"),
        )
        # There is one β, and one b.
        affine = {None: "gamma", "both": "gamma", "gamma": "gamma", "beta": "none", "none": "none"}[settings.affine]
        self.recurrent = Way(
            Linear(factory.trials, units, units, bias=False),
            _norm(factory, units, steps, affine) if settings.recurrent else None,
        )
        after = dict(factory.activated(units, norm=False))
        self.activation, self.dropout = after["activation"], after.get("dropout")

    def forward(self, x_SNC: Float[Tensor, "S N in"]) -> Float[Tensor, "K M units"]:
        """Return the states of all steps, or of the last one."""
        states, inputs = [], self.input(x_SNC).chunk(self._steps, 1)
        h_KBC = torch.zeros_like(inputs[0])
        for step, input_KBC in enumerate(inputs):
            h_KBC = self.activation(input_KBC + self.recurrent(h_KBC, step))
            states.append(h_KBC)
        # In the memory layout of linear layers' outputs.
        handed_up = h_KBC if self.last else torch.cat([state.mT for state in states], 2).mT
        return handed_up if self.dropout is None else self.dropout(handed_up)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        ways = self.input.at_step(to), self.recurrent.at_step(to)
        yield plain_layers.Recurrent(*ways, copy.deepcopy(self.activation))


class Way(nn.Module):
    """Weights and perhaps a norm layer: one of the two inputs of the activation."""

    def __init__(self, linear: Linear, norm: Norm | None):
        super().__init__()
        self.linear, self.norm = linear, norm

    def forward(self, x_SNC: Float[Tensor, "S N in"], step: int | None = None) -> Float[Tensor, "K N out"]:
        """Return the normalised product of one step, or without its number of all of them at once."""
        y_KNC: Tensor = self.linear(x_SNC)
        return y_KNC if self.norm is None else self.norm(y_KNC, step)

    def at_step(self, to: Converter) -> plain_layers.StepLinear:
        """Return the first trial's weights with the norm of each step, one for all of them, or none."""
        linear, *norms = to.layers(self.linear, *([] if self.norm is None else [self.norm]))
        assert isinstance(linear, nn.Linear)
        return plain_layers.StepLinear(linear, *norms)


def _norm(factory: LayerFactory, units: int, steps: int, affine: str) -> Norm | None:
    settings = factory.model.norm.model_copy(update={"affine": affine})
    if settings.kind == "none":
        return None
    kind: type[Norm] = settings.spec.load()
    return kind.for_steps(factory.trials, units, settings, steps)
