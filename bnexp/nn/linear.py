"""A fully connected layer for K trials at once."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Module):
    """y = W x + b with a weight of its own for every trial.

    Args:
        trials: K.
        features: C_in of the input.
        units: C_out of the output.
        bias: whether to add b.

    Attributes:
        weight: (K, out, in), as in torch.nn.Linear with the trials in front.
        bias: (K, out), or None.
        fixup_gain: factor on the initial weights under fixup.
    """

    fixup_gain = 1.0

    def __init__(self, trials: int, features: int, units: int, *, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(trials, units, features))
        self.bias = nn.Parameter(torch.zeros(trials, units)) if bias else None

    def forward(self, x_SBC: Float[Tensor, "S B in"]) -> Float[Tensor, "K B out"]:
        """Return each trial's product with its own weight; S inputs are shared by K/S neighbouring trials each.

        In memory the output is (K, out, B), which the next product, and batch norm with its K·out
        channels, read without a copy. Nor is a shared input copied.

        Raises:
            ValueError: S doesn't divide K.
        """
        if len(x_SBC) < len(self.weight):
            if len(self.weight) % len(x_SBC):
                raise ValueError(f"{len(x_SBC)} inputs can't be shared by {len(self.weight)} trials")
            dtype = _product_dtype(x_SBC)
            y_KCB: Tensor = _SharedProduct.apply(self.weight.to(dtype), x_SBC.to(dtype))
            return (y_KCB if self.bias is None else y_KCB + self.bias.to(dtype)[..., None]).mT
        if self.bias is None:
            return torch.bmm(self.weight, x_SBC.mT).mT
        return torch.baddbmm(self.bias[..., None], self.weight, x_SBC.mT).mT


def _product_dtype(x: Tensor) -> torch.dtype:
    # Autocast knows torch's own products, not the ones below.
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _SharedProduct(torch.autograd.Function):
    """W x of every trial with the input of its seed: for each seed one plain product over all its trials' weights.

    Written out because a batched product over all trials wants a copy of the input for every trial,
    and autograd over slices a second copy of the gradient. The copied input alone made this layer 1.3
    times as slow (320 trials of 10 seeds, 784 to 100 units, batch 100, two CPU cores).
    The input must not need a gradient: shared inputs are images.
    """

    @staticmethod
    def forward(ctx: Any, weight_KCI: Tensor, x_SBI: Tensor) -> Tensor:
        ctx.save_for_backward(x_SBI)
        trials, units, _ = weight_KCI.shape
        y_KCB = x_SBI.new_empty(trials, units, x_SBI.shape[1])
        for x_BI, weight_RI, y_RB in zip(x_SBI, *_rows_per_input(len(x_SBI), weight_KCI, y_KCB), strict=True):
            torch.mm(weight_RI, x_BI.mT, out=y_RB)
        return y_KCB

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x_SBI,) = ctx.saved_tensors
        return _SharedOuter.apply(grads[0], x_SBI), None


class _SharedOuter(torch.autograd.Function):
    """g xᵀ of every trial with the input of its seed: the gradient of the weights of a shared product."""

    @staticmethod
    def forward(ctx: Any, grad_KCB: Tensor, x_SBI: Tensor) -> Tensor:
        ctx.save_for_backward(x_SBI)
        trials, units, _ = grad_KCB.shape
        y_KCI = x_SBI.new_empty(trials, units, x_SBI.shape[2])
        for x_BI, grad_RB, y_RI in zip(x_SBI, *_rows_per_input(len(x_SBI), grad_KCB, y_KCI), strict=True):
            torch.mm(grad_RB, x_BI, out=y_RI)
        return y_KCI

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x_SBI,) = ctx.saved_tensors
        return _SharedProduct.apply(grads[0], x_SBI), None


def _rows_per_input(inputs: int, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut tensors (K, C, …) by the seeds that share an input, each piece a matrix with R = K/S·C rows."""
    return [tensor.contiguous().flatten(0, 1).chunk(inputs) for tensor in tensors]
