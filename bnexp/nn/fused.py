"""Bias, batch norm and activation of a fully connected layer as one Triton kernel, and their gradients as another.

torch launches three kernels for them, and three more for their gradients. In a small network, launching these takes a
GPU longer than computing them. No GPU has run these yet, so `bnexp/training/work.py` keeps them switched off. Triton
comes with torch for Linux; under TRITON_INTERPRET=1 its kernels run on the CPU, where tests compare them with torch.

Shapes: D = K·C features of all trials, each a row of B numbers, as products leave them in memory.
"""

import copy
from typing import Any, cast

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.layers import Linear
from bnexp.nn.mlp import MLP
from bnexp.nn.norm import BatchNorm

LARGEST_BATCH = 4096
"""A kernel holds a whole row at once."""
WARP_NUMBERS = 256
"""Numbers of a row that a warp takes."""

ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.Sigmoid: "sigmoid"}
"""Activations whose derivative is a function of their output."""


@triton.jit
def _activated(v, KIND: tl.constexpr):
    # Not tl.maximum, which hides a NaN.
    return tl.sigmoid(v) if KIND == "sigmoid" else tl.where(v <= 0, 0.0, v)


@triton.jit
def _through_activation(dy, y, KIND: tl.constexpr):
    return dy * y * (1 - y) if KIND == "sigmoid" else tl.where(y <= 0, 0.0, dy)


