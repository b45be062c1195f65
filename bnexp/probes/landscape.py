"""The loss around the weights: along the gradient, in two random directions, and its sharpest curvature.

Along the gradient (Santurkar et al. 2018, arXiv:1805.11604, section 3.2 and figure 4): places θ − s·g for several s at
one step of the training. The gradient g is the plain one of the first training images, whatever the optimiser makes of
it. A step's effect depends on the scale of the weights; scale-free variants measure everything in units of the filters'
norms.

In two directions (Li et al. 2018, arXiv:1712.09913, section 4): every filter of a random direction, or row of a linear
layer, has the norm of the weights' own, so that networks which only differ in the scale of their weights show the same
picture. Tensors that are not weights stay where they are. All arms of a seed take the same draws.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.probes.networks import Batch, Networks, Theta
from bnexp.probes.prober import ProbeContext, Value, filter_norms, mean_gradient, sum_of_squares
from bnexp.streams import stream_seed

RANGE, POINTS = (0.5, 4.0), 8
"""Step sizes as multiples of the learning rate, in even ratios; published for a VGG."""


@dataclass(frozen=True)
class Line:
    """Losses and gradients at R places on the line."""

    step_RK: Float[Tensor, "R K"]
    """s, a multiple of each trial's learning rate."""
    loss_RK: Float[Tensor, "R K"]
    change_RK: Float[Tensor, "R K"]
    """‖g(θ − s·g) − g(θ)‖."""
    cosine_RK: Float[Tensor, "R K"]
    """Cosine of the angle between the two gradients."""
    loss_K: Float[Tensor, " K"]
    norm_K: Float[Tensor, " K"]
    """‖g(θ)‖."""


