"""The loss along its own gradient: how far it varies, how well the gradient predicts, how smooth it is.

Santurkar et al. 2018, arXiv:1805.11604, section 3.2 and figure 4: places θ − s·g for several s at one moment, never
across moments. The gradient g is the plain one of the first training images, whatever the optimiser makes of it. How
far a step leads depends on the weights' scale: what is free of it takes all in units of the filters' norms.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.probes.gradients import sum_of_squares
from bnexp.probes.moment import Moment, Value, filter_norms
from bnexp.probes.networks import Networks, Theta

RANGE, POINTS = (0.5, 4.0), 8
"""Step sizes as multiples of the learning rate, in even ratios; published for a VGG."""


@dataclass(frozen=True)
class Line:
    """What is found at R places on the line."""

    step_RK: Float[Tensor, "R K"]
    """s, a multiple of each trial's learning rate."""
    loss_RK: Float[Tensor, "R K"]
    change_RK: Float[Tensor, "R K"]
    """‖g(θ − s·g) − g(θ)‖."""
    cosine_RK: Float[Tensor, "R K"]
    """Of the angle between the two gradients."""
    loss_K: Float[Tensor, " K"]
    norm_K: Float[Tensor, " K"]
    """‖g(θ)‖."""


def loss_variation(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the loss at θ, and the lowest and the highest one on the line."""
    line = _line(moment, settings)
    yield "", "loss_variation", line.loss_K
    yield from _ends("loss_variation.", line.loss_RK)


def gradient_predictiveness(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the least and the largest ‖g(θ − s·g) − g(θ)‖ on the line, the same relative to ‖g(θ)‖, and cosines."""
    line = _line(moment, settings)
    yield from _ends("gradient_predictiveness.", line.change_RK)
    yield from _ends("gradient_predictiveness.relative_", line.change_RK / line.norm_K)
    yield from _ends("gradient_predictiveness.cosine_", line.cosine_RK)


def effective_smoothness(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the largest ‖g(θ − s·g) − g(θ)‖ / (s·‖g(θ)‖) on the line, and the same in units of the filters' norms.

    With u = θ/‖filter‖ of weights and u = θ of all else, the second is that of L as a function of u, on a line of its
    own along ∂L/∂u. It doesn't change where filters are scaled that batch norm follows; arms are compared by it.
    """
    for name, unit in ("", None), (".scale_free", units(moment.networks)):
        line = _line(moment, settings, unit)
        yield "", f"effective_smoothness{name}", (line.change_RK / (line.step_RK * line.norm_K)).amax(0)


def units(networks: Networks) -> Theta:
    """Return what numbers are measured by where their scale is to play no part: the norm of their filter, or of their
    row of a linear layer; 1 for what is no weight."""
    weights = [f"{layer}.weight" for layer in networks.weights]
    theta = networks.theta().items()
    return {name: filter_norms(each) if name in weights else torch.ones_like(each) for name, each in theta}


def _line(moment: Moment, settings: ProbeSettings, unit: Theta | None = None) -> Line:
    low, high = settings.range or RANGE
    count, batches = settings.points or POINTS, settings.batches or 1
    key = ("line", low, high, count, batches, unit is None)
    return moment.once(key, lambda: _look(moment, np.geomspace(low, high, count).tolist(), batches, unit))


def _look(moment: Moment, factors: list[float], batches: int, unit: Theta | None) -> Line:
    """Look at the line along the gradient with respect to θ / unit."""
    theta = moment.networks.theta()
    unit = unit or {name: torch.ones_like(each) for name, each in theta.items()}
    loss_K, gradient = _gradient(moment, theta, batches, unit)
    norm_K = sum_of_squares(gradient).sqrt()
    rows = []
    for factor in factors:
        step_K = factor * moment.rate_K
        there = {name: each - _per_trial(step_K, each) * unit[name] * gradient[name] for name, each in theta.items()}
        loss_there_K, other = _gradient(moment, there, batches, unit)
        change_K = sum_of_squares({name: other[name] - each for name, each in gradient.items()}).sqrt()
        product_K = torch.stack([_dot(other[name], each) for name, each in gradient.items()]).sum(0)
        cosine_K = product_K / (norm_K * sum_of_squares(other).sqrt())
        rows.append(torch.stack([step_K.double(), loss_there_K.double(), change_K, cosine_K]))
    step_RK, loss_RK, change_RK, cosine_RK = torch.stack(rows, 1)
    return Line(step_RK, loss_RK, change_RK, cosine_RK, loss_K.double(), norm_K)


def _gradient(moment: Moment, theta: Theta, batches: int, unit: Theta) -> tuple[Tensor, Theta]:
    """Return the loss over some batches, and its gradient with respect to θ / unit."""
    found = [moment.networks.gradient(theta, batch) for batch in moment.batches(batches)]
    loss_K = torch.stack([loss_K for loss_K, _ in found]).mean(0)
    return loss_K, {name: unit[name] * torch.stack([each[name] for _, each in found]).mean(0) for name in theta}


def _ends(name: str, values_RK: Float[Tensor, "R K"]) -> Iterator[Value]:
    yield "", f"{name}low", values_RK.amin(0)
    yield "", f"{name}high", values_RK.amax(0)


def _per_trial(numbers_K: Tensor, like: Tensor) -> Tensor:
    return numbers_K.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one.double() * other.double()).flatten(1).sum(1)
