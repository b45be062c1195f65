"""The largest eigenvalue of the loss's Hessian."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.nn.whiten import Whiten
from bnexp.probes.line import units
from bnexp.probes.moment import Moment, Value
from bnexp.probes.networks import Batch, Networks

TOLERANCE, RESTARTS = 1e-6, 300
"""Relative accuracy of the eigenvalue, and after how many rounds the search for it is given up."""
DISTANCE = 1e-6
"""Step of a difference of gradients relative to the weights' norm, in float64."""

Product = Callable[[Tensor], Tensor]
"""The Hessian times a vector over all learned numbers."""


def sharpness(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the largest eigenvalue λ of ∇²L over all learned numbers, λ·η, and the eigenvalue in units of the
    filters' norms: of L as a function of W/‖filter‖ and of all else as it is.

    By Lanczos iterations on Hessian-vector products in float64, one trial after the other. A step of plain gradient
    descent is stable while λ·η < 2. The last form doesn't change where filters are scaled that batch norm follows;
    arms are compared by it. NaN where the iterations don't converge, or the loss is no number.
    """
    networks, batches = moment.networks, list(moment.batches(settings.batches or 1))
    found = [_largest(alone, batches) for alone in networks.one_by_one()]
    lambda_K, free_K = torch.tensor(found, dtype=torch.float64, device=moment.rate_K.device).unbind(1)
    yield "", "sharpness", lambda_K
    yield "", "sharpness.times_rate", lambda_K * moment.rate_K
    yield "", "sharpness.scale_free", free_K


def _largest(alone: Networks, batches: list[Batch]) -> tuple[float, float]:
    """Return the eigenvalue as it is, and in units of the filters' norms."""
    theta = {name: tensor.double().requires_grad_() for name, tensor in alone.theta().items()}
    doubled = [replace(batch, x_SBP=batch.x_SBP.double()) for batch in batches]
    leaves = list(theta.values())

    def gradient(at: list[Tensor], *, again: bool = False) -> tuple[Tensor, ...]:
        there = dict(zip(theta, at, strict=True))
        loss = torch.stack([alone.loss(there, batch) for batch in doubled]).mean()
        return torch.autograd.grad(loss, at, create_graph=again)

    twice = not any(isinstance(norm, Whiten) for norm in alone.norms.values())
    slope = gradient(leaves, again=twice)
    if not _flat(slope).isfinite().all():
        return float("nan"), float("nan")
    product = _by_derivative(slope, leaves) if twice else _by_difference(gradient, leaves)
    unit = _flat([each.double().expand_as(theta[name]) for name, each in units(alone).items()])
    return _lanczos(product, unit), _lanczos(lambda v: unit * product(unit * v), unit)


def _lanczos(product: Product, like: Tensor) -> float:
    def matvec(v: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = product(torch.from_numpy(v.ravel()).to(like.device)).cpu().numpy()
        return found

    size, start = like.numel(), np.random.default_rng(0).standard_normal(like.numel())
    hessian = LinearOperator((size, size), matvec, dtype=np.float64)
    first = matvec(start)
    if not np.isfinite(first).all():
        return float("nan")
    if not first.any():  # flat all around, which ARPACK takes for a mistake
        return 0.0
    try:
        (value,) = eigsh(
            hessian,
            k=1,
            which="LA",
            v0=start,
            tol=TOLERANCE,
            maxiter=RESTARTS,
            return_eigenvectors=False,
        )
    except ArpackError:
        return float("nan")
    return float(value)


def _by_derivative(slope: tuple[Tensor, ...], leaves: list[Tensor]) -> Product:
    """Return the derivative of g·v, which takes one backward pass through the gradient."""

    def product(v: Tensor) -> Tensor:
        parts = torch.autograd.grad(slope, leaves, _parts(v, leaves), retain_graph=True, materialize_grads=True)
        return _flat(parts)

    return product


def _by_difference(gradient: Callable[[list[Tensor]], tuple[Tensor, ...]], leaves: list[Tensor]) -> Product:
    """Return (g(θ + h·v) − g(θ − h·v)) / 2h, for layers whose gradient can't be derived once more."""
    length = float(_flat(leaves).detach().norm())

    def product(v: Tensor) -> Tensor:
        h = DISTANCE * length / float(v.norm())
        steps = [h * part for part in _parts(v, leaves)]
        ahead = gradient([leaf + step for leaf, step in zip(leaves, steps, strict=True)])
        behind = gradient([leaf - step for leaf, step in zip(leaves, steps, strict=True)])
        return (_flat(ahead) - _flat(behind)) / (2 * h)

    return product


def _parts(v: Tensor, like: list[Tensor]) -> list[Tensor]:
    pieces = v.split([each.numel() for each in like])
    return [piece.view_as(each) for piece, each in zip(pieces, like, strict=True)]


def _flat(tensors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
