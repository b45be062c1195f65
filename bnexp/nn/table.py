"""The layers of a network with output shapes and parameter counts, as `bnexp show` prints them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.config.model import ModelSettings
from bnexp.nn.build import FAMILIES
from bnexp.nn.norm import Norm


@dataclass(frozen=True)
class LayerRow:
    """One layer of one trial's network."""

    name: str
    kind: str
    output: int
    """Features that it hands on."""
    trainable: int
    """Learned numbers: weights, biases, γ, β."""
    fixed: int
    """Numbers that are kept but not learned: running means and variances."""

    @property
    def parameters(self) -> int:
        """All numbers of the layer."""
        return self.trainable + self.fixed


def layer_table(model: ModelSettings, features: int, classes: int) -> list[LayerRow]:
    """Return the layers in the order in which data pass them. Allocates nothing: runs on torch's meta device."""
    rows: list[LayerRow] = []

    def describe(name: str, layer: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            trainable = sum(p.numel() for p in module.parameters())
            kept = [module.get_buffer(name) for name in module.state_dict() if name.startswith("running")]
            rows.append(LayerRow(name, _kind(module), output.shape[-1], trainable, sum(b.numel() for b in kept)))

        layer.register_forward_hook(hook)

    with torch.device("meta"):
        network = FAMILIES[model.family]([model], features, classes).eval()
        for name, layer in network.named_modules():
            if not isinstance(layer, nn.Sequential | nn.ModuleList | FAMILIES[model.family]):
                describe(name, layer)
        network(torch.empty(1, 2, features))
    return rows


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    return name if isinstance(module, Norm) or name == "Linear" else name.lower()
