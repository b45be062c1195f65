"""The two layouts of K trials' activations, x_KBC and x_BDHW, and how inputs, draws and numbers enter them."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Activations = Float[Tensor, "K B C"] | Float[Tensor, "B D H W"]
"""What layers hand on: of fully connected networks the first, of convolutional ones the second."""


def trials_of(network: nn.Module) -> int:
    """Return K, by which every parameter begins."""
    return len(next(network.parameters()))


def share_features(x_SBC: Float[Tensor, "S B C"], trials: int) -> Float[Tensor, "K B C"]:
    """Hand S inputs to K trials, K/S neighbours each."""
    shared = len(x_SBC)
    if shared in (1, trials):
        return x_SBC.expand(trials, -1, -1)
    return x_SBC[:, None].expand(-1, trials // shared, -1, -1).flatten(0, 1)


def share_images(
    x_SBP: Float[Tensor, "S B P"], image: tuple[int, int, int], trials: int, *, apart: bool
) -> Float[Tensor, "B D H W"]:
    """Hand S inputs of C, H, W pixels to K trials, K/S neighbours each; one for all stays one unless `apart`."""
    if len(x_SBP) > 1 or apart:
        x_SBP = share_features(x_SBP.flatten(1)[:, None], trials).reshape(trials, *x_SBP.shape[1:])
    x_BDHW: Tensor = x_SBP.unflatten(-1, image).transpose(0, 1).flatten(1, 2)
    return x_BDHW.contiguous(memory_format=torch.channels_last)


def pooled_features(x_BDHW: Float[Tensor, "B D H W"], trials: int) -> Float[Tensor, "K B C"]:
    """Return every channel's mean over all places."""
    mean_BKC: Tensor = x_BDHW.mean((2, 3)).unflatten(1, (trials, -1))
    return mean_BKC.transpose(0, 1)


def per_trial(numbers_K: Float[Tensor, " K"], x: Activations) -> Tensor:
    """Return one number a trial in a shape that meets the trial's activations."""
    if x.ndim == 3:
        return numbers_K[:, None, None]
    return numbers_K.repeat_interleave(x.shape[1] // len(numbers_K))[:, None, None]


def draws_for(x: Activations, trials: int, draw: Callable[..., Float[Tensor, "K ..."]]) -> Tensor:
    """Return random numbers of the shape of x; every trial draws (B, C), or (B, H, W, C)."""
    if x.ndim == 3:
        return draw(*x.shape[1:])
    batch, channels, height, width = x.shape
    # In the order in which activations lie in memory.
    return draw(batch, height, width, channels // trials).permute(1, 0, 4, 2, 3).flatten(1, 2)
