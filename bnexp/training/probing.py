"""Probes beside the training: when they are due, in which arithmetic, what they found, and how long they took."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.probes.prober import Prober
from bnexp.records import ProbeRecord
from bnexp.training.numerics import full_precision, numerics
from bnexp.training.trainee import State, Trainee

REMEMBERED = "probe."
"""Prefix of what probes remember in a state."""


class Probing:
    """The probes of a group in training.

    Args:
        trainee: the group.
        probes: what to measure; nothing at all is fine.

    Attributes:
        seconds: that the measurements have taken so far.
    """

    def __init__(self, trainee: Trainee, probes: Sequence[ProbeSettings]):
        self.seconds = 0.0
        self._trainee, self._probes, self._train = trainee, probes, trainee.group.settings.train
        self._prober = Prober(trainee.group, trainee.network, trainee.shards, trainee.data, probes)
        self._found: list[ProbeRecord] = []

    def of(self, trainee: Trainee) -> "Probing":
        """Return what goes on with the trainee of some of the trials."""
        numbers, left = self._trainee.group.numbers, trainee.group.numbers
        kept = torch.tensor([numbers.index(number) for number in left], device=trainee.device)
        smaller = Probing(trainee, self._probes)
        smaller.seconds = self.seconds
        smaller.load({name: tensor[kept] for name, tensor in self.state().items()})
        return smaller

    def before_update(self, step: int, *, recorded: bool) -> None:
        """Prepare for what is due after the update with this number."""
        if due := self._prober.due(step, recorded):
            with self._timed():
                self._prober.before_update(due)

    def measure(
        self,
        epoch: int,
        step: int,
        rate_K: Float[Tensor, " K"],
        batch_SB: Int[Tensor, "S B"] | None = None,
        *,
        recorded: bool,
    ) -> None:
        """Take the probes that are due after the update with this number, made from this batch."""
        if due := self._prober.due(step, recorded):
            with self._timed(), numerics(full_precision(self._train), self._trainee.device):
                self._found.append(self._prober.measure(due, epoch, step, rate_K, batch_SB))

    def take(self) -> tuple[ProbeRecord, ...]:
        """Return what was found since this was asked last."""
        found, self._found = tuple(self._found), []
        return found

    def state(self) -> dict[str, Tensor]:
        """Return what the probes remember; every tensor has the trials in front."""
        return {REMEMBERED + name: tensor for name, tensor in self._prober.state().items()}

    def load(self, state: State) -> None:
        """Take over a state of the same trials, in which there may be other things."""
        mine = {name: tensor for name, tensor in state.items() if name.startswith(REMEMBERED)}
        self._prober.load({name.removeprefix(REMEMBERED): tensor for name, tensor in mine.items()})

    @contextmanager
    def _timed(self) -> Iterator[None]:
        self._wait()
        started = time.perf_counter()
        yield
        self._wait()
        self.seconds += time.perf_counter() - started

    def _wait(self) -> None:
        if self._trainee.device.type == "cuda":
            torch.cuda.synchronize(self._trainee.device)