def loss_variation(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the loss at θ, and the lowest and the highest one on the line."""
    line = _line(context, settings)
    yield "", "loss_variation", line.loss_K
    yield from _ends("loss_variation.", line.loss_RK)


def gradient_predictiveness(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the least and the largest ‖g(θ − s·g) − g(θ)‖ on the line, the same relative to ‖g(θ)‖, and cosines."""
    line = _line(context, settings)
    yield from _ends("gradient_predictiveness.", line.change_RK)
    yield from _ends("gradient_predictiveness.relative_", line.change_RK / line.norm_K)
    yield from _ends("gradient_predictiveness.cosine_", line.cosine_RK)


def effective_smoothness(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the largest ‖g(θ − s·g) − g(θ)‖ / (s·‖g(θ)‖) on the line, and the same in units of the filters' norms.

    With u = θ/‖filter‖ of weights and u = θ of all else, the second is that of L as a function of u, on a line of its
    own along ∂L/∂u. It doesn't change where filters are scaled that batch norm follows; arms are compared by it.
    """
    for name, unit in ("", None), (".scale_free", units(context.networks)):
        line = _line(context, settings, unit)
        yield "", f"effective_smoothness{name}", (line.change_RK / (line.step_RK * line.norm_K)).amax(0)


def units(networks: Networks) -> Theta:
    """Return the units in which numbers are measured so that their scale has no effect.

    These are the norm of their filter, or of their row in a linear layer; 1 for parameters that aren't weights.
    """
    weights = [f"{layer}.weight" for layer in networks.learned]
    theta = networks.theta().items()
    return {name: filter_norms(each) if name in weights else torch.ones_like(each) for name, each in theta}


def _line(context: ProbeContext, settings: ProbeSettings, unit: Theta | None = None) -> Line:
    low, high = settings.range or RANGE
    count, batches = settings.points or POINTS, settings.batches or 1
    key = ("line", low, high, count, batches, unit is None)
    return context.once(key, lambda: _look(context, np.geomspace(low, high, count).tolist(), batches, unit))


def _look(context: ProbeContext, factors: list[float], batches: int, unit: Theta | None) -> Line:
    """Look at the line along the gradient with respect to θ / unit."""
    theta = context.networks.theta()
    unit = unit or {name: torch.ones_like(each) for name, each in theta.items()}
    loss_K, gradient = _gradient(context, theta, batches, unit)
    norm_K = sum_of_squares(gradient).sqrt()
    rows = []
    for factor in factors:
        step_K = factor * context.rate_K
        there = {name: each - _per_trial(step_K, each) * unit[name] * gradient[name] for name, each in theta.items()}
        loss_there_K, other = _gradient(context, there, batches, unit)
        change_K = sum_of_squares({name: other[name] - each for name, each in gradient.items()}).sqrt()
        product_K = torch.stack([_dot(other[name], each) for name, each in gradient.items()]).sum(0)
        cosine_K = product_K / (norm_K * sum_of_squares(other).sqrt())
        rows.append(torch.stack([step_K.double(), loss_there_K.double(), change_K, cosine_K]))
    step_RK, loss_RK, change_RK, cosine_RK = torch.stack(rows, 1)
    return Line(step_RK, loss_RK, change_RK, cosine_RK, loss_K.double(), norm_K)


def _gradient(context: ProbeContext, theta: Theta, batches: int, unit: Theta) -> tuple[Tensor, Theta]:
    """Return the loss over some batches, and its gradient with respect to θ / unit."""
    found = [context.networks.gradient(theta, batch) for batch in context.batches(batches)]
    loss_K = torch.stack([loss_K for loss_K, _ in found]).mean(0)
    gradient = mean_gradient([each for _, each in found])
    return loss_K, {name: unit[name] * each for name, each in gradient.items()}


def _ends(name: str, values_RK: Float[Tensor, "R K"]) -> Iterator[Value]:
    yield "", f"{name}low", values_RK.amin(0)
    yield "", f"{name}high", values_RK.amax(0)


def _per_trial(numbers_K: Tensor, like: Tensor) -> Tensor:
    return numbers_K.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one.double() * other.double()).flatten(1).sum(1)


TOLERANCE, RESTARTS = 1e-6, 300
"""Relative accuracy of the eigenvalue, and the number of rounds after which the search is given up."""
DISTANCE = 1e-6
"""Step of a difference of gradients relative to the weights' norm, in float64."""

Product = Callable[[Tensor], Tensor]
"""The Hessian times a vector over all learned numbers."""


def sharpness(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the largest eigenvalue λ of ∇²L over all learned numbers, λ·η, and the eigenvalue in units of the
    filters' norms: of L as a function of W/‖filter‖ and of all else as it is.

    By Lanczos iterations on Hessian-vector products in float64, one trial after the other. A step of plain gradient
    descent is stable while λ·η < 2. The last form doesn't change where filters are scaled that batch norm follows;
    arms are compared by it. NaN where the iterations don't converge, or the loss is no number.
    """
    networks, batches = context.networks, list(context.batches(settings.batches or 1))
    twice = context.settings.model.norm.spec.twice_differentiable
    found = [_largest(alone, batches, twice=twice) for alone in networks.one_by_one()]
    lambda_K, free_K = torch.tensor(found, dtype=torch.float64, device=context.rate_K.device).unbind(1)
    yield "", "sharpness", lambda_K
    yield "", "sharpness.times_rate", lambda_K * context.rate_K
    yield "", "sharpness.scale_free", free_K


def _largest(alone: Networks, batches: list[Batch], *, twice: bool) -> tuple[float, float]:
    """Return the eigenvalue as it is, and in units of the filters' norms; `twice`: the gradient can be derived."""
    theta = {name: tensor.double().requires_grad_() for name, tensor in alone.theta().items()}
    doubled = [replace(batch, x_SBP=batch.x_SBP.double()) for batch in batches]
    leaves = list(theta.values())

    def gradient(at: list[Tensor], *, again: bool = False) -> tuple[Tensor, ...]:
        there = dict(zip(theta, at, strict=True))
        loss = torch.stack([alone.loss(there, batch) for batch in doubled]).mean()
        return torch.autograd.grad(loss, at, create_graph=again)

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
    if not first.any():  # flat all around, which ARPACK reports as an error
        return 0.0
    try:
        search = {"v0": start, "tol": TOLERANCE, "maxiter": RESTARTS}
        (value,) = eigsh(hessian, k=1, which="LA", return_eigenvectors=False, **search)
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


SLICE_RANGE, SLICE_POINTS = (-1.0, 1.0), 11
"""Coordinates along both directions: at 1 a filter is moved by its own norm."""


@torch.no_grad()
def landscape_slice(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the training loss at θ + x·d₁ + y·d₂ for a square of x and y, named `landscape_slice[x y]`."""
    networks, theta = context.networks, context.networks.theta()
    weights = {layer: theta[f"{layer}.weight"] for layer in networks.learned}
    if not weights:
        return
    first, second = (directions(weights, context.trial_seeds, which) for which in range(2))
    batches = list(context.batches(settings.batches or 1))
    coordinates = np.linspace(*(settings.range or SLICE_RANGE), settings.points or SLICE_POINTS).round(12).tolist()
    for x in coordinates:
        for y in coordinates:
            there = dict(theta)
            for layer, direction in first.items():
                there[f"{layer}.weight"] = theta[f"{layer}.weight"] + x * direction + y * second[layer]
            loss_K = torch.stack([networks.loss(there, batch) for batch in batches]).mean(0)
            yield "", f"landscape_slice[{x:.15g} {y:.15g}]", loss_K


def directions(weights: Theta, seeds: tuple[int, ...], which: int) -> Theta:
    """Return one of two random directions, filter-normalised.

    Args:
        weights: of K trials by layer, (K, out, …).
        seeds: of each trial; equal ones share their draws.
        which: 0 or 1.
    """
    found = {}
    for i, (layer, weight) in enumerate(weights.items()):
        drawn = {seed: _normals(weight.shape[1:], seed, 2 * i + which) for seed in dict.fromkeys(seeds)}
        direction = torch.stack([drawn[seed] for seed in seeds]).to(weight.device, weight.dtype)
        found[layer] = direction * (filter_norms(weight) / filter_norms(direction))
    return found


def _normals(shape: torch.Size, seed: int, index: int) -> Tensor:
    generator = torch.Generator().manual_seed(stream_seed(seed, "landscape", index))
    return torch.randn(shape, generator=generator, dtype=torch.float64)
