"""Taking the probes of a configuration while a trial group trains."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bnexp.config.probes import ProbeSettings
from bnexp.data.dataset import Dataset
from bnexp.nn.clipping import Clipping
from bnexp.nn.shards import Shard
from bnexp.plan import TrialGroup
from bnexp.probes.context import ProbeContext, Update
from bnexp.probes.networks import Networks, Theta
from bnexp.records import ProbeRecord


def hessian_batches(probes: Iterable[ProbeSettings]) -> int:
    """Return over how many batches the gradient of one trial is kept in float64, to be derived once more."""
    return max((probe.batches or 1 for probe in probes if probe.spec.one_trial_at_a_time), default=0)


def kept_passes(probes: Iterable[ProbeSettings]) -> int:
    """Return of how many batches everything that layers hand on is kept at a time."""
    return max((probe.batches or 1 for probe in probes if probe.spec.keeps_outputs), default=0)


@dataclass
class _Part:
    """Trials that compute at once."""

    shard: Shard
    networks: Networks
    clip: Clipping
    memory: dict[str, Tensor] = field(default_factory=dict)


class Prober:
    """Measures inside the networks of a group; their training goes on as if nobody had looked.

    Args:
        group: the trials.
        network: of all of them.
        shards: the parts of it that compute at once.
        data: what they train on.
        probes: what to measure.
    """

    def __init__(
        self,
        group: TrialGroup,
        network: nn.Module,
        shards: Sequence[Shard],
        data: Dataset,
        probes: Sequence[ProbeSettings],
    ):
        self._group, self._network, self._data, self._probes = group, network, data, probes
        self._seeds = tuple(trial.seed for trial in group.trials)
        self._parts = [self._part(each) for each in (shards if probes else ())]
        self._before: dict[str, Tensor] = {}

    def due(self, step: int, recorded: bool) -> list[ProbeSettings]:
        """Return the probes that are to be taken after so many updates; `recorded`: there is a record of them."""
        return [probe for probe in self._probes if _due(probe, step, recorded=recorded)]

    def before_update(self, due: Sequence[ProbeSettings]) -> None:
        """Keep what the probes to be taken after the coming update need of the time before it."""
        if any(probe.spec.needs_update for probe in due):
            self._before = {name: theta.detach().clone() for name, theta in self._network.named_parameters()}

    def measure(
        self,
        due: Sequence[ProbeSettings],
        epoch: int,
        step: int,
        rate_K: Float[Tensor, " K"],
        batch_SB: Int[Tensor, "S B"] | None = None,
    ) -> ProbeRecord:
        """Take probes; the host reads the device once.

        Args:
            due: the probes.
            epoch, step: the moment.
            rate_K: learning rates of the last update, or of the first one to come.
            batch_SB: numbers of the images of the last update; None before training.
        """
        found: dict[tuple[str, str], list[Tensor]] = {}
        for count, part in enumerate(self._parts, start=1):
            context = self._context(part, step, rate_K, batch_SB)
            for probe in due:
                for layer, name, value_K in probe.spec.load()(context, probe):
                    found.setdefault((layer, name), []).append(value_K.detach().double())
                    assert len(found[layer, name]) == count, f"{name} of {layer or 'the network'} was found twice"
        self._before = {}
        rows = torch.stack([torch.cat(values) for values in found.values()]).tolist() if found else []
        values = {key: tuple(row) for key, row in zip(found, rows, strict=True)}
        return ProbeRecord(self._group.numbers, epoch, step, values)

    def state(self) -> dict[str, Tensor]:
        """Return what the probes remember, with the trials in front."""
        if not self._parts:
            return {}
        return {name: torch.cat([part.memory[name] for part in self._parts]) for name in self._parts[0].memory}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state from `state()` of the same trials."""
        for part in self._parts:
            device = next(part.networks.module.parameters()).device
            rows = slice(part.shard.first, part.shard.end)
            part.memory = {name: tensor[rows].to(device) for name, tensor in state.items()}

    def _part(self, shard: Shard) -> _Part:
        smoothing, rows = self._group.settings.train.label_smoothing, slice(shard.first, shard.end)
        limits = [trial.settings.train.clip for trial in self._group.trials[rows]]
        clip = Clipping.of(limits, next(shard.network.parameters()).detach())
        return _Part(shard, Networks(shard, self._seeds[rows], smoothing), clip)

    def _context(self, part: _Part, step: int, rate_K: Tensor, batch_SB: Tensor | None) -> ProbeContext:
        first, end, shared = part.shard.first, part.shard.end, self._group.shared_seeds
        rows = part.shard.rows(len(shared), len(self._seeds))
        update = None
        if batch_SB is not None and self._before:
            before: Theta = {name: tensor[first:end] for name, tensor in self._before.items()}
            update = Update(before, batch_SB[rows])
        return ProbeContext(
            part.networks,
            self._data,
            self._group.settings,
            shared[rows],
            self._seeds[first:end],
            step,
            rate_K[first:end],
            part.clip,
            update,
            part.memory,
        )


def _due(probe: ProbeSettings, step: int, *, recorded: bool) -> bool:
    if probe.at is not None:
        return step in probe.at
    return recorded if probe.every is None else step % probe.every == 0
