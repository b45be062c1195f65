"""Dropout with a rate per trial and uniforms per seed, so that the arms of a seed drop the same units."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.streams import stream_seed


class SeedUniforms:
    """Uniform draws for every distinct seed of a group, handed to each of its trials.

    Args:
        seeds: seed of each of the K trials, equal ones side by side.
        device: where the draws are made.

    Attributes:
        generators: one for each distinct seed.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self._seeds = tuple(dict.fromkeys(seeds))
        self.generators = [torch.Generator(device) for _ in self._seeds]
        self._seed_K = torch.tensor([self._seeds.index(seed) for seed in seeds], device=device)
        self._device = device

    def start_epoch(self, epoch: int) -> None:
        """Begin the dropout stream of an epoch."""
        for seed, generator in zip(self._seeds, self.generators, strict=True):
            generator.manual_seed(stream_seed(seed, "dropout", epoch))

    def draw(self, batch: int, features: int) -> Float[Tensor, "K B C"]:
        """Return the next (batch, features) uniforms in [0, 1) of every trial's seed, in float32."""
        drawn = [
            torch.rand(batch, features, generator=g, dtype=torch.float32, device=self._device) for g in self.generators
        ]
        return torch.stack(drawn)[self._seed_K]


class Dropout(nn.Module):
    """Inverted dropout: in training, units whose uniform is below the trial's rate become 0, the rest grow.

    Args:
        rates: dropout probability of each of the K trials.
        uniforms: where the draws come from, shared by all dropout layers of the network.
    """

    rate_K11: Tensor
    gain_K11: Tensor

    def __init__(self, rates: Sequence[float], uniforms: SeedUniforms):
        super().__init__()
        self.uniforms = uniforms
        self.register_buffer("rate_K11", torch.tensor(rates, dtype=torch.float32)[:, None, None], persistent=False)
        self.register_buffer(
            "gain_K11", 1 / (1 - torch.tensor(rates, dtype=torch.float64))[:, None, None], persistent=False
        )

    def forward(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        """Drop units in training; return the input in evaluation."""
        if not self.training:
            return x_KBC
        kept = self.uniforms.draw(*x_KBC.shape[1:]) >= self.rate_K11
        return x_KBC * (kept * self.gain_K11).to(x_KBC.dtype)
