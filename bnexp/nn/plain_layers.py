"""The network of one trial in plain torch.nn, and the layers that it needs and torch.nn lacks.

The source of these layers goes into the model.py of an export, which only imports torch; so shapes are described in
words here. x is (B, C), of images (B, C, H, W), of time steps (B, T, C).
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def layer_from_state(kind: type[nn.Module], state: Mapping[str, Tensor], *sizes: Any, **options: Any) -> nn.Module:
    """Return a layer of a kind that holds copies of the given numbers, which are its whole state."""
    with torch.device("meta"):  # where no initial weights are drawn
        layer = kind(*sizes, **options)
    copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    layer.load_state_dict(copies, assign=True)
    return layer


class ScaledPixels(nn.Module):
    """(pixel - shift) / spread * factor, of pixels in any type, also of flattened images."""

    def __init__(self, image: tuple[int, int, int]):
        super().__init__()
        self.image = image
        self.shift, self.spread, self.factor = (nn.Buffer(torch.ones(image)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        scaled = (x.to(self.shift).reshape(-1, *self.image) - self.shift) / self.spread
        return scaled.to(self.factor) * self.factor

    def extra_repr(self) -> str:
        return repr(self.image)


class WhitenedPixels(nn.Module):
    """(pixel - mean) @ matrix * factor over all pixels of an image, in any type."""

    def __init__(self, image: tuple[int, int, int]):
        super().__init__()
        self.image = image
        pixels = image[0] * image[1] * image[2]
        # Components with little variance are small differences of large numbers.
        self.mean = nn.Buffer(torch.zeros(pixels, dtype=torch.float64))
        self.matrix = nn.Buffer(torch.eye(pixels, dtype=torch.float64))
        self.factor = nn.Buffer(torch.ones(image))

    def forward(self, x: Tensor) -> Tensor:
        white = (x.flatten(1).to(self.mean) - self.mean) @ self.matrix
        return white.view(-1, *self.image).to(self.factor) * self.factor

    def extra_repr(self) -> str:
        return repr(self.image)


class Whitening(nn.Module):
    """weight (x - mean) + bias over the channels, in images at every place alike."""

    def __init__(self, features: int):
        super().__init__()
        self.features = features
        self.mean, self.bias = (nn.Buffer(torch.zeros(features)) for _ in range(2))
        self.weight = nn.Buffer(torch.eye(features))

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = nn.functional.linear(x.movedim(1, -1) - self.mean, self.weight, self.bias)
        return mapped.movedim(-1, 1)

    def extra_repr(self) -> str:
        return repr(self.features)


class ScaleAndShift(nn.Module):
    """weight * x + bias for every channel: what a norm over the batch does in evaluation."""

    def __init__(self, features: int):
        super().__init__()
        self.features = features
        self.weight, self.bias = nn.Buffer(torch.ones(features)), nn.Buffer(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return (x.movedim(1, -1) * self.weight + self.bias).movedim(-1, 1)

    def extra_repr(self) -> str:
        return repr(self.features)


class RMSNorm(nn.Module):
    """weight * x / root of the mean square of each sample + bias, with a weight and a bias for every channel."""

    def __init__(self, features: int, eps: float):
        super().__init__()
        self.features, self.eps = features, eps
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        square = x.square().flatten(1).mean(1).view(-1, *(1 for _ in x.shape[1:]))
        y = x / (square + self.eps).sqrt()
        return (y.movedim(1, -1) * self.weight + self.bias).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"{self.features}, eps={self.eps}"


OTHER_NORMS: tuple[type[nn.Module], ...] = (ScaleAndShift, Whitening, RMSNorm)
"""Norm layers that torch lacks."""


class Residual(nn.Module):
    """x + branch(x); where the branch has added channels and halves the sides, x is every second pixel and zeros."""

    def __init__(self, *branch: nn.Module, added: int = 0):
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        skip = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added)) if self.added else x
        joined: Tensor = skip + self.branch(x)
        return joined

    def extra_repr(self) -> str:
        return f"added={self.added}"


class AddScalar(nn.Module):
    """x + number."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.number


class ScaleByScalar(nn.Module):
    """x * number."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.number


class ImageRowsAsSteps(nn.Module):
    """The rows of images as time steps, top to bottom; all channels of a row are its features."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


