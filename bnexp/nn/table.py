"""The layers of a network with output shapes and parameter counts, as `bnexp show` prints them."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from bnexp.config.model import ModelSettings
from bnexp.draws import SeedDraws
from bnexp.nn.build import skeleton
from bnexp.nn.conv import Conv2d
from bnexp.nn.linear import Linear
from bnexp.nn.norm import Norm


@dataclass(frozen=True)
class LayerRow:
    """One layer of one trial's network."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Of what it hands on for one image: features, or channels, height, width."""
    trainable: int
    """Learned numbers: weights, biases, γ, β."""
    fixed: int
    """Numbers that are kept but not learned: running means and variances."""
    products: int
    """Multiplications by weights for one image."""

    @property
    def output(self) -> int:
        """Numbers that it hands on for one image."""
        return prod(self.shape)

    @property
    def parameters(self) -> int:
        """All numbers of the layer."""
        return self.trainable + self.fixed


def layer_table(
    model: ModelSettings, image: tuple[int, int, int], classes: int, draws: SeedDraws | None = None
) -> list[LayerRow]:
    """Return the layers in the order in which data pass them, with draws also those that only training has.

    Allocates nothing: runs on torch's meta device.
    """
    rows: list[LayerRow] = []

    def describe(name: str, layer: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            trainable = sum(p.numel() for p in module.parameters())
            kept = [module.get_buffer(name) for name in module.state_dict() if name.startswith("running")]
            shape = tuple(output.shape[1:] if output.ndim == 4 else output.shape[2:])
            weights = module.weight.numel() if isinstance(module, Linear | Conv2d) else 0
            products = weights * prod(shape[1:])
            rows.append(LayerRow(name, _kind(module), shape, trainable, sum(b.numel() for b in kept), products))

        layer.register_forward_hook(hook)

    with torch.device("meta"):
        network = skeleton([model], image, classes, draws).eval()
        for name, layer in network.named_modules():
            if next(layer.children(), None) is None and not isinstance(layer, nn.Sequential):
                describe(name, layer)
        network(torch.empty(1, 2, prod(image)))
    return rows


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    return name if isinstance(module, Norm | Linear | Conv2d) else name.lower()
