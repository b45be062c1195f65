"""What training a group will take: its memory, by counting what is alive in a step, and its time, by timing a few."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch

from bnexp.config.probes import ProbeSettings
from bnexp.config.train import TrainSettings
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import WHITENINGS, fit
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.probes.prober import Prober, hessian_batches, kept_passes
from bnexp.streams import SeedGenerators, TrialRandom
from bnexp.training.graphs import updater
from bnexp.training.group_state import CHUNK_NUMBERS, GroupTrainState
from bnexp.training.numerics import dtype_of, numerics, threads
from bnexp.training.work import record_steps, shard_sizes, trials_at_once, updates_per_epoch

PROBED = 4
"""Numbers per parameter alive while a probe is taken: the gradient, another, the parameters elsewhere and before."""
HESSIAN = 12
"""Numbers per output of a layer while a gradient is derived once more: it keeps up to three, and deriving it takes as
many again, all in float64."""
HOST_COPIES = 3
"""Copies of the state that saving it takes on the host: the snapshot, and two while the file is put together."""
CHUNK_TENSORS = 4
"""Tensors of a chunk's size that are alive while a split is measured."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a group takes besides the images."""

    per_trial: int
    """Parameters, optimiser and, where all trials compute at once, the activations of a batch."""
    shared: int
    """What measuring takes, and the activations of trials that compute one after the other."""

    def of(self, trials: int) -> int:
        """Bytes of a group of so many trials."""
        return self.shared + trials * self.per_trial

    def most(self, room: int) -> int:
        """Trials that fit; 0 where not even one does."""
        return max(0, (room - self.shared) // self.per_trial)


def image_bytes(group: TrialGroup, shape: DataShape) -> int:
    """Count what the images of a group take, of which a process keeps one copy: bytes, or floats where whitened."""
    size = dtype_of(group.settings.train.precision).itemsize if group.settings.data.normalize in WHITENINGS else 1
    return (shape.train + shape.val + shape.test) * prod(shape.image) * size


def footprint(
    group: TrialGroup, shape: DataShape, device: torch.device, probes: Sequence[ProbeSettings] = ()
) -> Footprint:
    """Count what a group takes on a device, with the probes that are taken of it."""
    settings, features = group.settings, prod(shape.image)
    draws = TrialRandom(SeedGenerators([0], torch.device("cpu")), [0])
    layers = layer_table(settings.model, shape.image, shape.classes, draws)
    parameters = sum(layer.parameters for layer in layers)
    largest = max(layer.output for layer in layers)
    kept = sum(layer.saved for layer in layers)
    # The backward pass needs every layer's output, and has the gradients of two of them in hand.
    # A probe keeps them, and the gradients that fall on them.
    batches = 1 + 2 * kept_passes(probes)
    activations = settings.train.batch_size * (features + batches * kept + 2 * largest)
    optimizer = settings.train.optimizer_spec
    state = (1 + optimizer.kept) * parameters
    at_once = trials_at_once(settings.model, device)
    backward = (PROBED if probes else 1) * parameters + (activations if at_once is None else 0)
    saving = HOST_COPIES * state if device.type == "cpu" else 0
    numbers = state + max(backward, optimizer.working * parameters, saving)
    shared = CHUNK_TENSORS * CHUNK_NUMBERS[device.type] + (at_once or 0) * activations
    shared += HESSIAN * hessian_batches(probes) * settings.train.batch_size * kept
    size = dtype_of(settings.train.precision).itemsize
    return Footprint(numbers * size, shared * size)


TIMED_TRIALS = 8
"""Trials that are timed at most where they compute at once; more are taken to need time in proportion."""
TIMED_STEPS, TIMED_SECONDS = 5, 0.5
"""Steps that are timed, fewer where they take so long together."""


def estimated_seconds(group: TrialGroup, shape: DataShape, device: torch.device) -> float:
    """Return what training and evaluating a group will take on a device: measured on a few trials, and scaled up.

    Raises:
        ConfigError: batches don't fit the data.
    """
    train = group.settings.train
    per_epoch = updates_per_epoch(group, shape)
    few = _few(group, device)
    data = _noise(few, shape, device)
    with numerics(train, device):
        train_state = GroupTrainState(few, data)
        shard = max(shard_sizes(group, device))
        macs = train_state.macs * shard // max(shard_sizes(few, device))
        batch_SB = torch.randint(len(data.train), (len(few.shared_seeds), train.batch_size), device=device)
        rate_K1 = torch.zeros(len(few.trials), 1, device=device, dtype=dtype_of(train.precision))
        first = torch.ones((), dtype=torch.int64, device=device)
        with threads(macs, device):
            update = updater(train_state)
            step = _time(lambda: update(batch_SB, rate_K1, first), device)
            image = _time(lambda: train_state.evaluate(1).tolist(), device) / len(data.train)
    images = shape.train + shape.val + shape.test
    spent = step * train.total_steps(per_epoch) + image * images * (1 + len(record_steps(train, per_epoch)))
    return spent * len(group.trials) / len(few.trials)


def probing_seconds(
    group: TrialGroup, shape: DataShape, device: torch.device, probes: Sequence[ProbeSettings]
) -> float:
    """Return what taking the probes of a group will take on a device: each is taken once or more, and scaled up.

    On a few hundred made-up images: mode_gap, which goes through whole splits, takes longer than that.
    """
    if not probes:
        return 0.0
    one_by_one = [probe for probe in probes if probe.spec.one_trial_at_a_time]
    if 0 < len(one_by_one) < len(probes):
        rest = [probe for probe in probes if probe not in one_by_one]
        return sum(probing_seconds(group, shape, device, some) for some in (rest, one_by_one))
    train = group.settings.train
    per_epoch = updates_per_epoch(group, shape)
    few = TrialGroup(group.trials[:1]) if one_by_one else _few(group, device)
    spent = 0.0
    with numerics(train, device):
        train_state = GroupTrainState(few, _noise(few, shape, device))
        batch_SB = torch.randint(len(train_state.data.train), (len(few.shared_seeds), train.batch_size), device=device)
        rate_K = torch.full((len(few.trials),), train.lr, device=device, dtype=dtype_of(train.precision))
        with threads(train_state.macs, device):
            for together in _by_schedule(probes):
                prober = Prober(few, train_state.network, train_state.shards, train_state.data, together)

                def act(prober: Prober = prober, due: Sequence[ProbeSettings] = together) -> None:
                    prober.before_update(due)
                    prober.measure(due, 1, 1, rate_K, batch_SB)

                spent += _time(act, device) * _moments(together[0], train, per_epoch)
    return spent * len(group.trials) / len(few.trials)


def _few(group: TrialGroup, device: torch.device) -> TrialGroup:
    return TrialGroup(group.trials[: trials_at_once(group.settings.model, device) or TIMED_TRIALS])


def _by_schedule(probes: Sequence[ProbeSettings]) -> list[list[ProbeSettings]]:
    """Put probes together that are taken at the same moments, and share what they look at."""
    found: dict[tuple[object, object], list[ProbeSettings]] = {}
    for probe in probes:
        found.setdefault((probe.every, probe.at), []).append(probe)
    return list(found.values())


def _moments(probe: ProbeSettings, train: TrainSettings, per_epoch: int) -> int:
    total = train.total_steps(per_epoch)
    if probe.at is not None:
        return sum(step <= total for step in probe.at)
    return 1 + (len(record_steps(train, per_epoch)) if probe.every is None else total // probe.every)


def _time(act: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    act()  # warm up
    _wait(device)
    if (first := time.perf_counter() - started) > TIMED_SECONDS:
        return first  # warm enough on the way
    started = time.perf_counter()
    count = 0
    while count < TIMED_STEPS and time.perf_counter() - started < TIMED_SECONDS:
        act()
        count += 1
    _wait(device)
    return (time.perf_counter() - started) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _noise(group: TrialGroup, shape: DataShape, device: torch.device) -> Dataset:
    settings = group.settings
    count = max(2 * settings.train.batch_size, 256)
    images = torch.randint(256, (count, *shape.image), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dtype = dtype_of(settings.train.precision)
    # Whitened images are floats, which take the same time whatever they are: there is no need to fit anything.
    whitened = settings.data.normalize in WHITENINGS
    scaling = "standard" if whitened else settings.data.normalize
    normalization = fit(images, scaling, settings.data.feature_scale, device, dtype)
    images_NP = images.flatten(1).to(device, dtype if whitened else torch.uint8)
    split = Split(images_NP, torch.zeros(count, dtype=torch.int64, device=device))
    none = Split(split.images_NP[:0], split.labels_N[:0])
    return Dataset(shape, split, none, none, normalization)
