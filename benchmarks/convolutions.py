"""Convolutional networks: bnexp's updates beside plain loops', alone and many at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from unittest.mock import patch

import torch

from benchmarks.rivals import convolutional
from benchmarks.timing import after_warm_up, in_turn
from bnexp.config.load import resolve
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training import work as trial_axis
from bnexp.training.graphs import updater
from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import dtype_of, numerics

BATCH, LR = 128, 0.05
SMALL_VGG = {"family": "vgg", "depth": 5, "width": 32, "activation": "relu", "init": "he", "norm": "before"}
"""The one that trains on a CPU."""
PERCEPTRON = {"depth": 3, "width": 100, "activation": "relu", "init": "he"}
TOGETHER = (1, 4, 16)
"""Trials of a group."""
KINDS: dict[str, object] = {
    "none": "none",
    "batch": "batch",
    "noisy_batch": "noisy_batch",
    "layer": "layer",
    "mean": "mean",
    "variance": "variance",
    "renorm": "renorm",
    "group": {"kind": "group", "groups": 4},
    "instance": "instance",
    "rms": "rms",
    "whiten": "whiten",
    "whiten, groups of 4": {"kind": "whiten", "group_size": 4},
}
COSTS = {
    "small VGG, 1 trial": (SMALL_VGG, 1, 4),
    "3×100 perceptron, 16 trials": (PERCEPTRON, 16, 20),
}
"""Networks whose steps are timed with each kind of norm: settings, trials, steps of a round."""

Act = Callable[[], None]


def run(rounds: int = 5, steps: int = 4) -> str:
    """Return the tables for a CPU as Markdown, per trial and step."""
    device = torch.device("cpu")
    with numerics(group_of(SMALL_VGG, 1).settings.train, device):
        return _against_loop(device, rounds, steps)


def norm_kinds(rounds: int = 5) -> str:
    """Return the costs of the kinds of norm on a CPU as Markdown."""
    device = torch.device("cpu")
    with numerics(group_of(SMALL_VGG, 1).settings.train, device):
        return _norm_kinds(device, rounds)


def _against_loop(device: torch.device, rounds: int, steps: int) -> str:
    rows = ["| norm | trials | computing at once | ms per trial and step | loop | ratio |", "|---|---|---|---|---|---|"]
    for norm in ("none", "before"):
        model = SMALL_VGG | {"norm": norm}
        sizes = [(count, at_once) for count in TOGETHER for at_once in dict.fromkeys((1, count))]
        acts = {"loop": rival(model, made_up(group_of(model, 1), device), steps)}
        for count, at_once in sizes:
            group = group_of(model, count)
            acts[f"{count} {at_once}"] = ours(group, made_up(group, device), at_once, steps)
        times = after_warm_up(in_turn(acts, rounds + 1))
        loop = times["loop"]
        for count, at_once in sizes:
            found = times[f"{count} {at_once}"]
            ratio = median(count * one / many for one, many in zip(loop.seconds, found.seconds, strict=True))
            each, plain = (1000 * seconds / steps for seconds in (found.median / count, loop.median))
            rows.append(f"| {norm} | {count} | {at_once} | {each:.1f} | {plain:.1f} | {ratio:.2f}× |")
    head = (
        f"VGG of 5 layers, 32 to 128 channels, 3×32×32 pixels, batch {BATCH}, SGD with momentum; {steps} steps a "
        f"round, {rounds} rounds after a first one, in turn; ratio: median over the rounds (to reach: 0.95×)."
    )
    return "\n".join([head, "", *rows])


def _norm_kinds(device: torch.device, rounds: int) -> str:
    """Time a step with each kind of norm, and whitening in groups, in seconds of the processor."""
    rows = ["| network | " + " | ".join(KINDS) + " |", "|---" * (1 + len(KINDS)) + "|"]
    for name, (model, count, steps) in COSTS.items():
        acts = {}
        kinds = [kind for kind in KINDS if kind != "instance" or "family" in model]
        for kind, norm in ((kind, KINDS[kind]) for kind in kinds):
            group = group_of(model | {"norm": norm}, count)
            acts[kind] = ours(group, made_up(group, device), None, steps)
        times = after_warm_up(in_turn(acts, rounds + 1, time.process_time))
        found = {kind: f"{each.median / times['batch'].median:.2f}×" for kind, each in times.items()}
        cells = [found.get(kind, "–") for kind in KINDS]
        milliseconds = 1000 * times["batch"].median / steps / count
        rows.append(f"| {name}: batch {milliseconds:.2f} ms | " + " | ".join(cells) + " |")
    head = (
        f"Time of a step per trial, over that with batch norm; medians of {rounds} rounds after a first one, in turn."
    )
    return "\n".join([head, "", *rows])


def group_of(model: dict[str, object], count: int, precision: str = "fp32") -> TrialGroup:
    """Return so many trials of one shape that differ in their rates."""
    config = resolve(
        {
            "name": "convolutions",
            "data": {"name": "cifar10"},
            "model": model,
            "arms": {"only": {}},
            "train": {"batch_size": BATCH, "momentum": convolutional.MOMENTUM, "precision": precision},
            "grid": {"train.lr": [LR / (1 + number) for number in range(count)]},
            "seeds": 1,
        },
        "the benchmark",
    )
    (group,) = groups(trials(config))
    return group


def made_up(group: TrialGroup, device: torch.device, images: int = 10 * BATCH) -> Dataset:
    """Return random images of CIFAR's shape."""
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels_N = torch.randint(10, (images,), generator=generator).to(device)
    scaling = fit(images_NCHW, "standard", {}, device, dtype_of(group.settings.train.precision))
    split = Split(scaling.kept(images_NCHW.flatten(1)), labels_N)
    none = Split(split.images_NP[:0], labels_N[:0])
    return Dataset(DataShape((3, 32, 32), 10, images, 0, 0), split, none, none, scaling)


def ours(group: TrialGroup, data: Dataset, at_once: int | None, steps: int) -> Act:
    """Return an act that makes some updates of a group, so many trials computing at once (None: as bnexp chooses)."""
    device, count = data.train.labels_N.device, len(group.trials)
    with numerics(group.settings.train, device), _computing(at_once):
        update = updater(GroupTrainState(group, data))
    order_1N = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1))[None].to(device)
    rate_K1 = torch.full((count, 1), LR, device=device, dtype=dtype_of(group.settings.train.precision))
    number = torch.full((), 2, dtype=torch.int64, device=device)
    batches = order_1N.split(BATCH, dim=1)

    def act() -> None:
        for step in range(steps):
            update(batches[step % len(batches)], rate_K1, number)

    return act


@contextmanager
def _computing(at_once: int | None) -> Iterator[None]:
    if at_once is None:
        yield
        return
    with patch.object(trial_axis, "trials_at_once", lambda *_: at_once):
        yield


def rival(model: dict[str, object], data: Dataset, steps: int) -> Act:
    """Return an act that makes some updates of one network in a plain loop."""
    settings = group_of(model, 1).settings.model
    network = convolutional.vgg(settings.layers, settings.widths, settings.norm.kind != "none")
    x_NCHW = convolutional.normalised(data.train.images_NP.view(-1, *data.shape.image))
    step = convolutional.plain_step(network, x_NCHW, data.train.labels_N, LR)
    batches = torch.randperm(len(x_NCHW), generator=torch.Generator().manual_seed(1)).split(BATCH)

    def act() -> None:
        for number in range(steps):
            step(batches[number % len(batches)])

    return act
