"""Batch norm by its formulas: outputs and gradients by hand, and the γ and β that undo it.

Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1 and section 3. Shapes as in bnexp.reference.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bnexp import reference
from bnexp.checks.comparing import difference, short, worst
from bnexp.checks.small import noise
from bnexp.claims.findings import Finding
from bnexp.config.norm import NormSettings
from bnexp.nn.norm import BatchNorm

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
