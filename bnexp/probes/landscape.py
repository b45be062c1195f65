"""Two-dimensional slices through the loss around the weights.

Filter-normalised random directions (Li et al. 2018, arXiv:1712.09913, section 4): every filter of a direction, or row
of a linear layer, has the norm of the weights' own, so that networks which only differ in the scale of their weights
show the same picture. Tensors that are not weights stay where they are. All arms of a seed take the same draws.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.probes.moment import Moment, Value, filter_norms
from bnexp.probes.networks import Theta
from bnexp.streams import stream_seed

RANGE, POINTS = (-1.0, 1.0), 11
"""Coordinates of both directions: at 1 a filter is moved by its own norm."""


@torch.no_grad()
def landscape_slice(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the training loss at θ + x·d₁ + y·d₂ for a square of x and y, named `landscape_slice[x y]`."""
    networks, theta = moment.networks, moment.networks.theta()
    weights = {layer: theta[f"{layer}.weight"] for layer in networks.weights}
    first, second = (directions(weights, moment.trial_seeds, which) for which in range(2))
    batches = list(moment.batches(settings.batches or 1))
    coordinates = np.linspace(*(settings.range or RANGE), settings.points or POINTS).round(12).tolist()
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
    return {layer: _direction(weight, seeds, 2 * i + which) for i, (layer, weight) in enumerate(weights.items())}


def _direction(weight: Tensor, seeds: tuple[int, ...], index: int) -> Tensor:
    drawn = {seed: _normals(weight.shape[1:], seed, index) for seed in dict.fromkeys(seeds)}
    direction = torch.stack([drawn[seed] for seed in seeds]).to(weight.device, weight.dtype)
    return direction * (filter_norms(weight) / filter_norms(direction))


def _normals(shape: torch.Size, seed: int, index: int) -> Tensor:
    generator = torch.Generator().manual_seed(stream_seed(seed, "landscape", index))
    return torch.randn(shape, generator=generator, dtype=torch.float64)
