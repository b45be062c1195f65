"""Some of K networks as a network of their own, in the same memory.

Where a library is faster with few trials at once, the trials of a group compute in shards, one after the other.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.streams import TrialRandom

Matrices = Sequence[Float[Tensor, "K _"]]
"""One matrix per learned tensor, in the model's order."""
Parts = Sequence[Sequence[Float[Tensor, "_ _"]]]
"""Such matrices of neighbouring trials, shard by shard."""


class Parameters:
    """A model's learned tensors, each seen as a matrix (K, numbers per trial).

    Attributes:
        matrices: views of the parameters; writing here changes the model.
        decayed: which of them are weights of layers, not biases, scalars or norm parameters.
    """

    def __init__(self, model: nn.Module):
        named = list(model.named_parameters())
        self.matrices: Matrices = [parameter.detach().view(len(parameter), -1) for _, parameter in named]
        # γ of torch's norm layers is called weight, too, but is a vector.
        self.decayed = [name.endswith("weight") and parameter.ndim > 2 for name, parameter in named]

    def __len__(self) -> int:
        """Numbers that each trial learns."""
        return sum(matrix.shape[1] for matrix in self.matrices)


def in_one_buffer(model: nn.Module) -> Float[Tensor, " P"]:
    """Move a model's parameters into one buffer, one after the other; return it."""
    parameters = list(model.parameters())
    buffer = torch.cat([parameter.detach().flatten() for parameter in parameters])
    for parameter, piece in zip(parameters, buffer.split([each.numel() for each in parameters]), strict=True):
        parameter.data = piece.view_as(parameter)
    return buffer


@dataclass(frozen=True)
class Shard:
    """Neighbouring trials that compute at once."""

    network: nn.Module
    draws: TrialRandom
    first: int
    """Index of the first trial."""
    end: int
    """Index after the last trial."""

    def __len__(self) -> int:
        return self.end - self.first

    def rows(self, inputs: int, trials: int) -> slice:
        """Return which of S inputs, shared by K/S neighbouring trials each, these trials take."""
        return slice(self.first * inputs // trials, (self.end - 1) * inputs // trials + 1)

    def gradient(self, loss: Float[Tensor, ""]) -> Matrices:
        """Return the gradient of a loss summed over these trials: row k is the gradient of trial k alone."""
        # Of a single number: weights for several would make torch import its symbolic shapes (0.5 s).
        return [gradient.flatten(1) for gradient in torch.autograd.grad(loss, self._parameters)]

    @cached_property
    def _parameters(self) -> list[nn.Parameter]:
        # Going through all layers to find them takes as long as a layer of a small update.
        return list(self.network.parameters())


def shards(network: nn.Module, draws: TrialRandom, sizes: Sequence[int]) -> list[Shard]:
    """Cut K networks along the trials into networks of the given sizes.

    Parameters and buffers are views: whatever changes in the one changes in the other.
    """
    if len(sizes) == 1:
        return [Shard(network, draws, 0, sizes[0])]
    return [_shard(network, draws, first, end) for first, end in pairwise(accumulate(sizes, initial=0))]


def probe_copy(shard: Shard, draws: TrialRandom) -> nn.Module:
    """Return a network with the parameters of the shard, but with buffers and random draws of its own.

    A pass through it leaves the shard unchanged.
    """
    memo: dict[int, object] = {id(shard.draws): draws}
    memo |= {id(theta): theta for theta in shard.network.parameters()}
    memo |= {id(buffer): buffer.clone() for buffer in shard.network.buffers()}
    return copy.deepcopy(shard.network, memo)


def _shard(network: nn.Module, draws: TrialRandom, first: int, end: int) -> Shard:
    trials = slice(first, end)
    own_draws = draws.of(trials)
    # What deepcopy finds in its memo it doesn't copy.
    memo: dict[int, object] = {id(draws): own_draws}
    memo |= {id(theta): nn.Parameter(theta.detach()[trials]) for theta in network.parameters()}
    memo |= {id(buffer): buffer[trials] for buffer in network.buffers()}
    return Shard(copy.deepcopy(network, memo), own_draws, first, end)