class TakeLastStep(nn.Module):
    """The last of the time steps."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


class StepLinear(nn.Module):
    """norm(linear(x)) at one time step: each step has a norm of its own, or all share one, or there is none."""

    def __init__(self, linear: nn.Linear, *norms: nn.Module):
        super().__init__()
        self.linear = linear
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor, step: int) -> Tensor:
        y: Tensor = self.linear(x)
        return self.norms[step % len(self.norms)](y) if len(self.norms) else y


class Recurrent(nn.Module):
    """h = activation(input(x) + state(h)) from one time step to the next, beginning with zeros; h of all steps."""

    def __init__(self, input: StepLinear, state: StepLinear, activation: nn.Module):
        super().__init__()
        self.input, self.state, self.activation = input, state, activation

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], self.state.linear.out_features)
        states = []
        for step in range(x.shape[1]):
            h = self.activation(self.input(x[:, step], step) + self.state(h, step))
            states.append(h)
        return torch.stack(states, 1)


def to_torch(network: nn.Module) -> nn.Sequential:
    """Return a copy of one trial's network, in evaluation mode, that takes x_BCHW and returns logits (B, classes).

    Its layers stand in the order of the data. Layers that do nothing in evaluation (dropout, noise) are left out, as is
    an identity in place of an activation.

    Raises:
        ValueError: there are several trials in it.
    """
    return Converter(network).network


class OverFeatures(nn.Module):
    """A norm layer where inputs have other axes than it expects: the features come last or, with axis 1, second."""

    def __init__(self, layer: nn.Module, axis: int):
        super().__init__()
        self.layer, self.axis = layer, axis

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2) if self.axis == -1 else x.flatten(2)[..., None]
        normalised: Tensor = self.layer(rows)
        return normalised.reshape(x.shape)

    def extra_repr(self) -> str:
        return repr(self.axis)


class InTurn(nn.ModuleList):
    """Layers after a layer: one for each time that a pass calls it, taken in turn."""

    turn = 0

    def __init__(self, *layers: nn.Module):
        super().__init__(layers)

    def forward(self, x: Tensor) -> Tensor:
        layer = self[self.turn]
        self.turn = (self.turn + 1) % len(self)
        made: Tensor = layer(x)
        return made


def put(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Replace a layer with another."""
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, layer)


def hang_behind(layer: nn.Module, layers: InTurn) -> None:
    """Let a layer pass its output through others, which are its child norm_behind."""
    layer.add_module("norm_behind", layers)
    layer.register_forward_hook(lambda layer, inputs, output: layer.norm_behind(output))


class Converter:
    """Turns layers of one trial into plain layers of torch, by the method `to_torch` of layers with the trial axis.

    Attributes:
        images: whether norm layers get images (B, C, H, W) and not features.
        network: the result.
        made_from: the layer that each of its layers was made from.
    """

    def __init__(self, network: nn.Module):
        if (trials := len(next(network.parameters()))) != 1:
            raise ValueError(f"a plain network is that of one trial, and here are {trials}")
        self.images: bool = getattr(network, "images", False)
        self.made_from: dict[nn.Module, nn.Module] = {}
        with torch.no_grad():
            self.network = nn.Sequential(*self.layers(network)).eval()

    @classmethod
    def of(cls, *, images: bool) -> "Converter":
        """Return one for single layers, which get images or features."""
        converter = cls.__new__(cls)
        converter.images, converter.made_from = images, {}
        return converter

    def layers(self, *modules: nn.Module) -> Iterator[nn.Module]:
        """Yield the plain layers that do what some modules do in evaluation, one after the other.

        Raises:
            NotImplementedError: one of them has numbers of its own, and no method `to_torch`.
        """
        for module in modules:
            if convert := getattr(module, "to_torch", None):
                for made in convert(self):
                    self.made_from.setdefault(made, module)
                    yield made
            elif isinstance(module, nn.Sequential | nn.ModuleList):
                yield from self.layers(*module)
            elif next(module.parameters(), None) is not None:
                raise NotImplementedError(f"{type(module).__name__} can't be exported: it has no method to_torch")
            elif not isinstance(module, nn.Identity):
                yield copy.deepcopy(module)
