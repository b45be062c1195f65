"""K copies of the user's network along the trial axis: their tensors are stacked.

The copies compute in turn, or all at once if the network is a chain of layers that have a trial axis.

docs/own-network.md describes this for users.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from bnexp.config.model import ModelSettings
from bnexp.config.source import NetworkSource
from bnexp.errors import InputError
from bnexp.nn.factory import LayerFactory
from bnexp.nn.layers import Activations
from bnexp.nn.own.at_once import Step, call_chain, chain_of, compute_at_once, rows_alone
from bnexp.nn.own.calls import (
    DROPOUT_LAYERS,
    IMAGES,
    LAST,
    WEIGHT_LAYERS,
    ForwardPass,
    forward_pass,
    global_generators,
    input_shape,
    side_effects,
)
from bnexp.nn.own.source import failures, make
from bnexp.nn.own.surgery import OwnDropout, Placed, apply_arm
from bnexp.nn.plain_layers import OverFeatures, put
from bnexp.streams import TrialRandom, stream_seed

Image = tuple[int, int, int]


OWN = "network."
"""Prefix of the names that the layers have in the user's code."""


class OwnNetworks(nn.Module):
    """The networks of K trials of one arm.

    Args:
        factory: settings of the trials, and random numbers for dropout, noise, and what the code draws by itself.
        image: channels, height and width.
        classes: how many.

    Attributes:
        network: one module as the user's code makes it, each tensor of which is stacked: (K, …).
    """

    def __init__(self, factory: LayerFactory, image: Image, classes: int):
        super().__init__()
        self._model, self._image, self._classes, self._draws = factory.model, image, classes, factory.draws
        self.network = _prototype(factory.model, image, classes, factory.draws, seed=0)
        written = written_pass(factory.model, image)
        self._random, self._keeps = written.draws, written.keeps
        self._shapes = {name: tensor.shape for name, tensor in _tensors(self.network).items()}
        _stack(self.network, factory.trials)
        self._chain = arm_chain(factory.model, image, classes)
        if self._chain:
            compute_at_once(self.network)

    def forward(self, x_SBP: Float[Tensor, "S B P"]) -> Float[Tensor, "K B C"]:
        """Return the logits of every trial; S inputs are shared by K/S neighbouring trials each."""
        stacked = _tensors(self.network)
        trials = len(next(iter(stacked.values())))
        if self._chain:
            return call_chain(self.network, self._chain, x_SBP, trials)
        logits_KBC = []
        for k in range(trials):
            own = {name: tensor[k].view(self._shapes[name]) for name, tensor in stacked.items()}
            given = dict(own)
            x_BP = x_SBP[k * len(x_SBP) // trials].clone()  # which the code may change in place
            logits_KBC.append(self._pass(given, x_BP.unflatten(-1, input_shape(self._image))))
            for name, tensor in given.items():
                if tensor is not own[name]:  # a buffer that the code replaced instead of writing into it
                    own[name].copy_(tensor.detach())
        return torch.stack(logits_KBC)

    def _pass(self, tensors: dict[str, Tensor], images: Tensor) -> Tensor:
        seeded: AbstractContextManager[None] = nullcontext()
        if self._random and self._draws is not None:
            seed = int(self._draws.uniform("module", 1)[0, 0] * 2**24) if self.training else 0
            seeded = global_generators(seed, [images.device] if images.is_cuda else [])
        with seeded:
            logits: Tensor = functional_call(self.network, tensors, (images,))
        return logits

    @torch.no_grad()
    def draw_weights(self, seeds: Sequence[int]) -> None:
        """Give trial k the initial weights that the code draws for seeds[k], the same in every arm."""
        stacked = _tensors(self.network)
        for seed in dict.fromkeys(seeds):
            drawn = stream_seed(seed, "weights", 0)
            network = _prototype(self._model, self._image, self._classes, self._draws, drawn)
            for name, tensor in _tensors(network).items():
                for k, own in enumerate(seeds):
                    if own == seed:
                        stacked[name][k].view(tensor.shape).copy_(tensor)

    @torch.no_grad()
    def to_torch(self, to: object = None) -> Iterator[nn.Module]:
        """Yield the first trial's network as a module of the user's own class, with norm layers as torch has them."""
        whole = self._model.norm.model_copy(update={"over": None})  # evaluation cuts nothing
        model = self._model.model_copy(update={"norm": whole})
        network = _prototype(model, self._image, self._classes, None, seed=0)
        numbers = {name: tensor[0].view(self._shapes[name]) for name, tensor in _tensors(self.network).items()}
        for name, tensor in _tensors(network).items():
            tensor.data = numbers[name].detach().clone()
        axes = {call.name: len(call.inputs) for call in arm_pass(self._model, self._image, self._classes).calls}
        written = dict(self.as_written().named_modules())
        for name, layer in list(network.named_modules()):
            if isinstance(layer, Placed):
                put(network, name, layer.plain(axes[name]))
            elif isinstance(layer, OwnDropout):
                put(network, name, written[name])
        yield network.eval()

    def layers(self, kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Module]:
        """Return the layers of some kinds by name, in the order of the forward pass, if every call is of one shape."""
        shapes: dict[str, set[tuple[int, ...]]] = {}
        for call in arm_pass(self._model, self._image, self._classes).calls:
            if isinstance(call.layer, kinds) and len(call.outputs) > 1:
                shapes.setdefault(call.name, set()).add(call.outputs)
        return {f"{OWN}{name}": self.network.get_submodule(name) for name, sizes in shapes.items() if len(sizes) == 1}

    def as_activations(self, name: str, x: Tensor) -> Activations:
        """Return a layer's output in the layout of K trials: (K, B, C), or (B, C, H, W) of one trial."""
        if self._chain:
            return x
        axis = arm_pass(self._model, self._image, self._classes).axes[name.removeprefix(OWN)]
        if x.ndim == 2 or axis == LAST:
            return x.flatten(0, -2)[None]
        return x if x.ndim == 4 else x.flatten(2)[..., None]

    @property
    def source(self) -> NetworkSource:
        """Where its code stands."""
        return NetworkSource.parse(self._model.source or "")

    @property
    def arguments(self) -> dict[str, Any]:
        """What its code is called with."""
        return dict(self._model.arguments)

    @property
    def unrepeatable(self) -> str:
        """What its code does that repeating the same kernels would miss; empty if nothing is known."""
        if self._random:
            return "draws random numbers besides the dropout layers"
        return f"changes {self._keeps}, which is neither parameter nor buffer" if self._keeps else ""

    def as_written(self) -> nn.Module:
        """Return one network as its code makes it."""
        return _plain(make(self._model, 0))

    def seen_plain(self, network: nn.Module) -> ForwardPass:
        """Return what a pass through a network from `to_torch` calls."""
        return forward_pass(network, self._image, leaves=(OverFeatures,))

    def weight_layers(self) -> list[nn.Module]:
        """Return the linear layers and convolutions in the order of the forward pass."""
        names = dict.fromkeys(call.name for call in written_pass(self._model, self._image).of(WEIGHT_LAYERS))
        return [self.network.get_submodule(name) for name in names]


def _prototype(model: ModelSettings, image: Image, classes: int, draws: TrialRandom | None, seed: int) -> nn.Module:
    """Return one trial's network as its arm wants it."""
    source = NetworkSource.parse(model.source or "")
    network, seen = _plain(make(model, seed)), written_pass(model, image)
    _check_output(seen, classes, source)
    layers = dict(network.named_modules())
    seen = replace(seen, calls=tuple(replace(call, layer=layers[call.name]) for call in seen.calls))
    try:
        apply_arm(network, model, seen, draws)
    except InputError as error:
        raise InputError(f"model.source: {source}: {error}") from None
    for name, layer in layers.items():
        if isinstance(layer, DROPOUT_LAYERS):
            put(network, name, OwnDropout(layer, draws))
    return network


@cache
def arm_pass(model: ModelSettings, image: Image, classes: int) -> ForwardPass:
    """Return what a pass through the network of one arm calls; found once for each."""
    network = _prototype(model, image, classes, None, seed=0)
    return forward_pass(network, image, leaves=(Placed,))


@cache
def arm_chain(model: ModelSettings, image: Image, classes: int) -> Sequence[Step]:
    """Return the calls of one arm's network if all trials can make them at once, else nothing; found once for each."""
    written = written_pass(model, image)
    if written.draws or written.keeps or not rows_alone(arm_pass(model, image, classes)):
        return ()
    network = _prototype(model, image, classes, None, seed=0).double()
    chain = chain_of(network)
    return chain if chain and _gives_the_same(network, chain, image) else ()


@torch.no_grad()
def _gives_the_same(network: nn.Module, chain: Sequence[Step], image: Image) -> bool:
    """Tell whether a chain gives the logits of the network that it was found in.

    Code may treat tensors differently from what torch.fx passes to it.
    """
    at_once = copy.deepcopy(network)
    _stack(at_once, 1)
    compute_at_once(at_once)
    x_1BP = torch.rand(1, IMAGES + 1, prod(image), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for mode in (True, False):
        expected = network.train(mode)(x_1BP[0].unflatten(-1, input_shape(image)))
        if not torch.allclose(call_chain(at_once.train(mode), chain, x_1BP, 1)[0], expected, equal_nan=True):
            return False
    return True


def written_pass(model: ModelSettings, image: Image) -> ForwardPass:
    """Return what a pass through the network calls as it is written; found once per source and arguments."""
    return _written_pass(ModelSettings(family="module", source=model.source, arguments=model.arguments), image)


@cache
def _written_pass(model: ModelSettings, image: Image) -> ForwardPass:
    network = _plain(make(model, 0))
    source = NetworkSource.parse(model.source or "")
    with failures(source):
        seen = forward_pass(network, image)
        if isinstance(seen.output, Tensor):  # else _check_output refuses it
            draws, keeps = side_effects(network.float(), image)
            seen = replace(seen, draws=draws, keeps=keeps)
    return seen


def _check_output(seen: ForwardPass, classes: int, source: NetworkSource) -> None:
    wanted = f"expected logits (batch, {classes})"
    if not isinstance(seen.output, Tensor):
        raise InputError(f"model.source: {source} returns {type(seen.output).__name__}; {wanted}")
    images, *rest = seen.output.shape
    if rest != [classes] or images != IMAGES:
        got = ", ".join(map(str, ["batch" if images == IMAGES else images, *rest]))
        told = f"; give the number of classes in model.arguments, e.g. {{num_classes: {classes}}}"
        raise InputError(f"model.source: {source} returns ({got}); {wanted}{told if len(rest) == 1 else ''}")
    if not seen.output.is_floating_point():
        raise InputError(f"model.source: {source} returns {seen.output.dtype}; {wanted} of a float type")
    if not seen.output.requires_grad:
        cut = "the logits don't depend on any trained parameter; look for detach, no_grad or argmax"
        raise InputError(f"model.source: {source}: {cut}")


def _plain(network: nn.Module) -> nn.Module:
    """Let batch norm be that of one device, and layers leave their inputs as they are: the numbers stay the same."""
    for layer in network.modules():
        if getattr(layer, "inplace", None):
            layer.inplace = False  # type: ignore[assignment]  # probes look at what enters
        if isinstance(layer, SyncBatchNorm):
            layer.__class__ = _OneDeviceBatchNorm  # type: ignore[assignment]
    return network


class _OneDeviceBatchNorm(_BatchNorm):
    stands_for = "SyncBatchNorm"

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of places, as SyncBatchNorm does."""


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.named_parameters()) | dict(network.named_buffers())


@torch.no_grad()
def _stack(network: nn.Module, trials: int) -> None:
    """Give every tensor of a network a trial axis, (K, …), with numbers as (K, 1); what doesn't learn is a buffer."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = _repeated(buffer, trials)
        for name, parameter in list(module.named_parameters(recurse=False)):
            stacked = _repeated(parameter, trials)
            del module._parameters[name]
            if parameter.requires_grad:
                module.register_parameter(name, nn.Parameter(stacked))
            else:
                module.register_buffer(name, stacked)


def _repeated(tensor: Tensor, trials: int) -> Tensor:
    return tensor.detach()[None].expand(trials, *tensor.shape).reshape(trials, *(tensor.shape or (1,))).clone()
