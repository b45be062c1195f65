"""What training a group will take: memory, by counting what is alive in a step, and time, by timing a few steps."""

import time
from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from bnexp.config.data import WHITENINGS
from bnexp.config.probes import ProbeSettings
from bnexp.config.train import TrainSettings
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit, keeps_inputs
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.probes.prober import Prober, hessian_batches, kept_passes
from bnexp.training.graphs import graphed, updater
from bnexp.training.group_state import CHUNK_NUMBERS, GroupTrainState
from bnexp.training.numerics import dtype_of, numerics, threads, wait
from bnexp.training.work import (
    Demand,
    between_records,
    branches,
    kept_predictions,
    record_steps,
    shard_sizes,
    trials_at_once,
    updates_per_epoch,
)

PROBED = 4
"""Numbers per parameter alive while a probe is taken: two gradients, and the parameters at another place and before."""
HESSIAN = 12
"""Numbers per output of a layer while a gradient is differentiated again: the gradient keeps up to three, and
differentiating takes as many again, all in float64."""
HOST_COPIES = 3
"""Copies of the state that saving it takes on the host: the snapshot, and two while the file is put together."""
CHUNK_TENSORS = 4
"""Tensors of a chunk's size that are alive while a split is measured."""


def image_bytes(group: TrialGroup, shape: DataShape, device: torch.device) -> int:
    """Count the memory of a group's images on a device, as bytes or as inputs; a process keeps one copy."""
    pixels, size = prod(shape.image), dtype_of(group.settings.train.precision).itemsize
    splits = (shape.train, shape.val, shape.test)
    return sum(images * pixels * (size if _kept_inputs(group, shape, images, device) else 1) for images in splits)


def _kept_inputs(group: TrialGroup, shape: DataShape, images: int, device: torch.device) -> bool:
    """Tell whether this many images become inputs when they are loaded."""
    made = shape.floats or group.settings.data.normalize in WHITENINGS
    return made or keeps_inputs(images, prod(shape.image), device, dtype_of(group.settings.train.precision))


def footprint(
    group: TrialGroup, shape: DataShape, device: torch.device, probes: Sequence[ProbeSettings] = ()
) -> Demand:
    """Count the bytes that a group takes on a device besides the images, including its probes.

    Trials that compute one after the other share memory for activations and for measuring.
    """
    settings, features = group.settings, prod(shape.image)
    train, optimizer, at_once = (
        settings.train,
        settings.train.optimizer_spec,
        trials_at_once(settings.model, shape, device),
    )
    layers = layer_table(settings.model, shape.image, shape.classes, training=True)
    parameters = sum(layer.parameters for layer in layers)
    largest = max(layer.output for layer in layers)
    saved = sum(layer.saved for layer in layers)
    # The backward pass needs every layer's output, and holds the gradients of two of them, or slices of them.
    in_hand = (3 if settings.network.norm.sliced else 2) * largest
    activations = train.batch_size * features + train.micro_batch * (in_hand + saved)
    # A probe keeps them, and the gradients that fall on them, of a whole batch.
    at_once_probed = train.batch_size if probes else train.micro_batch
    kept = at_once_probed * saved
    probed = train.batch_size * features + at_once_probed * in_hand + (1 + 2 * kept_passes(probes)) * kept
    # A graph keeps its working memory, besides that of probes and of a smaller last batch.
    twice = graphed(settings.model, device) and bool(probes or (not train.drop_last and shape.train % train.batch_size))
    together = at_once is None
    size = dtype_of(train.precision).itemsize
    tested, smallest = kept_predictions(shape)
    state = (1 + optimizer.kept) * parameters + between_records(group, shape) + tested * smallest.itemsize / size
    state += together * parameters if device.type == "cuda" else 0  # whose the rows of one buffer are, and their rates
    sums = train.accumulate > 1  # gradients accumulated so far
    working = max((1 + sums) * parameters + together * activations, max(optimizer.working, 3 * sums) * parameters)
    saving = HOST_COPIES * state if device.type == "cpu" else 0
    looking = (PROBED if probes else 1) * parameters + together * probed
    numbers = state + max(looking, working, saving) + twice * working
    side_by_side = branches(settings.model, shape, device)
    shared = side_by_side * CHUNK_TENSORS * CHUNK_NUMBERS[device.type] + HESSIAN * hessian_batches(probes) * kept
    shared += (at_once or 0) * (probed + (side_by_side - 1 + twice * side_by_side) * activations)
    return Demand(shared * size, numbers * size)


TIMED_TRIALS = 8
"""The most trials that are timed if they compute at once on a CPU; more are assumed to take proportionally longer. On a
GPU, more trials take hardly longer, so all are timed."""
TIMED_STEPS, TIMED_SECONDS = 5, 0.5
"""Steps that are timed, fewer if they take this long in all."""


