"""Convolutional networks: bnexp's updates beside plain loops', alone and many at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch

from benchmarks.rivals import convolutional
from benchmarks.timing import in_turn
from bnexp.config.load import resolve
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training import trial_axis
from bnexp.training.graphs import updater
from bnexp.training.numerics import dtype_of, numerics
from bnexp.training.trainee import Trainee

BATCH, LR = 128, 0.05
SMALL_VGG = {"family": "vgg", "depth": 5, "width": 32, "activation": "relu", "init": "he", "norm": "before"}
"""The one that trains on a CPU."""
TOGETHER = (1, 4, 16)
"""Trials of a group."""

Act = Callable[[], None]


def run(rounds: int = 5, steps: int = 4) -> str:
    """Return the table for a CPU as Markdown: the small VGG, per trial and step."""
    device = torch.device("cpu")
    kinds = {"none": False, "before": True}
    acts: dict[str, Act] = {}
    for norm in kinds:
        model = SMALL_VGG | {"norm": norm}
        acts[f"{norm} loop"] = rival(model, made_up(group_of(model, 1), device), steps)
        for count in TOGETHER:
            for at_once in dict.fromkeys((1, count)):
                group = group_of(model, count)
                acts[f"{norm} {count} {at_once}"] = ours(group, made_up(group, device), at_once, steps)
    with numerics(group.settings.train, device):
        times = in_turn(acts, rounds + 1)
    milliseconds = {
        name: [1000 * each / steps / _count(name) for each in timed.seconds[1:]] for name, timed in times.items()
    }
    rows = ["| norm | trials | computing at once | ms per trial and step | loop | ratio |", "|---|---|---|---|---|---|"]
    for name, found in milliseconds.items():
        norm, *rest = name.split()
        if rest != ["loop"]:
            loop = milliseconds[f"{norm} loop"]
            ratio = _median([theirs / our for theirs, our in zip(loop, found, strict=True)])
            rows.append(
                f"| {norm} | {rest[0]} | {rest[1]} | {_median(found):.1f} | {_median(loop):.1f} | {ratio:.2f}× |"
            )
    return "\n".join(
        [
            f"VGG of 5 layers, 32 to 128 channels, 3×32×32 pixels, batch {BATCH}, SGD with momentum; {steps} steps a "
            f"round, {rounds} rounds after a first one, in turn; ratio: median over the rounds (to reach: 0.95×).",
            "",
            *rows,
        ]
    )


def _count(name: str) -> int:
    words = name.split()
    return 1 if words[1] == "loop" else int(words[1])


def _median(numbers: Sequence[float]) -> float:
    return float(torch.tensor(numbers).median())


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
    split = Split(images_NCHW.flatten(1).to(device), labels_N)
    none = Split(split.images_NP[:0], labels_N[:0])
    return Dataset(DataShape((3, 32, 32), 10, images, 0, 0), split, none, none, scaling)


def ours(group: TrialGroup, data: Dataset, at_once: int | None, steps: int) -> Act:
    """Return an act that makes some updates of a group, so many trials computing at once (None: as bnexp chooses)."""
    device, count = data.train.labels_N.device, len(group.trials)
    with numerics(group.settings.train, device), _computing(at_once):
        update = updater(Trainee(group, data))
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
    with patch.object(trial_axis, "trials_at_once", lambda model, device: at_once):
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
