"""Convolutional networks on a GPU: against a tuned loop, a DataLoader's program, and one trial after the other."""

from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.convolutions import BATCH, LR, Act, group_of, made_up, ours
from benchmarks.rivals import convolutional
from benchmarks.timing import after_warm_up, in_turn
from bnexp.config.model import ModelSettings

STEPS, EPOCH = 100, 50_000
WORKERS = 8
MODELS: dict[str, dict[str, object]] = {
    "VGG-11 with BN": {"family": "vgg", "depth": 11, "activation": "relu", "init": "he", "norm": "before"},
    "ResNet-20": {"family": "resnet", "depth": 20, "activation": "relu", "init": "he", "norm": "before"},
}
TRIALS = 8


def run(device: torch.device, rounds: int = 3) -> str:
    """Return the findings as Markdown."""
    singles = [_single(name, model, device, rounds) for name, model in MODELS.items()]
    return "\n\n".join([*singles, _together(device, rounds)])


def _single(name: str, model: dict[str, object], device: torch.device, rounds: int) -> str:
    group = group_of(model, 1, "bf16")
    data = made_up(group, device, EPOCH)
    settings = group.settings.model
    x_NCHW = convolutional.normalised(data.train.images_NP.view(-1, 3, 32, 32))
    step = convolutional.tuned_step(_network(settings).to(device), x_NCHW, data.train.labels_N, LR, BATCH)
    batches = torch.randperm(EPOCH, device=device).split(BATCH)[:-1]

    def tuned() -> None:
        for number in range(STEPS):
            step(batches[number])

    pictures = convolutional.Pictures(
        np.ascontiguousarray(data.train.images_NP.view(-1, 3, 32, 32).permute(0, 2, 3, 1).cpu().numpy()),
        data.train.labels_N.tolist(),
    )
    loader = partial(convolutional.loader_epoch, _network(settings).to(device), pictures, LR, BATCH, WORKERS)
    acts: dict[str, Act] = {"bnexp": ours(group, data, None, STEPS), "tuned": tuned, "loader": loader}
    images = {"bnexp": STEPS * BATCH, "tuned": STEPS * BATCH, "loader": EPOCH // BATCH * BATCH}
    times = after_warm_up(in_turn(acts, rounds + 1))
    rates = {each: images[each] / timed.median for each, timed in times.items()}
    tuned_ratio, loader_ratio = rates["bnexp"] / rates["tuned"], rates["bnexp"] / rates["loader"]
    return (
        f"{name}, bf16, batch {BATCH}: bnexp {rates['bnexp']:,.0f} images/s, a tuned loop {rates['tuned']:,.0f} "
        f"({tuned_ratio:.2f}×, to reach 0.95×), the usual DataLoader program in float32 with {WORKERS} workers "
        f"{rates['loader']:,.0f} ({loader_ratio:.1f}×, to reach 5×); {rounds} rounds."
    )


def _together(device: torch.device, rounds: int) -> str:
    rows = ["| network | computing at once | ms per step of 8 trials | over 8 steps of one |", "|---|---|---|---|"]
    for name, model in MODELS.items():
        one, many = group_of(model, 1, "bf16"), group_of(model, TRIALS, "bf16")
        acts = {"one": ours(one, made_up(one, device), None, STEPS)}
        acts |= {str(size): ours(many, made_up(many, device), size, STEPS) for size in (1, 2, 4, 8)}
        times = after_warm_up(in_turn(acts, rounds + 1))
        alone = TRIALS * times.pop("one").median
        rows += [
            f"| {name} | {size} | {1000 * timed.median / STEPS:.2f} | {alone / timed.median:.2f}× |"
            for size, timed in times.items()
        ]
    return "\n".join([f"{TRIALS} trials, {STEPS} steps, {rounds} rounds (to reach: 1.5× for ResNet-20).", "", *rows])


def _network(settings: ModelSettings) -> nn.Module:
    if settings.family == "vgg":
        return convolutional.vgg(settings.layers, settings.widths, norm=True)
    return convolutional.resnet(settings.layers, settings.widths)
