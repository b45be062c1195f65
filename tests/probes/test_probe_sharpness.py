"""The largest eigenvalue against the whole Hessian of tiny networks."""

from collections.abc import Callable
from math import nan
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.training.group_state import GroupTrainState
from tests.helpers import LANCZOS, assert_close, made_up_data, rates_group
from tests.probes.looking import Plain, find, in_training, rates

TINY: dict[str, dict[str, Any]] = {
    "none": {"depth": 2, "width": 3, "norm": "none"},
    "batch": {"depth": 2, "width": 3, "activation": "tanh"},
    "batch after": {"depth": 1, "width": 3, "norm": "after"},
    "group": {"depth": 2, "width": 4, "norm": {"kind": "group", "groups": 2}},
    "dropout": {"depth": 1, "width": 3, "dropout": 0.5},
    "whiten": {"depth": 1, "width": 3, "norm": "whiten"},
    "vgg": {"family": "vgg", "depth": 5, "width": 1, "activation": "tanh"},
}


def tiny(model: dict[str, Any], **train: Any) -> GroupTrainState:
    """Networks for pictures of 3 × 3 pixels, whose Hessian can be written down."""
    group = rates_group(2, model, **{"precision": "fp64"} | train)
    return in_training(group, made_up_data(group, side=3))


def hessian(made: Plain, *, differences: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The Hessian over all learned numbers, and the norm of each one's filter."""
    named = {name: theta.detach() for name, theta in made.network.named_parameters()}
    numbers = torch.cat([theta.flatten() for theta in named.values()])

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = zip(named.items(), flat.split([theta.numel() for theta in named.values()]), strict=True)
        return made.loss(made.batch(0), at={name: piece.view_as(theta) for (name, theta), piece in pieces})

    filters = torch.cat([_filters(theta).flatten() for theta in named.values()]).numpy()
    whole = _differences(loss, numbers) if differences else torch.autograd.functional.hessian(loss, numbers).numpy()
    return whole, filters


def _filters(theta: torch.Tensor) -> torch.Tensor:
    if theta.ndim == 1:
        return torch.ones_like(theta)
    return torch.stack([torch.full_like(row, float(row.norm())) for row in theta])


def _differences(loss: Callable[[torch.Tensor], torch.Tensor], numbers: torch.Tensor) -> np.ndarray:
    def gradient(at: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss(leaf := at.clone().requires_grad_()), leaf)[0]

    steps = 1e-5 * torch.eye(len(numbers), dtype=torch.float64)
    found: np.ndarray = torch.stack([(gradient(numbers + e) - gradient(numbers - e)) / 2e-5 for e in steps]).numpy()
    return (found + found.T) / 2


@pytest.mark.parametrize("name", TINY)
def test_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian(name: str) -> None:
    train_state = tiny(TINY[name], label_smoothing=0.1)
    found = find(train_state, "sharpness")
    for k in range(2):
        # The decomposition that the plain whitening takes has no second derivative.
        whole, unit = hessian(Plain(train_state, k), differences=name == "whiten")
        largest = np.linalg.eigvalsh(whole)[-1]
        assert_close(found["", "sharpness"][k], largest, LANCZOS)
        assert_close(found["", "sharpness.times_rate"][k], largest * float(rates(train_state)[k]), LANCZOS)
        free = np.linalg.eigvalsh(unit[:, None] * whole * unit)[-1]
        assert_close(found["", "sharpness.scale_free"][k], free, LANCZOS)


def test_over_several_batches_it_is_that_of_their_mean_loss() -> None:
    train_state = tiny(TINY["none"], batch_size=8)
    twice = find(tiny(TINY["none"], batch_size=16), "sharpness")
    # Without batch norm a mean over two batches is one over a batch twice as large.
    found = find(train_state, {"name": "sharpness", "batches": 2})
    assert_close(found["", "sharpness"], twice["", "sharpness"], LANCZOS)


def test_the_largest_eigenvalue_is_not_the_one_farthest_from_0() -> None:
    train_state = tiny({"depth": 1, "width": 3, "norm": "none", "activation": "tanh"})
    output = train_state.network.get_parameter("output.weight").data
    output[:] = torch.tensor([-20.0, 20.0, 0.0])[:, None].double()
    train_state.network.get_parameter("hidden.0.linear.weight").data.mul_(0.1)
    train_state.network.get_parameter("hidden.0.linear.bias").data.fill_(0.6)
    eigenvalues = np.linalg.eigvalsh(hessian(Plain(train_state, 0))[0])
    assert -eigenvalues[0] > 1.5 * eigenvalues[-1] > 0
    assert_close(find(train_state, "sharpness")["", "sharpness"][0], eigenvalues[-1], LANCZOS)


def test_a_network_in_float32_is_looked_at_in_float64() -> None:
    train_state = tiny(TINY["batch"], precision="fp32")
    alike = tiny(TINY["batch"])
    for theta, single in zip(alike.network.parameters(), train_state.network.parameters(), strict=True):
        theta.data = single.detach().double()
    assert_close(find(train_state, "sharpness")["", "sharpness"], find(alike, "sharpness")["", "sharpness"], LANCZOS)


def test_a_flat_loss_has_sharpness_0_and_one_that_is_no_number_none() -> None:
    train_state = tiny(TINY["none"])
    for theta in train_state.network.parameters():
        theta.data.zero_()
    train_state.data.train.labels_N.zero_()
    # So sure of the right class that no other has a probability.
    train_state.network.get_parameter("output.bias").data[0] = torch.tensor([2000.0, 0.0, 0.0])
    train_state.network.get_parameter("output.bias").data[1] = nan
    found = find(train_state, "sharpness")
    assert found["", "sharpness"][0] == found["", "sharpness.scale_free"][0] == 0
    assert np.isnan(found["", "sharpness"][1])
    assert np.isnan(found["", "sharpness.scale_free"][1])
