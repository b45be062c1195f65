"""What a probe gets to see: the networks at one step, the data, and the update that was made last."""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.config.trial import TrialSettings
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset
from bnexp.errors import Problem, nearest
from bnexp.nn.clipping import Clipping
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.probes.networks import Batch, Networks, Pass, Theta
from bnexp.streams import stream_seed

Value = tuple[str, str, Float[Tensor, " K"]]
"""A layer's name (empty: the whole network), what is measured, and a number per trial."""
Measure = Callable[["ProbeContext", ProbeSettings], Iterator[Value]]

T = TypeVar("T")
BATCH_NUMBERS_PER_STEP = 2**20
"""Numbers reserved for the batches of one step."""


@dataclass(frozen=True)
class Update:
    """The last update."""

    before: Theta
    """The parameters that it began with."""
    numbers_SB: Int[Tensor, "S B"]
    """Of the images that it was made from."""


@dataclass
class ProbeContext:
    """K networks after so many updates; what several probes need is worked out once."""

    networks: Networks
    data: Dataset
    settings: TrialSettings
    """Of the first trial; all trials of a group agree on them, but for the continuous ones."""
    seeds: tuple[int, ...]
    """Of the trials, where they don't all take the same images: S seeds, shared by K/S neighbours each."""
    trial_seeds: tuple[int, ...]
    """Of each of the K trials."""
    step: int
    """Updates made so far."""
    rate_K: Float[Tensor, " K"]
    """Learning rates of the last update, before training of the first one to come."""
    clip: Clipping
    """What training does to a gradient before it makes an update of it."""
    update: Update | None
    memory: MutableMapping[str, Tensor]
    """What a probe keeps until it is taken again, with the trials in front."""
    _known: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, work: Callable[[], T]) -> T:
        """Return what some work gives, which is done for the first probe that asks."""
        if key not in self._known:
            self._known[key] = work()
        known: T = self._known[key]
        return known

    def batches(self, count: int) -> Iterator[Batch]:
        """Yield the first batches of the training images, the same at every step; fewer where there are no more."""
        for i in range(min(count, len(self.data.train) // self.settings.train.batch_size)):
            first = i * self.settings.train.batch_size
            yield self._batch(torch.arange(first, first + self.settings.train.batch_size)[None], i)

    def last_batch(self) -> Batch | None:
        """Return the images that the last update was made from, not augmented."""
        return None if self.update is None else self._batch(self.update.numbers_SB, BATCH_NUMBERS_PER_STEP - 1)

    def drawn_batches(self, count: int) -> Iterator[Batch]:
        """Yield batches drawn with replacement, of each seed its own, the same for all its trials.

        Where training sorts images by class, neighbours in that order, so that a batch is of one class or two.
        """
        for i in range(count):
            yield self._batch(torch.stack([self._drawn(seed, i) for seed in self.seeds]), i)

    def passes(self, count: int) -> list[Pass]:
        """Return passes of the first batches."""
        look = self.networks.look
        return [self.once(("pass", i), partial(look, batch)) for i, batch in enumerate(self.batches(count))]

    def samples(self, kind: Literal["inputs", "outputs"], layer: str, batches: int) -> Float[Tensor, "K N C"]:
        """Return what comes into a layer, or what it hands on, over passes of the first batches."""
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


def wanted(settings: ProbeSettings, name: str) -> bool:
    """Whether a layer is among those that a probe is to look at."""
    return settings.layers is None or any(fnmatchcase(name, pattern) for pattern in settings.layers)


def norms(tensor: Tensor) -> Float[Tensor, " K"]:
    """Return each trial's Euclidean norm, which overflows no sooner than a float64 does."""
    norm_K: Tensor = torch.linalg.vector_norm(tensor.flatten(1), dim=1, dtype=torch.float64)
    return norm_K


def filter_norms(weight: Float[Tensor, "K out *rest"]) -> Float[Tensor, "K out *_"]:
    """Return the norm of every filter, or row of a linear layer, (K, out, 1, …)."""
    lengths: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(2, weight.ndim)), keepdim=True)
    return lengths


def unknown_layers(
    groups: Sequence[TrialGroup],
    shape_of: Callable[[TrialGroup], DataShape],
    probes: Sequence[ProbeSettings],
    source: str,
) -> Iterator[Problem]:
    """Yield the names that no layer of any network has.

    Args:
        groups: all trials.
        shape_of: what a group trains on.
        probes: of the experiment.
        source: names the configuration in messages; empty where the probes are an option of the command line.
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
                place = f"probes.{i}.layers" if source else f"--probe {probe.name}: layers"
                yield Problem(source, place, f"{pattern}: no layer has this name{hint}; bnexp show lists them")
