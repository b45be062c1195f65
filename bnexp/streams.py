"""Random streams: one for each (seed, purpose, index), and draws that the trials of a seed share.

Nothing random is ever saved. A stream's generator seed is derived from the trial's seed, the
stream's name and an index, so any draw can be repeated alone:

=========  ======================  =======================================================
stream     index                   what is drawn, in order
=========  ======================  =======================================================
weights    layer, from 0           float64 standard normals of a weight's shape, (out, in) or (out, in, height, width)
batches    epoch, from 1           the epoch's order of images
dropout    epoch, from 1           uniforms of a layer's shape without the trials, step by step, layer by layer
noise      epoch, from 1           as bnexp.nn.norm says, step by step, layer by layer
augment    epoch, from 1           as bnexp.data.augment says, step by step
module     epoch, from 1           a uniform a step; it seeds what a network of one's own draws by itself
probe      step · 2^20 + batch     images of a batch that only a probe looks at
landscape  2 · weight + direction  float64 standard normals of a weight's shape; weights and the two directions from 0
=========  ======================  =======================================================

Dropout, noise and augmentation are drawn on the device, the others on the CPU whatever the device.
docs/reproducibility.md says how to repeat a whole trial with them.

Shapes: K trials.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Stream = Literal["weights", "batches", "dropout", "noise", "augment", "module", "probe", "landscape"]


def stream_seed(seed: int, stream: Stream, index: int) -> int:
    """Seed for the generator of one stream: the first 8 bytes of a SHA-256, halved to fit 63 bits."""
    digest = hashlib.sha256(f"bnexp/{seed}/{stream}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


DRAWN: tuple[Stream, ...] = ("dropout", "noise", "augment", "module")
"""The streams that are drawn step by step on the device, and start over with every epoch."""

Sample = Callable[..., Tensor]


class SeedGenerators:
    """The random streams of some seeds, and what they drew in the current step.

    Args:
        seeds: repetitions are ignored.
        device: where the draws are made.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self.device = device
        self._streams = {(seed, name): torch.Generator(device) for seed in dict.fromkeys(seeds) for name in DRAWN}
        self._used: dict[tuple[int, Stream], torch.Generator] = {}
        self._drawn: dict[tuple[int, Stream], list[Tensor]] = {}

    @property
    def generators(self) -> list[torch.Generator]:
        """The generators that were drawn from so far."""
        return list(self._used.values())

    def start_epoch(self, epoch: int) -> None:
        """Begin the streams of an epoch."""
        self.start(dict.fromkeys(DRAWN, epoch))

    def start(self, indices: Mapping[Stream, int]) -> None:
        """Begin some streams, each with an index of its own."""
        for (seed, name), generator in self._streams.items():
            if name in indices:
                generator.manual_seed(stream_seed(seed, name, indices[name]))
        self.start_step()

    def state(self) -> list[Tensor]:
        """Return how far every stream has been drawn, on the host."""
        return [generator.get_state() for generator in self._streams.values()]

    def load(self, state: Sequence[Tensor]) -> None:
        """Go to a state from `state()`."""
        for generator, each in zip(self._streams.values(), state, strict=True):
            generator.set_state(each)

    def start_step(self) -> None:
        """Drop what was drawn: the next draws are new ones."""
        self._drawn.clear()

    def keep(self, seeds: Sequence[int]) -> None:
        """Drop what other seeds drew in this step, since trials of one seed compute in neighbouring passes."""
        self._drawn = {key: drawn for key, drawn in self._drawn.items() if key[0] in seeds}

    def draw(self, seed: int, name: Stream, place: int, sample: Sample, shape: Sequence[int]) -> Tensor:
        """Return a seed's draw at a place of a stream, counted from 0 in the step: a new one, or that made before."""
        drawn = self._drawn.setdefault((seed, name), [])
        if place == len(drawn):
            generator = self._used[seed, name] = self._streams[seed, name]
            drawn.append(sample(*shape, generator=generator, dtype=torch.float32, device=self.device))
        return drawn[place]


class TrialRandom:
    """The draws of K trials; those of one seed get the same, even if they compute one after the other.

    Args:
        streams: what is drawn from.
        seeds: seed of each of the K trials, equal ones side by side.
    """

    def __init__(self, streams: SeedGenerators, seeds: Sequence[int]):
        self._streams, self._trial_seeds = streams, tuple(seeds)
        self._seeds = tuple(dict.fromkeys(seeds))
        # On the device beforehand: a CUDA graph can't copy from the host.
        self._row_K = torch.tensor([self._seeds.index(seed) for seed in seeds], device=streams.device)
        self._places: dict[Stream, int] = {}

    def of(self, trials: slice) -> "TrialRandom":
        """Return the draws of some of the trials."""
        return TrialRandom(self._streams, self._trial_seeds[trials])

    def start_pass(self) -> None:
        """Restart at the first draw of the step; other seeds are done, or begin afterwards."""
        self._places.clear()
        self._streams.keep(self._seeds)

    def uniform(self, stream: Stream, *shape: int) -> Float[Tensor, "K ..."]:
        """Return every trial's next uniforms in [0, 1)."""
        return self._next(stream, torch.rand, shape)

    def normal(self, stream: Stream, *shape: int) -> Float[Tensor, "K ..."]:
        """Return every trial's next standard normals."""
        return self._next(stream, torch.randn, shape)

    def _next(self, stream: Stream, sample: Sample, shape: Sequence[int]) -> Tensor:
        place = self._places.get(stream, 0)
        self._places[stream] = place + 1
        drawn = [self._streams.draw(seed, stream, place, sample, shape) for seed in self._seeds]
        return torch.stack(drawn)[self._row_K]
