"""A fully connected layer for K trials at once."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Module):
    """y = x W + b with a weight of its own for every trial.

    Args:
        trials: K.
        features: C_in of the input.
        units: C_out of the output.
        bias: whether to add b.

    Attributes:
        weight: (K, in, out).
        bias: (K, 1, out), or None.
    """

    def __init__(self, trials: int, features: int, units: int, *, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(trials, features, units))
        self.bias = nn.Parameter(torch.zeros(trials, 1, units)) if bias else None

    def forward(self, x_KBC: Float[Tensor, "K B in"]) -> Float[Tensor, "K B out"]:
        """Return each trial's product with its own weight; the bias is fused into the product."""
        if self.bias is None:
            return torch.bmm(x_KBC, self.weight)
        return torch.baddbmm(self.bias, x_KBC, self.weight)
