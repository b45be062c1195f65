"""All trials of somebody's perceptron at once: layers with the trial axis, in the order in which its code calls them.

This works for networks that are chains: images as rows of features, then one layer or activation after the other.
torch.fx finds such a chain: it follows the code without numbers, and refuses code that depends on them.
"""

import operator
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.nn.layers import linear, share_features
from bnexp.nn.norm import as_channels
from bnexp.nn.own.calls import ACTIVATION_FUNCTIONS, ACTIVATION_LAYERS, BEHIND, IMAGES, ForwardPass
from bnexp.nn.own.surgery import OwnDropout, Placed, SlicedBatchNorm


class Step(NamedTuple):
    """A call in a chain."""

    call: str | Callable[..., Tensor]
    """Name of a layer, or an activation that is called as a function."""
    arguments: Sequence[Any] = ()
    """Arguments after the first, which is what the previous call returned."""
    options: Mapping[str, Any] = {}
    """Keyword arguments."""


class _Linear(nn.Linear):
    def forward(self, x_SBC: Float[Tensor, "S B in"]) -> Float[Tensor, "K B out"]:
        return linear(x_SBC, self.weight, self.bias)


class _BatchNorm1d(_BatchNorm):
    over: int | None = None

    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        if self.training and self.over and self.over < x_KBC.shape[1]:
            slices = [as_channels(self._normalize, slice_KNC).mT for slice_KNC in x_KBC.split(self.over, 1)]
            return torch.cat(slices, -1).mT  # as it lies in memory
        return as_channels(self._normalize, x_KBC)

    def _normalize(self, x_1DB: Float[Tensor, "1 D B"]) -> Float[Tensor, "1 D B"]:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        tensors = self.running_mean, self.running_var, self.weight, self.bias
        mean_D, var_D, gamma_D, beta_D = (None if each is None else each.view(-1) for each in tensors)
        return F.batch_norm(x_1DB, mean_D, var_D, gamma_D, beta_D, self.training, self.momentum or 0.0, self.eps)


class _LayerNorm(nn.LayerNorm):
    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        return _scale_and_shift(self, F.layer_norm(x_KBC, self.normalized_shape, eps=self.eps))


class _GroupNorm(nn.GroupNorm):
    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        y_NC = F.group_norm(x_KBC.flatten(0, 1), self.num_groups, eps=self.eps)
        return _scale_and_shift(self, y_NC.view(x_KBC.shape))


class _RMSNorm(nn.RMSNorm):
    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        return _scale_and_shift(self, F.rms_norm(x_KBC, self.normalized_shape, eps=self.eps))


def _scale_and_shift(norm: nn.LayerNorm | nn.GroupNorm | nn.RMSNorm, x_KBC: Tensor) -> Tensor:
    """Return γ x + β with the stacked tensors (K, C) that a layer has."""
    y_KBC = x_KBC if norm.weight is None else x_KBC * norm.weight[:, None]
    shift_KC = getattr(norm, "bias", None)
    return y_KBC if shift_KC is None else y_KBC + shift_KC[:, None]


class _Placed(Placed):
    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        # Stacked (K, 1, …): an arm's layers have a trial axis of their own, for one trial.
        tensors = dict(self.layers.named_parameters()) | dict(self.layers.named_buffers())
        each = {name: tensor.flatten(0, 1) for name, tensor in tensors.items()}
        y_KBC: Tensor = functional_call(self.layers, each, (x_KBC,))
        return y_KBC


class _Dropout(OwnDropout):
    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        return self.dropped(x_KBC, lambda draws: draws.uniform("dropout", *x_KBC.shape[1:]))


LAYERS: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm1d,
    SlicedBatchNorm: _BatchNorm1d,
    nn.LayerNorm: _LayerNorm,
    nn.GroupNorm: _GroupNorm,
    nn.RMSNorm: _RMSNorm,
    Placed: _Placed,
    OwnDropout: _Dropout,
}
"""Layers of one trial, each with a layer that takes the stacked tensors and x_KBC and gives the same numbers."""


