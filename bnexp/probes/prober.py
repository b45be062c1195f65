"""Taking the probes of a configuration while a trial group trains, and what a probe gets to see."""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bnexp.config.probes import ProbeSettings
from bnexp.config.trial import TrialSettings
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset
from bnexp.errors import Problem, nearest
from bnexp.nn.clipping import Clipping
from bnexp.nn.norm import freeze_statistics
from bnexp.nn.own.networks import OWN
from bnexp.nn.shards import Shard
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.probes.networks import Batch, Networks, Pass, Theta
from bnexp.records import ProbeRecord
from bnexp.streams import stream_seed

Value = tuple[str, str, Float[Tensor, " K"]]
"""A layer's name (empty: the whole network), what is measured, and a number per trial."""

T = TypeVar("T")
L = TypeVar("L")
BATCH_NUMBERS_PER_STEP = 2**20
"""Numbers reserved for the batches of one step."""


@dataclass(frozen=True)
class Update:
    """The last update."""

    before: Theta
    """The parameters that it began with."""
    numbers_SB: Int[Tensor, "S B"]
    """Numbers of the images that it was made from."""


@dataclass(frozen=True)
class ProbeContext:
    """K networks after some updates; what several probes need is computed once."""

    networks: Networks
    data: Dataset
    settings: TrialSettings
    """Settings of the first trial; all trials of a group agree on them, but for the continuous ones."""
    seeds: tuple[int, ...]
    """Seeds of the trials, if they don't all take the same images: S seeds, each shared by K/S neighbours."""
    trial_seeds: tuple[int, ...]
    """Seed of each of the K trials."""
    clip: Clipping
    """Clips a gradient as training does before an update."""
    memory: MutableMapping[str, Tensor]
    """Tensors that a probe keeps until it is taken again, with the trials in front."""
    step: int
    """Updates made so far."""
    rate_K: Float[Tensor, " K"]
    """Learning rates of the last update, before training of the first one to come."""
    update: Update | None = None
    _known: dict[Any, Any] = field(default_factory=dict, init=False)

    def once(self, key: Any, work: Callable[[], T]) -> T:
        """Return the result of some work, which is done only for the first probe that asks."""
        if key not in self._known:
            self._known[key] = work()
        known: T = self._known[key]
        return known

    def batches(self, count: int) -> Iterator[Batch]:
        """Yield the first batches of the training images, the same at every step; fewer where there are no more."""
        size, device = self.settings.train.batch_size, self.data.train.labels_N.device
        for i in range(min(count, len(self.data.train) // size)):
            yield self._batch(torch.arange(i * size, (i + 1) * size, device=device)[None], i)

    def last_batch(self) -> Batch | None:
        """Return the images that the last update was made from, not augmented."""
        return None if self.update is None else self._batch(self.update.numbers_SB, BATCH_NUMBERS_PER_STEP - 1)

    def drawn_batches(self, count: int) -> Iterator[Batch]:
        """Yield batches drawn with replacement: each seed has its own, the same for all its trials.

        Where training sorts images by class, neighbours in that order, so that a batch is of one class or two.
        """
        for i in range(count):
            yield self._batch(torch.stack([self._drawn(seed, i) for seed in self.seeds]), i)

    def passes(self, count: int) -> list[Pass]:
        """Return passes of the first batches."""
        look = self.networks.look
        return [self.once(("pass", i), partial(look, batch)) for i, batch in enumerate(self.batches(count))]

    def samples(self, kind: Literal["inputs", "outputs"], layer: str, batches: int) -> Float[Tensor, "K N C"]:
        """Return a layer's inputs or outputs over passes of the first batches."""
        found = [self.networks.samples(getattr(each, kind)[layer]) for each in self.passes(batches)]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def _drawn(self, seed: int, i: int) -> Int[Tensor, " B"]:
        generator = torch.Generator().manual_seed(stream_seed(seed, "probe", self._number(i)))
        if self.settings.train.sampling != "by_class":
            return torch.randint(len(self.data.train), (self.settings.train.batch_size,), generator=generator)
        first = int(torch.randint(len(self.data.train) - self.settings.train.batch_size + 1, (), generator=generator))
        return self._by_class()[first : first + self.settings.train.batch_size]

    def _by_class(self) -> Int[Tensor, " N"]:
        return self.once("sorted", lambda: self.data.train.labels_N.cpu().argsort(stable=True))

    def _batch(self, numbers_SB: Int[Tensor, "S B"], i: int) -> Batch:
        numbers_SB = numbers_SB.to(self.data.train.labels_N.device)
        x_SBP = self.data.inputs(self.data.train.images_NP[numbers_SB])
        return Batch(x_SBP, self.data.train.labels_N[numbers_SB], i, self._number(i))

    def _number(self, i: int) -> int:
        """Return a number for a batch that no batch of another step has."""
        return self.step * BATCH_NUMBERS_PER_STEP + i


def chosen(settings: ProbeSettings, layers: Mapping[str, L]) -> dict[str, L]:
    """Return the layers that a probe is to look at."""
    patterns = settings.layers or ("*",)
    shown = {name: name.removeprefix(OWN) for name in layers}
    return {name: layers[name] for name in shown if any(fnmatchcase(shown[name], each) for each in patterns)}


def norms(tensor: Tensor) -> Float[Tensor, " K"]:
    """Return each trial's Euclidean norm, which overflows no sooner than a float64 does."""
    norm_K: Tensor = torch.linalg.vector_norm(tensor.flatten(1), dim=1, dtype=torch.float64)
    return norm_K


def sum_of_squares(theta: Theta) -> Float[Tensor, " K"]:
    """Return ‖θ‖² of every trial over all tensors."""
    return torch.stack([norms(tensor).square() for tensor in theta.values()]).sum(0)


def mean_gradient(gradients: Sequence[Theta]) -> Theta:
    """Return the mean of gradients, tensor by tensor."""
    if len(gradients) == 1:
        return gradients[0]
    return {name: torch.stack([each[name] for each in gradients]).mean(0) for name in gradients[0]}


def filter_norms(weight: Float[Tensor, "K out *rest"]) -> Float[Tensor, "K out *_"]:
    """Return the norm of every filter, or row of a linear layer, (K, out, 1, …)."""
    lengths: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(2, weight.ndim)), keepdim=True)
    return lengths


