"""Dropout: which units fall, in which trials, how many, and what the rest do."""

from collections.abc import Sequence

import pytest
import torch

from bnexp.nn.layers import Dropout
from tests.helpers import SAMPLED_MEAN, SAMPLED_SHARE, noise
from tests.nn.plain import generator, seed_draws

BATCH, FEATURES = 400, 500


def dropout(rates: Sequence[float], seeds: Sequence[int]) -> Dropout:
    return Dropout(rates, seed_draws(seeds))


def test_a_unit_falls_where_its_uniform_is_below_the_rate_of_the_trial() -> None:
    rates = [0.0, 0.2, 0.7]
    dropped_KBC = dropout(rates, [4, 4, 4])(torch.ones(3, 6, 5)) == 0
    u_BC = torch.rand(6, 5, generator=generator(4, "dropout"))
    assert torch.equal(dropped_KBC, torch.stack([u_BC < torch.tensor(rate) for rate in rates]))


def test_what_a_low_rate_drops_a_higher_one_drops_too() -> None:
    dropped_KBC = dropout([0.2, 0.7], [4, 4])(torch.ones(2, 60, 50)) == 0
    assert bool((dropped_KBC[1] | ~dropped_KBC[0]).all())
    assert int(dropped_KBC[1].sum()) > int(dropped_KBC[0].sum()) > 0


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_share_of_dropped_units_is_the_rate_and_the_expectation_stays(rate: float) -> None:
    y_KBC = dropout([0.3, rate], [0, 1])(torch.ones(2, BATCH, FEATURES))
    assert abs(float((y_KBC[1] == 0).double().mean()) - rate) < SAMPLED_SHARE
    assert abs(float(y_KBC[1].mean()) - 1) < SAMPLED_MEAN


def test_a_rate_of_zero_changes_no_bit_beside_a_trial_that_drops() -> None:
    x_KBC = noise(2, 60, 50).float()
    y_KBC = dropout([0.0, 0.5], [0, 0])(x_KBC)
    assert torch.equal(y_KBC[0], x_KBC[0])
    assert not torch.equal(y_KBC[1], x_KBC[1])


def test_evaluation_returns_the_input_and_draws_nothing() -> None:
    layer, x_KBC = dropout([0.5], [0]), torch.ones(1, 6, 5)
    assert layer.eval()(x_KBC) is x_KBC
    assert torch.equal(layer.train()(x_KBC), dropout([0.5], [0])(x_KBC))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_changes_neither_the_draws_nor_the_dtype(dtype: torch.dtype) -> None:
    y_KBC = dropout([0.4], [0]).to(dtype)(torch.ones(1, 60, 50, dtype=dtype))
    assert y_KBC.dtype == dtype
    assert torch.equal(y_KBC == 0, dropout([0.4], [0])(torch.ones(1, 60, 50)) == 0)


def test_pictures_stay_channels_last() -> None:
    x_BDHW = torch.ones(4, 6, 5, 5).contiguous(memory_format=torch.channels_last)
    assert dropout([0.5, 0.2], [0, 1])(x_BDHW).is_contiguous(memory_format=torch.channels_last)
