"""A plain network as a Python file of its own, which needs torch and safetensors only."""

import inspect
from textwrap import indent

from torch import nn

from bnexp.nn import plain_layers

WEIGHTS = "weights.safetensors"
"""The file beside it that its numbers come from."""

_MODULE = '''"""{about}

    import torch
    from model import load

    network = load()
    images = torch.randint(256, (4, {image}))
    labels = network(images).argmax(1)
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


{classes}


def build() -> nn.Sequential:
    """Return the network with weights that still have to be loaded."""
    return {network}


def load(weights: str | Path = Path(__file__).with_name("{weights}")) -> nn.Sequential:
    """Return the network with its weights, in evaluation mode."""
    network = build()
    network.load_state_dict(load_file(weights), assign=True)
    return network.eval()
'''


def model_source(network: nn.Sequential, about: str, image: tuple[int, int, int]) -> str:
    """Return the text of a module that builds a network and loads its state from WEIGHTS.

    Args:
        network: as `to_torch` makes it, with a layer for pixels in front.
        about: what the module's documentation begins with, lines of any text.
        image: C, H, W of an image.
    """
    used = {type(layer) for layer in network.modules()}
    # In the order of their definitions: some take others.
    own = [kind for kind in vars(plain_layers).values() if isinstance(kind, type) and kind in used]
    return _MODULE.format(
        about=about.replace("\\", r"\\").replace('"', r"\""),
        image=", ".join(map(str, image)),
        classes="\n\n\n".join(inspect.getsource(kind).strip() for kind in own),
        network=indent(_call(network), "    ").strip(),
        weights=WEIGHTS,
    )


def _call(layer: nn.Module) -> str:
    """Return the call that makes a layer: of its own layers one after the other, and of what its repr says."""
    kind, parts = type(layer), list[nn.Module]()
    for child in layer.children():
        parts += child if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
    name = kind.__name__ if kind.__module__ == plain_layers.__name__ else f"nn.{kind.__name__}"
    if not parts:
        return f"{name}({layer.extra_repr()})"
    arguments = [*map(_call, parts), *filter(None, [layer.extra_repr()])]
    return "\n".join([f"{name}(", *(indent(f"{argument},", "    ") for argument in arguments), ")"])
