"""The text of a module that builds a trial's network from torch alone, and from the user's code if it is theirs."""

import inspect
from collections.abc import Iterator
from textwrap import indent

from torch import nn

from bnexp.config.source import NetworkSource
from bnexp.data.catalog import DataShape
from bnexp.nn import plain_layers
from bnexp.nn.own.networks import OwnNetworks
from bnexp.nn.plain_layers import InTurn, hang_behind, put

WEIGHTS = "weights.safetensors"
"""The file beside it that holds its weights."""

CODE = "network"
"""The folder beside it with the files of a network of the user's own."""

_IMPORTS = """from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn"""
_MODULE = '''"""{about}

    import torch
    from model import load

    network = load()
    images = torch.{images}
    labels = network(images).argmax(1)
"""

{imports}


{classes}


def build() -> nn.Sequential:
    """Return the network with weights that still have to be loaded."""
    {network}


def load(weights: str | Path = Path(__file__).with_name("{weights}")) -> nn.Sequential:
    """Return the network with its weights, in evaluation mode."""
    network = build()
    network.load_state_dict(load_file(weights), assign=True)
    return network.eval()
'''


def model_source(network: nn.Sequential, about: str, shape: DataShape, code: OwnNetworks | None = None) -> str:
    """Return the text of a module that builds a network, with its layer for pixels, and loads its state from WEIGHTS.

    Its documentation begins with `about`, lines of any text. `code` is where a network of the user's own comes from.
    """
    size = ", ".join(map(str, shape.image[: 1 if shape.tabular else 3]))
    used: set[object] = {type(layer) for layer in network.modules()}
    lines, imports = [f"return {_call(network)}"], _IMPORTS
    if code:
        imports = _IMPORTS.replace("from pathlib", "import sys\nfrom pathlib") + _own_import(code.source)
        made = f"network = {code.source.name}(**{code.arguments!r})"
        changes = [*_changes(code.as_written(), network[1])]
        used |= {part for part in (put, hang_behind, InTurn) if part.__name__ in "".join(changes)}
        lines = [made, *changes, f"return nn.Sequential({_call(network[0])}, network)"]
    # In the order of their definitions: some use others.
    own = [part for part in vars(plain_layers).values() if callable(part) and part in used]
    return _MODULE.format(
        about=about.replace("\\", r"\\").replace('"', r"\""),
        images=f"rand(4, {size})" if shape.floats else f"randint(256, (4, {size}))",
        classes="\n\n\n".join(inspect.getsource(kind).strip() for kind in own),
        imports=imports,
        network=indent("\n".join(lines), "    ").strip(),
        weights=WEIGHTS,
    )


def _own_import(source: NetworkSource) -> str:
    """Return the lines that import the user's code, from the folder beside the module where it is a file."""
    if source.path is None:
        return f"\n\nfrom {source.place} import {source.name}"
    beside = f'sys.path.insert(0, str(Path(__file__).with_name("{CODE}")))'
    return f"\n\n{beside}\nfrom {source.path.stem} import {source.name.split('.')[0]}"


def _changes(written: nn.Module, network: nn.Module) -> Iterator[str]:
    """Yield the lines that make a network what it is of one as its code makes it."""
    before, done = dict(written.named_modules()), "\0"
    for name, layer in network.named_modules():
        there, old = f"network.get_submodule({name!r})", before.get(name)
        if name.startswith(f"{done}."):
            continue
        if old is None:
            owner, done = name.rpartition(".")[0], name
            yield f"hang_behind(network.get_submodule({owner!r}), {_call(layer)})"
        elif type(old) is not type(layer):
            done = name
            yield f"put(network, {name!r}, {_call(layer)})"
        else:
            if getattr(layer, "eps", None) != getattr(old, "eps", None):
                yield f"{there}.eps = {layer.eps}"
            if getattr(layer, "bias", None) is not None and getattr(old, "bias", None) is None:
                yield f"{there}.bias = nn.Parameter(torch.zeros({len(layer.bias)}))"


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
