"""What a forward pass of somebody's network calls, in order: layers with their inputs, functions, random numbers.

One pass over two empty images finds it, on the CPU and in training mode; the network is a copy that is thrown away.
"""

import copy
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode

from bnexp.errors import InputError

NORM_LAYERS: tuple[type[nn.Module], ...] = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
WEIGHT_LAYERS = (nn.Linear, _ConvNd)
DROPOUT_LAYERS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""Layers whose random numbers come from the seed's streams, as in all networks."""
ACTIVATION_LAYERS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Softsign),
)
NORM_FUNCTIONS = ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "native_batch_norm")
ACTIVATION_FUNCTIONS = (
    *("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "tanh"),
    *("sigmoid", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid", "softsign"),
)
CHANNELS, LAST = 1, -1
"""Axis of the features: in images, or in rows of tokens."""
IMAGES = 2
BEHIND = "norm_behind"
"""Name of the child that an arm attaches to a layer, to run after it."""


@dataclass(frozen=True)
class LayerCall:
    """One pass through a module without children."""

    name: str
    layer: nn.Module
    """The layer in the original network, not in its copy."""
    inputs: tuple[int, ...]
    """Shape of its first input, the two images in front; empty where that isn't a tensor."""
    outputs: tuple[int, ...]
    """Shape of its output; empty where that isn't a tensor."""
    behind: str
    """Name of the layer whose output is its input, unchanged; empty if there is something in between."""


@dataclass(frozen=True)
class ForwardPass:
    """What a network does with two images."""

    calls: tuple[LayerCall, ...]
    functions: tuple[tuple[str, str], ...]
    """Norms and activations that are called as functions: name of the module that calls, and of the function."""
    taken: Mapping[str, int]
    """How many functions of torch got the output of a layer, unchanged."""
    own_functions: tuple[str, ...]
    """Names of the torch.autograd.Functions of the user's own that the output came through."""
    output: Any
    saved: int
    """Numbers that it keeps for one image until the backward pass."""
    draws: bool = False
    """Whether training draws from global generators, besides the dropout layers; see `side_effects`."""
    keeps: str = ""
    """Name of an attribute, neither parameter nor buffer, that each pass changes; empty where none does."""

    @property
    def axes(self) -> dict[str, int]:
        """The axis of each layer's features: LAST from a linear layer on, CHANNELS from a convolution on."""
        found, axis = dict[str, int](), CHANNELS
        for call in self.calls:
            if isinstance(call.layer, WEIGHT_LAYERS):
                axis = LAST if isinstance(call.layer, nn.Linear) else CHANNELS
            found.setdefault(call.name, axis)
        return found

    def of(self, kinds: tuple[type[nn.Module], ...]) -> list[LayerCall]:
        """Return the calls of layers of some kinds."""
        return [call for call in self.calls if isinstance(call.layer, kinds)]


@dataclass
class _Watch(TorchFunctionMode):
    """Records the functions of torch that are called, in which module, and their inputs."""

    made_by: dict[int, tuple[Tensor, str]] = field(default_factory=dict)
    """Outputs of layers by their ids: with the tensor, so that no other one gets its id."""
    taken: Counter[str] = field(default_factory=Counter)
    inside: list[tuple[str, nn.Module, int]] = field(default_factory=list)
    functions: dict[tuple[str, str], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        called = getattr(func, "__name__", "").rstrip("_")
        name, module, _ = self.inside[-1] if self.inside else ("", None, 0)
        norm = called in NORM_FUNCTIONS and not isinstance(module, NORM_LAYERS)
        if norm or (called in ACTIVATION_FUNCTIONS and not isinstance(module, ACTIVATION_LAYERS)):
            self.functions[name, called] = None
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):  # else they ask for its shape and the like
            parts = chain.from_iterable(each if isinstance(each, list | tuple) else [each] for each in args)
            self.taken.update({self.made_by[id(each)][1] for each in parts if id(each) in self.made_by})
        return result


def input_shape(image: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the shape of one input: an image, or rows of features, which bnexp keeps as images of one place."""
    return image if image[1] * image[2] > 1 else image[:1]


def forward_pass(network: nn.Module, image: tuple[int, int, int], leaves: tuple[type, ...] = ()) -> ForwardPass:
    """Pass two images through a copy of a network in training mode, and return what was called.

    Whatever the network's code raises is raised.

    Args:
        network: of one trial.
        image: channels, height and width.
        leaves: modules that count as one layer though they have children.
    """
    layers, trial, watch = dict(network.named_modules()), copy.deepcopy(network).float(), _Watch()
    calls: list[LayerCall | None] = []

    def enter(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        watch.inside.append((name, module, len(calls)))
        calls.append(None)  # the layer comes before the norm layers attached to it

    def leave(recorded: bool, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        name, _, place = watch.inside.pop()
        if recorded:
            first = inputs[0] if inputs else None
            behind = watch.made_by.get(id(first), (None, ""))[1]
            calls[place] = LayerCall(name, layers[name], _shape(first), _shape(output), behind)
            if isinstance(output, Tensor):
                watch.made_by[id(output)] = output, name

    recorded = set(_layers("", trial, leaves))
    for name, module in trial.named_modules():
        module.training = not isinstance(module, DROPOUT_LAYERS)
        module.register_forward_pre_hook(partial(enter, name))
        module.register_forward_hook(
            partial(leave, name in recorded), prepend=True
        )  # sees the output before norm layers change it
    images, shapes = (
        torch.zeros(IMAGES, *input_shape(image)),
        {name: buffer.shape for name, buffer in trial.named_buffers()},
    )
    kept: dict[int, int] = {}
    # Products keep their weights as views.
    own = {tensor.data_ptr() for tensor in chain(trial.parameters(), trial.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with (
        torch.enable_grad(),
        global_generators(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        watch,
    ):
        output = trial(images)
    if other := [name for name, buffer in trial.named_buffers() if shapes.get(name) != buffer.shape]:
        raise InputError(f"model.source: {other[0]} changes its shape in a forward pass; let buffers keep theirs")
    made = tuple(call for call in calls if call)
    functions = tuple(_own_functions(output)) if isinstance(output, Tensor) else ()
    return ForwardPass(made, tuple(watch.functions), watch.taken, functions, output, sum(kept.values()) // IMAGES)


@contextmanager
def global_generators(seed: int | None = None, devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Seed the global generators of torch, Python and NumPy; put them back at the end.

    Args:
        seed: to begin with; None leaves them as they are.
        devices: GPUs whose generators are meant, too.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        if seed is not None:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def side_effects(network: nn.Module, image: tuple[int, int, int]) -> tuple[bool, str]:
    """Tell whether a network draws random numbers in training, and which attribute each pass changes.

    The numbers are those of torch's, Python's or NumPy's global generators, but for dropout layers. The attribute is
    neither parameter nor buffer; empty: none. A network that remembers earlier images there is refused, since all
    trials compute with one object: called twice, with buffers and random numbers as they were, it has to return the
    same. Another number of images has to pass afterwards, in evaluation.

    Args:
        network: of one trial; it is changed.
        image: channels, height and width.

    Raises:
        InputError: it doesn't; the message names attributes that have changed.
    """
    images = torch.rand(IMAGES + 1, *input_shape(image), generator=torch.Generator().manual_seed(0))
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    for module in network.modules():
        module.training = not isinstance(module, DROPOUT_LAYERS)

    def called() -> tuple[Tensor, bool, list[str]]:
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
        with global_generators(0):
            before, random_numbers = _attributes(network), states()
            logits = network(images[:IMAGES].clone())
            drawn = states() != random_numbers
        changed = [key for key, value in _attributes(network).items() if not _same(value, before.get(key, network))]
        return logits, drawn, changed

    def states() -> object:
        return torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())

    with torch.no_grad():
        first, _, new = called()
        second, drawn, changed = called()  # attributes that are made once and then kept don't count
        if not torch.allclose(first, second, rtol=1e-3, atol=1e-6, equal_nan=True):
            kept = next(iter(changed or new), "")
            remedy = f"{kept} is kept between them; reset it in each pass, or make it a buffer (register_buffer)"
            unknown = "if it draws random numbers, draw them with the global generators of torch, Python or NumPy"
            raise InputError(
                f"model.source: two forward passes of the same images differ: {remedy if kept else unknown}"
            )
        with global_generators():
            network.eval()(images)
    return drawn, next(iter(changed), "")


def _attributes(network: nn.Module) -> dict[str, object]:
    """Return what modules keep besides parameters, buffers and layers; of containers their lengths."""
    torchs = vars(nn.Module())
    return {
        f"{name}.{key}".removeprefix("."): len(value) if isinstance(value, list | dict | set) else value
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if key not in torchs
    }


def _same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, int | float | str) and one == other)


def _own_functions(output: Tensor) -> Iterator[str]:
    """Yield the names of the torch.autograd.Functions that a tensor came through, but for those of torch."""
    nodes, known = [output.grad_fn], set[Any]()
    for node in nodes:
        if node is not None and node not in known:
            known.add(node)
            nodes += [earlier for earlier, _ in node.next_functions]
            function = getattr(node, "_forward_cls", None)
            if function is not None and not function.__module__.startswith("torch."):
                yield function.__name__


def _layers(name: str, module: nn.Module, leaves: tuple[type, ...]) -> Iterator[str]:
    """Yield the names of the modules that count as layers: those without children, but for what hangs behind them.

    Subclasses of torch's layers count, too, though they have children: a convolution with its padding, say.
    """
    children = {f"{name}.{own}" if name else own: child for own, child in module.named_children()}
    inner = {own: child for own, child in children.items() if not own.endswith(f".{BEHIND}")}
    layer = isinstance(module, (*leaves, *WEIGHT_LAYERS, *NORM_LAYERS)) or not inner
    if layer:
        yield name
    for own, child in children.items():
        if not layer or own not in inner:
            yield from _layers(own, child, leaves)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