@triton.jit
def _forward(
    x, bias, gamma, beta, running_mean, running_var, y, mid, mean, inverse, batch, eps, momentum,
    KIND: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    there, place = at < batch, row * batch + at
    v = tl.load(x + place, mask=there, other=0.0)
    if BIAS:
        v += tl.load(bias + row)
    if NORM == "after":
        v = _activated(v, KIND)
    if NORM != "none":
        if BIAS or NORM == "after":
            tl.store(mid + place, v, mask=there)
        m = tl.sum(tl.where(there, v, 0.0), 0) / batch
        centred = tl.where(there, v - m, 0.0)
        variance = tl.sum(centred * centred, 0) / batch
        inv = 1 / tl.sqrt(variance + eps)
        tl.store(mean + row, m)
        tl.store(inverse + row, inv)
        tl.store(running_mean + row, (1 - momentum) * tl.load(running_mean + row) + momentum * m)
        unbiased = variance * batch / (batch - 1)
        tl.store(running_var + row, (1 - momentum) * tl.load(running_var + row) + momentum * unbiased)
        v = centred * inv * tl.load(gamma + row) + tl.load(beta + row)
    if NORM != "after":
        v = _activated(v, KIND)
    tl.store(y + place, v, mask=there)


@triton.jit
def _backward(
    dy, y, mid, gamma, mean, inverse, dx, dgamma, dbeta, dbias, batch,
    KIND: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    there, place = at < batch, row * batch + at
    g = tl.load(dy + place, mask=there, other=0.0)
    if NORM != "after":
        g = _through_activation(g, tl.load(y + place, mask=there, other=0.0), KIND)
    if NORM != "none":
        seen, inv = tl.load(mid + place, mask=there, other=0.0), tl.load(inverse + row)
        normal = tl.where(there, (seen - tl.load(mean + row)) * inv, 0.0)
        along, total = tl.sum(g * normal, 0), tl.sum(g, 0)
        tl.store(dgamma + row, along)
        tl.store(dbeta + row, total)
        g = tl.load(gamma + row) * inv * (g - total / batch - normal * along / batch)
        if NORM == "after":
            g = _through_activation(g, seen, KIND)
    if BIAS:
        tl.store(dbias + row, tl.sum(tl.where(there, g, 0.0), 0))
    tl.store(dx + place, g, mask=there)


def launch(kernel: Any, rows: Float[Tensor, "D B"], *arguments: Any, **constants: Any) -> None:
    """Run a kernel once for each row."""
    block = triton.next_power_of_2(rows.shape[1])
    kernel[(len(rows),)](*arguments, **constants, BLOCK=block, num_warps=max(1, min(8, block // WARP_NUMBERS)))


class _Steps(torch.autograd.Function):
    """What follows a product: bias, batch norm with running statistics, activation, each if there is one."""

    @staticmethod
    def forward(ctx, x_DB, bias_D, gamma_D, beta_D, running_mean_D, running_var_D, eps, momentum, kind, norm):
        ctx.constants = {"KIND": kind, "NORM": norm, "BIAS": bias_D is not None}
        y_DB, (mean_D, inverse_D) = torch.empty_like(x_DB), x_DB.new_empty(2, len(x_DB))
        # The input of batch norm is kept, if that isn't the product itself.
        mid_DB = torch.empty_like(x_DB) if norm == "after" or (norm == "before" and bias_D is not None) else x_DB
        given = x_DB, bias_D, gamma_D, beta_D, running_mean_D, running_var_D
        launch(_forward, x_DB, *given, y_DB, mid_DB, mean_D, inverse_D, x_DB.shape[1], eps, momentum, **ctx.constants)
        ctx.save_for_backward(y_DB, y_DB if norm == "none" else mid_DB, gamma_D, mean_D, inverse_D)
        return y_DB

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy_DB):
        kept, dx_DB = ctx.saved_tensors, torch.empty_like(dy_DB)
        dgamma_D, dbeta_D, dbias_D = made = dy_DB.new_empty(3, len(dy_DB))
        launch(_backward, dy_DB, dy_DB.contiguous(), *kept, dx_DB, *made, dy_DB.shape[1], **ctx.constants)
        norm = (dgamma_D, dbeta_D) if ctx.constants["NORM"] != "none" else (None, None)
        return dx_DB, dbias_D if ctx.constants["BIAS"] else None, *norm, *[None] * 6


ORDERS = {
    ("linear", "activation"): "none",
    ("linear", "norm", "activation"): "before",
    ("linear", "activation", "norm"): "after",
}
"""Where batch norm is, by the steps of a hidden layer."""


class FusedLayer(nn.Module):
    """A hidden layer with the outputs of another one, in the same memory."""

    def __init__(self, layer: nn.Sequential):
        super().__init__()
        self._layer = layer
        steps: dict[str, Any] = dict(layer.named_children())
        self._linear, self._norm = steps["linear"], steps.get("norm")
        self._options = ACTIVATIONS[type(steps["activation"])], ORDERS[tuple(steps)]

    @staticmethod
    def covers(layer: nn.Module) -> bool:
        """Tell whether the kernels have all steps of a layer."""
        steps = dict(layer.named_children())
        return (
            tuple(steps) in ORDERS
            and isinstance(steps["linear"], Linear)
            and type(steps["activation"]) in ACTIVATIONS
            and type(steps.get("norm")) in (BatchNorm, type(None))
        )

    def forward(self, x_SBC: Float[Tensor, "S B in"]) -> Float[Tensor, "K B out"]:
        """Return the layer's activations: by the fused kernel where it computes the same, else layer by layer."""
        linear, norm = self._linear, self._norm
        batch = x_SBC.shape[1]
        # It may be frozen, or cut a batch into slices.
        other = norm is not None and (not norm.training or norm.slices(batch) > 1)
        if batch > LARGEST_BATCH or other:
            y_KBC: Tensor = self._layer(x_SBC)
            return y_KBC
        bias_D = None if linear.bias is None else linear.bias.view(-1)
        of_norm: list[Any] = [None] * 4 + [0.0, 0.0]
        if norm is not None:
            tensors = norm.gamma, norm.beta, norm.running_mean, norm.running_var
            of_norm = [*(each.view(-1) for each in tensors), norm.eps, norm.momentum]
        y_KCB: Tensor = linear.product(x_SBC)
        y_DB: Tensor = _Steps.apply(y_KCB.flatten(0, 1), bias_D, *of_norm, *self._options)
        return y_DB.view(y_KCB.shape).mT


def fused(network: nn.Module) -> nn.Module:
    """Return a network with the outputs of another one in training, in the same memory, with fewer kernels.

    Only hidden layers of perceptrons have such kernels; all others stay as they are.
    """
    if not isinstance(network, MLP):
        return network
    made, hidden = copy.copy(network), [cast(nn.Sequential, layer) for layer in network.hidden]
    made._modules = dict(network._modules)
    made.hidden = nn.ModuleList(FusedLayer(layer) if FusedLayer.covers(layer) else layer for layer in hidden)
    return made