def compute_at_once(network: nn.Module) -> None:
    """Let the layers of a network whose tensors are stacked compute all trials at once."""
    for layer in list(network.modules()):
        layer.__class__ = LAYERS.get(type(layer), type(layer))


def call_chain(network: nn.Module, chain: Sequence[Step], x_SBC: Float[Tensor, "S B P"], trials: int) -> Tensor:
    """Return the logits (K, B, classes) of a network whose layers compute at once."""
    layers = [network.get_submodule(step.call) if isinstance(step.call, str) else step.call for step in chain]
    x: Tensor = x_SBC if isinstance(layers[0], _Linear) else share_features(x_SBC, trials)
    for layer, step in zip(layers, chain, strict=True):
        x = layer(x, *step.arguments, **step.options)
    return x


def rows_alone(seen: ForwardPass) -> bool:
    """Tell whether a network of one trial only calls known layers; those with tensors take rows of features."""
    shapes = [call.inputs for call in seen.of((*LAYERS,))]
    return all(len(shape) == 2 and shape[0] == IMAGES for shape in shapes) and all(
        type(call.layer) is nn.Flatten or _known(call.layer) for call in seen.calls
    )


def chain_of(network: nn.Module) -> Sequence[Step]:
    """Return what a network of one trial calls after flattening the images; empty if that is no chain."""
    training, evaluation = (_traced(network.train(mode)) for mode in (True, False))
    return training if training == evaluation else ()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in LAYERS or super().is_leaf_module(m, module_qualified_name)


def _traced(network: nn.Module) -> Sequence[Step]:
    """Follow the code of a network in its mode."""
    try:
        last, *nodes = _Tracer().trace(network).nodes
    except Exception:  # whatever the user's code raises without numbers
        return ()
    steps, sizes = list[Step](), set[object]()
    for node in nodes:
        first = node.args[0] if node.args else None
        if _is_size(node, sizes):
            sizes.add(node)
        elif node.op == "output" or first is not last:
            break
        elif not steps and _makes_rows(network, node):
            last = node
        elif step := _step(network, node):
            steps, last = [*steps, step], node
        else:
            break
    return steps if node.op == "output" and first is last else ()


def _is_size(node: fx.Node, sizes: Set[object]) -> bool:
    """Tell whether a call asks for a shape, or for one of its numbers."""
    if node.target is operator.getitem:
        return node.args[0] in sizes
    return node.target == "size" or (node.target is getattr and node.args[1:] == ("shape",))


def _makes_rows(network: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(network.get_submodule(str(node.target))) is nn.Flatten
    return _name(node) in ("flatten", "view", "reshape")


def _step(network: nn.Module, node: fx.Node) -> Step | None:
    """Return a call of a known layer, or of an activation that leaves its input as it is."""
    _, *arguments = node.args
    given = [*arguments, *node.kwargs.values()]
    if any(isinstance(each, fx.Node) or each is True for each in given):  # True: in place
        return None
    if node.op == "call_module":
        known = _known(network.get_submodule(str(node.target)))
        return Step(str(node.target)) if known else None
    if _name(node) not in ACTIVATION_FUNCTIONS:
        return None
    call = getattr(Tensor, node.target) if isinstance(node.target, str) else node.target
    return Step(call, tuple(arguments), dict(node.kwargs))


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else node.target.__name__


def _known(layer: nn.Module) -> bool:
    """Tell whether a layer is an activation without parameters, or one of LAYERS, and as torch or an arm made it."""
    if "forward" in vars(layer) or layer._forward_pre_hooks or len(layer._forward_hooks) != hasattr(layer, BEHIND):
        return False
    if isinstance(layer, _BatchNorm) and (layer.momentum is None or not layer.track_running_stats):
        return False
    elementwise = type(layer) in (*ACTIVATION_LAYERS, nn.Identity) and not [*layer.parameters(recurse=False)]
    return elementwise or type(layer) in LAYERS
