"""A plain network as a Python file of its own, which needs torch and safetensors only."""

import inspect
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from bnexp.nn import plain_layers
from bnexp.nn.plain_layers import Recurrent, Residual, StepLinear

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
    layers: list[nn.Module] = []
    {statements}
    return nn.Sequential(*layers)


def load(weights: str | Path = Path(__file__).with_name("{weights}")) -> nn.Sequential:
    """Return the network with its weights, in evaluation mode."""
    network = build()
    network.load_state_dict(load_file(weights), assign=True)
    return network.eval()
'''

_STARTS = (nn.Linear, nn.Conv2d, Residual, Recurrent, nn.AdaptiveAvgPool2d)
"""Layers that a line begins with; other layers stand behind these."""

_WIDTH = 100
"""Characters of the layers on a line, which has more in front."""


def model_source(network: nn.Sequential, about: str, image: tuple[int, int, int]) -> str:
    """Return the text of a module that builds a network and loads its state from WEIGHTS.

    Args:
        network: as `to_torch` makes it, with a layer for pixels in front.
        about: what the module's documentation begins with, lines of any text.
        image: C, H, W of an image.
    """
    used = {type(layer) for layer in network.modules()}
    # In the order of their definitions: some take others.
    own = [kind for kind in vars(plain_layers).values() if isinstance(kind, type) and kind in used and _own(kind)]
    return _MODULE.format(
        about=about.replace("\\", r"\\").replace('"', r"\""),
        image=", ".join(map(str, image)),
        classes="\n\n\n".join(inspect.getsource(kind).strip() for kind in own),
        statements="\n    ".join(_statements(list(network))),
        weights=WEIGHTS,
    )


def _own(kind: type) -> bool:
    return kind.__module__ == plain_layers.__name__


def _statements(layers: Sequence[nn.Module]) -> Iterator[str]:
    """Yield the lines that add layers to `layers`; what comes several times in a row becomes a loop."""
    for lines, same in groupby(tuple(_row(row)) for row in _rows(layers)):
        times = len(list(same))
        if times > 1:
            yield f"for _ in range({times}):"
        yield from (f"    {line}" if times > 1 else line for line in lines)


def _rows(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Cut layers into those that stand on a line together."""
    rows: list[list[nn.Module]] = [[]]
    for layer in layers:
        if rows[-1] and (isinstance(layer, _STARTS) or len(_list([*rows[-1], layer])) > _WIDTH):
            rows.append([])
        rows[-1].append(layer)
    return rows


def _row(layers: Sequence[nn.Module]) -> Iterator[str]:
    for block in (layer for layer in layers if isinstance(layer, Residual)):
        for number, row in enumerate(_rows(list(block.branch))):
            yield f"branch {'+=' if number else '='} {_list(row)}"
    for layer in (layer for layer in layers if isinstance(layer, Recurrent)):
        yield f"from_input = {_step_linear(layer.input)}"
        yield f"from_state = {_step_linear(layer.state)}"
    yield f"layers += {_list(layers)}"


def _list(layers: Sequence[nn.Module]) -> str:
    return f"[{', '.join(map(_call, layers))}]"


def _step_linear(way: StepLinear) -> str:
    """Return the expression that makes the weights of time steps, with a norm that is alike for all, or none."""
    norms = [_call(norm) for norm in way.norms]
    each = f"*({norms[0]} for _ in range({len(norms)}))" if len(norms) > 1 else "".join(norms)
    return f"StepLinear({', '.join(filter(None, (_call(way.linear), each)))})"


def _call(layer: nn.Module) -> str:
    """Return the expression that makes a layer; arguments that are at their defaults are left out."""
    kind = type(layer)
    if isinstance(layer, Recurrent):
        return f"Recurrent(from_input, from_state, {_call(layer.activation)})"
    words = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            words += ["*branch"] if kind is Residual else []
        elif hasattr(layer, name):
            value = _argument(layer, name)
            if parameter.default is parameter.empty:
                words.append(repr(value))
            elif value != parameter.default:
                words.append(f"{name}={value!r}")
    return f"{'' if _own(kind) else 'nn.'}{kind.__name__}({', '.join(words)})"


def _argument(layer: nn.Module, name: str) -> Any:
    """Return what a layer was made with, of what torch.nn keeps of it."""
    value = getattr(layer, name)
    if name == "bias":
        return isinstance(value, Tensor)
    # Of an image's two sides it keeps both, and of a number of features a shape.
    alike = isinstance(value, tuple) and len(value) < 3 and len(set(value)) == 1
    return value[0] if alike else value
