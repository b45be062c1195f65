"""A 3×3 convolution for K trials at once."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 3


class Conv2d(nn.Module):
    """Cross-correlation with a kernel of its own for every trial, zeros around the picture; as torch.nn.Conv2d.

    Args:
        trials: K.
        features: C_in of the input.
        channels: C_out of the output.
        stride: pixels from one output to the next.
        bias: whether to add one number a channel.

    Attributes:
        weight: (K, out, in, 3, 3).
        bias: (K, out), or None.
        fixup_gain: factor on the initial weights under fixup.
    """

    fixup_gain = 1.0

    def __init__(self, trials: int, features: int, channels: int, *, stride: int = 1, bias: bool = True):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.zeros(trials, channels, features, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(trials, channels)) if bias else None

    def forward(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B E h w"]:
        """Return the K·C_out channels of all trials; an input of C_in channels is shared by all of them."""
        bias_E = None if self.bias is None else self.bias.flatten()
        groups = x_BDHW.shape[1] // self.weight.shape[2]
        return F.conv2d(x_BDHW, self.weight.flatten(0, 1), bias_E, self.stride, KERNEL // 2, groups=groups)