class Prober:
    """Measures inside the networks of a group, without changing their training.

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
        self._parts = [(shard, self._context(shard)) for shard in (shards if probes else ())]
        self._before: dict[str, Tensor] = {}

    def due(self, step: int, recorded: bool) -> list[ProbeSettings]:
        """Return the probes that are to be taken after so many updates; `recorded`: there is a record of them."""

        def now(probe: ProbeSettings) -> bool:
            if probe.at is not None:
                return step in probe.at
            return recorded if probe.every is None else step % probe.every == 0

        return [probe for probe in self._probes if now(probe)]

    def freeze(self) -> None:
        """Let the running statistics normalise in training mode from now on."""
        for _, context in self._parts:
            freeze_statistics(context.networks.module)

    def before_update(self, due: Sequence[ProbeSettings]) -> None:
        """Before an update, keep what the probes that are taken after it will need."""
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
        for count, (shard, context) in enumerate(self._parts, start=1):
            trials, update = slice(shard.first, shard.end), None
            if batch_SB is not None and self._before:
                before = {name: tensor[trials] for name, tensor in self._before.items()}
                update = Update(before, batch_SB[self._seed_rows(shard)])
            context = replace(context, step=step, rate_K=rate_K[trials], update=update)
            for probe in due:
                for place, name, value_K in probe.spec.load()(context, probe):
                    layer = place.removeprefix(OWN)
                    found.setdefault((layer, name), []).append(value_K.detach().double())
                    assert len(found[layer, name]) == count, f"{name} of {layer or 'the network'} was found twice"
        self._before = {}
        rows = torch.stack([torch.cat(values) for values in found.values()]).tolist() if found else []
        values = {key: tuple(row) for key, row in zip(found, rows, strict=True)}
        return ProbeRecord(self._group.numbers, epoch, step, values)

    def state(self) -> dict[str, Tensor]:
        """Return what the probes remember, with the trials in front."""
        memories = [context.memory for _, context in self._parts]
        return {name: torch.cat([each[name] for each in memories]) for name in (memories[0] if memories else ())}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state from `state()` of the same trials."""
        for shard, context in self._parts:
            device = next(context.networks.module.parameters()).device
            context.memory.update({name: each[shard.first : shard.end].to(device) for name, each in state.items()})

    def _context(self, shard: Shard) -> ProbeContext:
        """Return the context that probes get of a shard, before the first step."""
        settings, trials = self._group.settings, slice(shard.first, shard.end)
        limits = [trial.settings.train.clip for trial in self._group.trials[trials]]
        theta = next(shard.network.parameters()).detach()
        return ProbeContext(
            Networks(shard, self._seeds[trials], settings.train.label_smoothing),
            self._data,
            settings,
            self._group.shared_seeds[self._seed_rows(shard)],
            self._seeds[trials],
            Clipping.of(limits, shard.network),
            memory={},
            step=0,
            rate_K=theta.new_zeros(len(shard)),
        )

    def _seed_rows(self, shard: Shard) -> slice:
        return shard.rows(len(self._group.shared_seeds), len(self._seeds))


def hessian_batches(probes: Iterable[ProbeSettings]) -> int:
    """Return for how many batches one trial's gradient is kept in float64, to be differentiated again."""
    return max((probe.batches or 1 for probe in probes if probe.spec.one_trial_at_a_time), default=0)


def kept_passes(probes: Iterable[ProbeSettings]) -> int:
    """Return for how many batches the outputs of all layers are kept at once."""
    return max((probe.batches or 1 for probe in probes if probe.spec.keeps_outputs), default=0)


def unknown_layers(
    groups: Sequence[TrialGroup],
    shape_of: Callable[[TrialGroup], DataShape],
    probes: Sequence[ProbeSettings],
    key: str = "probes.{number}.layers",
) -> Iterator[Problem]:
    """Yield the names that no layer of any network has.

    Args:
        groups: all trials.
        shape_of: what a group trains on.
        probes: of the experiment.
        key: of a probe's layers, for messages.
    """
    if not any(probe.layers for probe in probes):
        return
    models = {(group.settings.model, shape_of(group)): None for group in groups}
    tables = (layer_table(model, shape.image, shape.classes) for model, shape in models)
    names = list(dict.fromkeys(row.name for table in tables for row in table))
    for i, probe in enumerate(probes):
        for pattern in probe.layers or ():
            if not any(fnmatchcase(name, pattern) for name in names):
                hint = nearest(pattern, names) or f" (there are {', '.join(names[:3])}, …)"
                place = key.format(number=i, name=probe.name)
                yield Problem("", place, f"{pattern}: no layer has this name{hint}; bnexp show lists them")