def estimated_seconds(group: TrialGroup, shape: DataShape, device: torch.device) -> float:
    """Return what training and evaluating a group will take on a device: measured on a few trials, and scaled up.

    Raises:
        ConfigError: batches don't fit the data.
    """
    train = group.settings.train
    per_epoch = updates_per_epoch(group, shape)
    few = timed_part(group, shape, device)
    with numerics(train, device):
        train_state, batch_SB, rate_K = made_up(few, shape, device)
        macs = train_state.macs * max(shard_sizes(group, shape, device)) // max(shard_sizes(few, shape, device))
        first = torch.ones((), dtype=torch.int64, device=device)
        with threads(macs, device):
            update = updater(train_state)
            step = _time(lambda: update(batch_SB, 0 * rate_K[:, None], first), device)
            image = _time(lambda: train_state.evaluate(1).tolist(), device) / len(train_state.data.train)
    images = shape.train + shape.val + shape.test
    spent = step * train.total_steps(per_epoch) + image * images * (1 + len(record_steps(train, per_epoch)))
    return spent * len(group.trials) / len(few.trials)


def probing_seconds(
    group: TrialGroup, shape: DataShape, device: torch.device, probes: Sequence[ProbeSettings]
) -> float:
    """Return the time of a group's probes on a device: each is taken at least once, and scaled up.

    A few hundred made-up images are used, so mode_gap, which goes through whole splits, takes longer than estimated.
    """
    train = group.settings.train
    per_epoch = updates_per_epoch(group, shape)
    # Probes that are taken at the same moments share what they look at.
    together: dict[tuple[object, ...], list[ProbeSettings]] = {}
    for probe in probes:
        together.setdefault((probe.spec.one_trial_at_a_time, probe.every, probe.at), []).append(probe)
    takes = [_probing(group, shape, device, due) * _moments(due[0], train, per_epoch) for due in together.values()]
    return sum(takes, 0.0)


def _probing(group: TrialGroup, shape: DataShape, device: torch.device, due: Sequence[ProbeSettings]) -> float:
    """Return the seconds that taking some probes once takes."""
    few = TrialGroup(group.trials[:1]) if due[0].spec.one_trial_at_a_time else timed_part(group, shape, device)
    with numerics(group.settings.train, device):
        train_state, batch_SB, rate_K = made_up(few, shape, device)
        prober = Prober(few, train_state.network, train_state.shards, train_state.data, due)

        def act() -> None:
            prober.before_update(due)
            prober.measure(due, 1, 1, rate_K, batch_SB)

        with threads(train_state.macs, device):
            return _time(act, device) * len(group.trials) / len(few.trials)


def _moments(probe: ProbeSettings, train: TrainSettings, per_epoch: int) -> int:
    total = train.total_steps(per_epoch)
    if probe.at is not None:
        return sum(step <= total for step in probe.at)
    return 1 + (len(record_steps(train, per_epoch)) if probe.every is None else total // probe.every)


def _time(act: Callable[[], object], device: torch.device) -> float:
    """Return the mean seconds of an act, after a warm-up."""
    started = time.perf_counter()
    act()
    wait(device)
    if (first := time.perf_counter() - started) > TIMED_SECONDS:
        return first  # warm enough on the way
    started = time.perf_counter()
    count = 0
    while count < TIMED_STEPS and time.perf_counter() - started < TIMED_SECONDS:
        act()
        count += 1
    wait(device)
    return (time.perf_counter() - started) / count


def timed_part(group: TrialGroup, shape: DataShape, device: torch.device) -> TrialGroup:
    """Return the trials that are timed in place of a group."""
    most = len(group.trials) if device.type == "cuda" else TIMED_TRIALS
    return TrialGroup(group.trials[: trials_at_once(group.settings.model, shape, device) or most])


def made_up(group: TrialGroup, shape: DataShape, device: torch.device) -> tuple[GroupTrainState, Tensor, Tensor]:
    """Return a group that trains on noise, always the same: with image numbers (S, B) of a batch, and rates (K,)."""
    settings, train = group.settings, group.settings.train
    count, dtype = max(2 * train.batch_size, 256), dtype_of(train.precision)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *shape.image), dtype=torch.uint8, generator=generator)
    # The time doesn't depend on the values of the inputs, so no transform has to be fitted.
    made = _kept_inputs(group, shape, shape.train, device)
    scaling = "standard" if made else settings.data.normalize
    normalization = fit(images, scaling, settings.data.feature_scale, device, dtype)
    images_NP = images.flatten(1).to(device, dtype if made else torch.uint8)
    split = Split(images_NP, torch.zeros(count, dtype=torch.int64, device=device))
    none = Split(split.images_NP[:0], split.labels_N[:0])
    train_state = GroupTrainState(group, Dataset(shape, split, none, none, normalization))
    batch_SB = torch.randint(count, (len(group.shared_seeds), train.batch_size), generator=generator).to(device)
    return train_state, batch_SB, torch.full((len(group.trials),), train.lr, device=device, dtype=dtype)
