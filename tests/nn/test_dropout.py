"""Dropout: which units fall, in which trials, how many, and what the rest do."""

from collections.abc import Sequence

import pytest
import torch

from bnexp.nn.layers import Dropout
from tests.helpers import SAMPLED_MEAN, SAMPLED_SHARE
from tests.nn.plain import generator, seed_draws

BATCH, FEATURES = 400, 500


def dropout(rates: Sequence[float], seeds: Sequence[int]) -> Dropout:
    return Dropout(rates, seed_draws(seeds))


def test_a_unit_falls_where_its_uniform_is_below_the_rate_of_the_trial() -> None:
    rates = [0.0, 0.2, 0.7]
    y_KBC = dropout(rates, [4, 4, 4])(torch.ones(3, 6, 5))
    dropped_KBC = y_KBC == 0
    u_BC = torch.rand(6, 5, generator=generator(4, "dropout"))
    assert torch.equal(dropped_KBC, torch.stack([u_BC < torch.tensor(rate) for rate in rates]))
    assert torch.equal(y_KBC[0], torch.ones(6, 5))


@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_the_share_of_dropped_units_is_the_rate_and_the_expectation_stays(rate: float) -> None:
    y_KBC = dropout([0.3, rate], [0, 1])(torch.ones(2, BATCH, FEATURES))
    assert abs(float((y_KBC[1] == 0).double().mean()) - rate) < SAMPLED_SHARE
    assert abs(float(y_KBC[1].mean()) - 1) < SAMPLED_MEAN


def test_evaluation_returns_the_input_and_draws_nothing() -> None:
    layer, x_KBC = dropout([0.5], [0]), torch.ones(1, 6, 5)
    assert layer.eval()(x_KBC) is x_KBC
    assert torch.equal(layer.train()(x_KBC), dropout([0.5], [0])(x_KBC))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_changes_neither_the_draws_nor_the_dtype(dtype: torch.dtype) -> None:
    y_KBC = dropout([0.4], [0]).to(dtype)(torch.ones(1, 60, 50, dtype=dtype))
    assert y_KBC.dtype == dtype
    assert torch.equal(y_KBC == 0, dropout([0.4], [0])(torch.ones(1, 60, 50)) == 0)
