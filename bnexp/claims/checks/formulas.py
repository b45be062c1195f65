"""Batch norm by its formulas, and its conventions of momentum and axes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp import reference
from bnexp.claims.checks.networks import difference, moments, noise, short, worst
from bnexp.claims.results import Finding
from bnexp.config.norm import NormSettings
from bnexp.nn.norm import BatchNorm
from bnexp.reference import CONVENTIONS

# Batch norm by its formulas: outputs and gradients by hand, and the γ and β that undo it.
#
# Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1 and section 3. Shapes as in bnexp.reference.

SHAPES = {"features (32, 10)": (32, 10), "images (8, 3, 6, 6)": (8, 3, 6, 6)}
BY_HAND = 1e-6
"""Largest relative error of the formulas written out, in float64."""
IDENTITY = 1e-10


def gradient_correct() -> Iterator[Finding]:
    """Yield how far batch norm by hand is from the layer that trains, forward and backward."""
    for name, shape in SHAPES.items():
        yield from _against_autograd(name, shape)
    yield Finding(
        "the note's code: evaluation",
        "its evaluation branch reads a name that is never set, so that it ends in a NameError; as here it has to read "
        "the running mean and variance",
    )
    yield _note_eps()
    yield _note_images(SHAPES["images (8, 3, 6, 6)"])


def restores_identity() -> Iterator[Finding]:
    """Yield how far batch norm with γ = √(σ² + ε) and β = μ is from doing nothing."""
    for name, shape in SHAPES.items():
        x = 3 + 2 * noise(*shape)
        _, cache = reference.forward(x.numpy(), np.ones(shape[1]), np.zeros(shape[1]))
        layer = _layer(torch.from_numpy(cache.root_C), torch.from_numpy(cache.mean_C))
        error = difference(_apply(layer, x).detach(), x)
        found = f"the output differs from the input by {short(error)} of its size"
        yield Finding(f"{name}, γ = √(σ² + ε), β = μ of this batch", found, error, IDENTITY)
        # The layer has one γ and β, and every batch its own μ and σ.
        other = 3 + 2 * noise(*shape, seed=1)
        away = difference(_apply(layer, other).detach(), other)
        yield Finding(f"{name}, the same γ and β on another batch in training", f"it differs by {away:.1%}")
        layer.running_mean.copy_(torch.from_numpy(cache.mean_C))
        layer.running_var.copy_(torch.from_numpy(cache.variance_C))
        error = difference(_apply(layer.eval(), other).detach(), other)
        found = f"it differs by {short(error)}: fixed statistics are undone for all inputs"
        yield Finding(f"{name}, on another batch in evaluation", found, error, IDENTITY)


def _against_autograd(name: str, shape: tuple[int, ...]) -> Iterator[Finding]:
    """Yield the errors of y and of dx, dγ and dβ for a batch of this shape."""
    x, dy = (0.5 + 1.5 * noise(*shape)).requires_grad_(), noise(*shape, seed=1)
    layer = _layer(1 + 0.5 * noise(shape[1], seed=2), noise(shape[1], seed=3))
    y = _apply(layer, x)
    expected = torch.autograd.grad(y, [x, layer.gamma, layer.beta], dy)
    x_array, gamma_C, beta_C = (tensor.detach().numpy() for tensor in (x, layer.gamma[0], layer.beta[0]))
    by_hand, cache = reference.forward(x_array, gamma_C, beta_C)
    error = difference(by_hand, y.detach())
    yield Finding(f"{name}, forward", f"relative error {short(error)} in float64", error, BY_HAND)
    ways = {"node by node": reference.backward, "in one line": reference.backward_closed_form}
    for way, backward in ways.items():
        found = backward(dy.numpy(), cache)
        pairs = zip((found.dx, found.dgamma_C[None], found.dbeta_C[None]), expected, strict=True)
        error = worst(difference(mine, theirs) for mine, theirs in pairs)
        yield Finding(
            f"{name}, backward {way}",
            f"relative error {short(error)} of dx, dγ and dβ against autograd",
            error,
            BY_HAND,
        )


def _note_eps() -> Finding:
    std = 1e-3
    shrunk = {eps: std / (std**2 + eps) ** 0.5 for eps in (10e-7, 1e-7)}
    return Finding(
        "the note's code: eps=10e-7",
        "that is 1e-6 and not 1e-7: inputs with a standard deviation of 0.001 come out with "
        f"{shrunk[10e-7]:.2f} and not {shrunk[1e-7]:.2f}",
    )


def _note_images(shape: tuple[int, ...]) -> Finding:
    """Tell what making images flat, as the note's code does, changes: every place gets statistics of its own."""
    x = noise(*shape).cumsum(-1)
    flat = F.batch_norm(x.flatten(1), None, None, training=True).view_as(x)
    away = difference(flat, F.batch_norm(x, None, None, training=True))
    channels, places = shape[1], int(np.prod(shape[1:]))
    return Finding(
        "the note's code: images",
        f"made flat, each of the {places} numbers of an image is normalised by itself, over {shape[0]} values, and not "
        f"each of the {channels} channels over {shape[0] * places // channels}: outputs differ by {away:.0%}",
    )


def _layer(gamma_C: Tensor, beta_C: Tensor) -> BatchNorm:
    """Return the layer that trainings use, for one trial in float64 and in training mode."""
    layer = BatchNorm(1, len(gamma_C), NormSettings()).double()
    layer.gamma.data.copy_(gamma_C)
    layer.beta.data.copy_(beta_C)
    return layer


def _apply(layer: BatchNorm, x: Tensor) -> Tensor:
    y: Tensor = layer(x) if x.ndim == 4 else layer(x[None])[0]
    return y


# Conventions of batch norm: what momentum weights, what it does to evaluation, and which axis holds the features.
#
# In Keras' convention momentum weights the old value, in PyTorch's the new one; the former counts the axis from the
# end. What is called Keras' here is that convention, written out in bnexp.reference.

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
