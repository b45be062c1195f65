"""Convolutional networks on a GPU: against a tuned loop, a DataLoader's program, and one trial after the other."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.convolutions import BATCH, LR, Act, group_of, made_up, ours
from benchmarks.gpu.figures import Figure
from benchmarks.rivals import convolutional
from benchmarks.timing import after_warm_up, in_turn
from bnexp.config.model import ModelSettings
from bnexp.config.text import counted
from bnexp.plan import TrialGroup

STEPS, EPOCH = 100, 50_000
WORKERS = 8
MODELS: dict[str, dict[str, object]] = {
    "VGG-11-BN": {"family": "vgg", "depth": 11, "activation": "relu", "init": "he", "norm": "before"},
    "ResNet-20": {"family": "resnet", "depth": 20, "activation": "relu", "init": "he", "norm": "before"},
}
TRIALS = 8
AS_CHOSEN = "as bnexp chooses"
TOGETHER = {"ResNet-20": 1.5}
"""How much faster the trials of a group are than one after the other, at least."""


def alone(
    device: torch.device,
    width: int | None = None,
    steps: int = STEPS,
    images: int = EPOCH,
    workers: int = WORKERS,
    rounds: int = 3,
) -> Iterator[Figure]:
    """Time one network in bfloat16 beside a tuned loop, and the usual program in float32.

    Args:
        device: a GPU.
        width: of the networks' first layers; None: as published.
        steps: updates of a round.
        images: of the data set, all of which the usual program loads in a round.
        workers: processes of its DataLoader.
        rounds: timed, after a first one.
    """
    for name, model in MODELS.items():
        group = group_of(model if width is None else model | {"width": width}, 1, "bf16")
        acts, counts = _programs(group, device, steps, images, workers)
        times = after_warm_up(in_turn(acts, rounds + 1))
        rates = {each: counts[each] / timed.median for each, timed in times.items()}
        for rival, what, least in (("tuned", "a hand-tuned loop", 0.95), ("loader", "the DataLoader program", 5)):
            yield Figure(
                f"{name}: speed over that of {what}",
                rates["bnexp"] / rates[rival],
                "×",
                counted(rounds, "round"),
                at_least=least,
                detail=f"{rates['bnexp']:,.0f} over {rates[rival]:,.0f} images/s",
            )


def _programs(
    group: TrialGroup, device: torch.device, steps: int, images: int, workers: int
) -> tuple[dict[str, Act], dict[str, int]]:
    """Return the programs by name, and the images of each."""
    data, settings = made_up(group, device, images), group.settings.model
    images_NCHW = data.train.images_NP.view(-1, 3, 32, 32)
    network, labels_N = _network(settings).to(device), data.train.labels_N
    step = convolutional.tuned_step(network, convolutional.normalised(images_NCHW), labels_N, LR, BATCH)
    batches = torch.randperm(images, device=device)[: images // BATCH * BATCH].split(BATCH)

    def tuned() -> None:
        for number in range(steps):
            step(batches[number % len(batches)])

    images_NHWC = np.ascontiguousarray(images_NCHW.permute(0, 2, 3, 1).cpu().numpy())
    pictures = convolutional.Pictures(images_NHWC, labels_N.tolist())
    loader = partial(convolutional.loader_epoch, _network(settings).to(device), pictures, LR, BATCH, workers)
    updated = steps * BATCH
    return (
        {"bnexp": ours(group, data, None, steps), "tuned": tuned, "loader": loader},
        {"bnexp": updated, "tuned": updated, "loader": images // BATCH * BATCH},
    )


def together(
    device: torch.device, width: int | None = None, steps: int = STEPS, trials: int = TRIALS, rounds: int = 3
) -> Iterator[Figure]:
    """Time some trials as bnexp trains them, and so many computing in one pass, over as many runs in turn."""
    for name, model in MODELS.items():
        model = model if width is None else model | {"width": width}
        one, many = group_of(model, 1, "bf16"), group_of(model, trials, "bf16")
        sizes = {AS_CHOSEN: None} | {f"{size} in a pass": size for size in (1, 2, 4, 8) if size <= trials}
        acts = {"one": ours(one, made_up(one, device), None, steps)}
        acts |= {each: ours(many, made_up(many, device), size, steps) for each, size in sizes.items()}
        times = after_warm_up(in_turn(acts, rounds + 1))
        in_turn_seconds = trials * times["one"].median
        for each in sizes:
            yield Figure(
                f"{trials} trials of {name}, {each}: faster than as many runs in turn by",
                in_turn_seconds / times[each].median,
                "×",
                counted(rounds, "round"),
                at_least=TOGETHER.get(name) if each == AS_CHOSEN else None,
                detail=f"{1000 * times[each].median / steps:.2f} over {1000 * in_turn_seconds / steps:.2f} ms a step",
            )


def _network(settings: ModelSettings) -> nn.Module:
    if settings.family == "vgg":
        return convolutional.vgg(settings.layers, settings.widths, norm=True)
    return convolutional.resnet(settings.layers, settings.widths)
