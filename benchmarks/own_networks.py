"""Perceptrons of one's own: all trials at once beside trials in turn, and beside bnexp's own perceptrons."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from statistics import median
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import after_warm_up, in_turn
from bnexp.config.load import resolve
from bnexp.data.catalog import DataShape
from bnexp.nn.own import networks
from bnexp.plan import groups, trials
from bnexp.training import work
from bnexp.training.estimate import made_up
from bnexp.training.numerics import numerics

SHAPE = DataShape((1, 28, 28), 10, 6_000, 0, 0)
SIZES = (
    *((3, 100, 64, trials) for trials in (2, 16, 64)),
    *((2, 30, 32, 16), (3, 500, 64, 16), (3, 100, 512, 16), (3, 1000, 128, 16), (3, 1000, 512, 16)),
)
"""Hidden layers, width, batch and trials."""
UPDATES = 32
"""Updates of one trial that a round times, over all trials."""


class Perceptron(nn.Module):
    """Hidden layers with batch norm and ReLU, as people write it."""

    def __init__(self, depth: int, width: int):
        super().__init__()
        features = [28 * 28] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(features[n], width, bias=False) for n in range(depth))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth))
        self.output = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, 10)."""
        x = x.view(x.size(0), -1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        logits: Tensor = self.output(x)
        return logits


def run(rounds: int = 5) -> str:
    """Return the table as Markdown, in seconds of the processor."""
    rows = [
        "| hidden layers | batch | trials | ms per update of all: in turn | at once | faster by | family mlp |",
        "|---|---|---|---|---|---|---|",
    ]
    for depth, width, batch, count in SIZES:
        own = {"family": "module", "source": f"{__name__}:Perceptron", "arguments": {"depth": depth, "width": width}}
        mlp = {"depth": depth, "width": width, "activation": "relu", "norm": "before"}
        updates = max(1, UPDATES // count)
        acts = {
            "in turn": _updates(own, batch, count, updates, at_once=False),
            "at once": _updates(own, batch, count, updates),
            "mlp": _updates(mlp, batch, count, updates),
        }
        times = after_warm_up(in_turn(acts, rounds + 1, time.process_time))
        faster = median(a / b for a, b in zip(times["in turn"].seconds, times["at once"].seconds, strict=True))
        first, second, third = (f"{1000 * each.median / updates:.1f}" for each in times.values())
        rows.append(f"| {depth}×{width} | {batch} | {count} | {first} | {second} | {faster:.2f}× | {third} |")
    head = (
        f"Trials of a seed each, batch norm, SGD with momentum; medians of {rounds} rounds after a first one, in turn."
    )
    return "\n".join([head, "", *rows])


def _updates(
    model: Mapping[str, object], batch: int, count: int, updates: int, *, at_once: bool = True
) -> Callable[[], None]:
    """Return an act that makes some updates of a group."""
    train = {"batch_size": batch, "momentum": 0.9}
    config = resolve({"name": "own", "model": model, "arms": {"only": {}}, "train": train, "seeds": count}, "here")
    (group,) = groups(trials(config))
    with ExitStack() as stack:
        for module in () if at_once else (networks, work):
            stack.enter_context(patch.object(module, "arm_chain", lambda *_: ()))
        train_state, batch_SB, rate_K = made_up(group, SHAPE, torch.device("cpu"))
    assert len(train_state.shards) == (1 if at_once else count)
    step = torch.ones((), dtype=torch.int64)

    def act() -> None:
        with numerics(config.train, torch.device("cpu")):
            for _ in range(updates):
                train_state.update(batch_SB, rate_K[:, None], step)

    return act
