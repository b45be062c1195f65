"""The network of one trial as torch.nn has it: a sequence of layers without the trial axis."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from bnexp.nn.layout import trials_of
from bnexp.nn.norm import Norm


def to_torch(network: nn.Module) -> nn.Sequential:
    """Return a copy of one trial's network, in evaluation mode, that takes x_BCHW and returns logits (B, classes).

    Its layers stand in the order of the data. What does nothing in evaluation (dropout, noise) is left out, as is an
    identity in place of an activation.

    Args:
        network: of any family, with K = 1.

    Raises:
        ValueError: there are several trials in it.
    """
    return Conversion(network).network


class Conversion:
    """The conversion of one trial's network, see `to_torch`.

    Attributes:
        images: whether norm layers get images.
        network: the result.
        norms: the norm layer that stands behind each of its norm layers.
    """

    def __init__(self, network: nn.Module):
        if (trials := trials_of(network)) != 1:
            raise ValueError(f"a plain network is that of one trial, and here are {trials}")
        self.images: bool = getattr(network, "images", False)
        self.norms: dict[nn.Module, Norm] = {}
        with torch.no_grad():
            self.network = nn.Sequential(*self.layers(network)).eval()

    def layers(self, *modules: nn.Module) -> Iterator[nn.Module]:
        """Yield the layers that do in evaluation what some modules do one after the other.

        Raises:
            NotImplementedError: one of them has numbers of its own, and no method `to_torch`.
        """
        for module in modules:
            if convert := getattr(module, "to_torch", None):
                made = list(convert(self))
                if isinstance(module, Norm):
                    self.norms |= dict.fromkeys(made, module)
                yield from made
            elif isinstance(module, nn.Sequential | nn.ModuleList):
                yield from self.layers(*module)
            elif next(module.parameters(), None) is not None:
                raise NotImplementedError(f"{type(module).__name__} can't be exported: it has no method to_torch")
            elif not isinstance(module, nn.Identity):
                yield copy.deepcopy(module)
