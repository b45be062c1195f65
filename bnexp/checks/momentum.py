"""Conventions of batch norm: what momentum weights, what it does to evaluation, and which axis holds the features.

In Keras' convention momentum weights the old value, in PyTorch's the new one; the former counts the axis from the end.
What is called Keras' here is that convention, written out in bnexp.reference.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from bnexp import reference
from bnexp.checks.comparing import difference, short, worst
from bnexp.checks.small import moments, noise
from bnexp.claims.findings import Finding
from bnexp.reference import CONVENTIONS

CONVENTION = 1e-12
"""Relative difference between two ways to write one average, in float64."""
MOMENTA = 0.001, 0.01, 0.1, 0.5, 1.0
"""PyTorch's."""
EARLY = 50
"""Steps after which evaluation is looked at for the first time."""


def momentum_convention(steps: int = 300) -> Iterator[Finding]:
    """Yield whether the conventions say the same, and how the test error depends on momentum.

    Args:
        steps: of each training, more than 50.
    """
    yield from _averages()
    yield _axes()
    yield from _evaluation_error(steps)


def _averages(batches: int = 50, count: int = 32) -> Iterator[Finding]:
    """Yield whether 0.99 on the old value is 0.01 on the new one, and what else differs between the conventions."""
    keras = CONVENTIONS["keras"]
    layer = nn.BatchNorm1d(3, momentum=0.01, dtype=torch.float64)
    as_keras, as_torch = reference.start(3, keras), reference.start(3, keras)
    for batch in range(batches):
        x_BC = 2 + noise(count, 3, seed=batch)
        layer(x_BC)
        _, cache = reference.forward(x_BC.numpy(), np.ones(3), np.zeros(3))
        as_keras = reference.update(as_keras, cache, keras)
        as_torch = reference.update(as_torch, cache, replace(keras, unbiased=True))
    error = difference(layer.get_buffer("running_mean"), as_keras.mean_C)
    what = f"running mean after {batches} batches: Keras' convention, 0.99 on the old value, against PyTorch's 0.01"
    yield Finding(what, f"relative difference {short(error)}", error, CONVENTION)
    error = difference(layer.get_buffer("running_var"), as_torch.variance_C)
    apart = difference(as_keras.variance_C, as_torch.variance_C)
    yield Finding(
        "running variance likewise, with PyTorch's factor m/(m − 1)",
        f"relative difference {short(error)}; without it, Keras' convention, {apart:.1%} at batches of {count}",
        error,
        CONVENTION,
    )
    missing = keras.kept**batches
    yield Finding(
        f"weight of the starting values after {batches} batches",
        f"{missing:.0%} at 0.99, {0.9**batches:.1%} at PyTorch's default: means are still short by as much",
    )


def _axes() -> Finding:
    """Compare batch norm over axis −1 of images with channels last, and over dimension 1 with channels first."""
    x_BCHW = noise(4, 3, 5, 5).cumsum(-1)
    first = nn.BatchNorm2d(3, dtype=torch.float64)(x_BCHW).detach()
    x_NC = x_BCHW.movedim(1, -1).reshape(-1, 3).numpy()
    last_NC, _ = reference.forward(x_NC, np.ones(3), np.zeros(3))
    error = difference(last_NC, first.movedim(1, -1).reshape(-1, 3))
    return Finding(
        "axis −1 of (batch, height, width, channels) against dimension 1 of (batch, channels, height, width)",
        f"relative difference {short(error)}",
        error,
        CONVENTION,
    )


def _evaluation_error(steps: int) -> Iterator[Finding]:
    """Yield test errors by momentum: the same weights, so that the statistics alone make the difference."""
    errors: dict[float, list[float]] = {}
    weights = []
    seen = moments(
        model={"depth": 3, "width": 50, "activation": "relu"},
        arms={f"momentum_{momentum:g}": {"model.norm.momentum": momentum} for momentum in MOMENTA},
        train={"steps": steps, "record_at": [EARLY, steps], "batch_size": 32},
    )
    for moment in seen:
        if moment.step:
            momentum = float(moment.arm.rpartition("_")[2])
            errors.setdefault(momentum, []).append(1 - moment.measures["test_accuracy"])
        if moment.step == steps:
            weights.append({key: each for key, each in moment.weights.items() if "running" not in key})
    apart = worst(difference(each[key], weights[0][key]) for each in weights for key in each)
    found = f"weights after {steps} steps differ by {short(apart)}"
    yield Finding(f"momentum in training, {len(MOMENTA)} values", found, apart, 0)
    for place, step in enumerate((EARLY, steps)):
        listed = ", ".join(f"{each[place]:.1%} at {momentum:g}" for momentum, each in errors.items())
        yield Finding(f"test error in evaluation after {step} steps, by PyTorch's momentum", listed)
