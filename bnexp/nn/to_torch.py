"""The network of one trial as torch.nn has it: a sequence of layers without the trial axis."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from bnexp.nn.layout import trials_of


def to_torch(network: nn.Module) -> nn.Sequential:
    """Return a copy of one trial's network, in evaluation mode, that takes x_BCHW and returns logits (B, classes).

    Its layers stand in the order of the data. What does nothing in evaluation (dropout, noise) is left out, as is an
    identity in place of an activation.

    Raises:
        ValueError: there are several trials in it.
    """
    return Converter(network).network


class Converter:
    """Turns layers of one trial into such as torch has; every layer with K in front has a method `to_torch` for it.

    Attributes:
        images: whether norm layers get images (B, C, H, W) and not features.
        network: the result.
        made_from: the layer that each of its layers was made from.
    """

    def __init__(self, network: nn.Module):
        if (trials := trials_of(network)) != 1:
            raise ValueError(f"a plain network is that of one trial, and here are {trials}")
        self.images: bool = getattr(network, "images", False)
        self.made_from: dict[nn.Module, nn.Module] = {}
        with torch.no_grad():
            self.network = nn.Sequential(*self.layers(network)).eval()

    def layers(self, *modules: nn.Module) -> Iterator[nn.Module]:
        """Yield the layers that do in evaluation what some modules do one after the other.

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
