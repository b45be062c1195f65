"""Dropout: which units fall, in which trials, how many, and what the rest do."""

from collections.abc import Sequence

import pytest
import torch

from bnexp.nn.dropout import Dropout, SeedUniforms
from tests.helpers import EXACT_FLOAT32, SAMPLED_MEAN, SAMPLED_SHARE, assert_close, noise

CPU = torch.device("cpu")
BATCH, FEATURES = 400, 500


def started(seeds: Sequence[int], epoch: int = 1) -> SeedUniforms:
    uniforms = SeedUniforms(seeds, CPU)
    uniforms.start_epoch(epoch)
    return uniforms


def dropout(rates: Sequence[float], seeds: Sequence[int]) -> Dropout:
    return Dropout(rates, started(seeds))


def test_trials_of_a_seed_share_their_uniforms_and_seeds_differ() -> None:
    u_KBC = started([3, 3, 8, 8]).draw(6, 5)
    assert torch.equal(u_KBC[0], u_KBC[1])
    assert torch.equal(u_KBC[2], u_KBC[3])
    assert not torch.equal(u_KBC[0], u_KBC[2])


@pytest.mark.parametrize("company", [[8], [3, 8], [8, 9, 10]])
def test_the_uniforms_of_a_seed_do_not_depend_on_its_company(company: list[int]) -> None:
    assert torch.equal(started(company).draw(6, 5)[company.index(8)], started([3, 3, 8]).draw(6, 5)[2])


def test_the_stream_runs_on_within_an_epoch_and_begins_anew_at_the_next() -> None:
    uniforms = started([0])
    first, second = uniforms.draw(6, 5), uniforms.draw(6, 5)
    assert not torch.equal(first, second)
    uniforms.start_epoch(1)
    assert torch.equal(uniforms.draw(6, 5), first)
    uniforms.start_epoch(2)
    assert not torch.equal(uniforms.draw(6, 5), first)


def test_uniforms_lie_in_the_half_open_interval() -> None:
    u_KBC = started([0]).draw(BATCH, FEATURES)
    assert 0 <= float(u_KBC.min()) < SAMPLED_SHARE
    assert 1 - SAMPLED_SHARE < float(u_KBC.max()) < 1


def test_a_unit_falls_where_its_uniform_is_below_the_rate_of_the_trial() -> None:
    rates = [0.0, 0.2, 0.7]
    dropped_KBC = dropout(rates, [4, 4, 4])(torch.ones(3, 6, 5)) == 0
    u_BC = started([4]).draw(6, 5)[0]
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


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_kept_units_grow_by_one_over_the_kept_share(rate: float) -> None:
    x_KBC = noise(1, 60, 50).float()
    y_KBC = dropout([rate], [0])(x_KBC)
    kept = y_KBC != 0
    assert_close(y_KBC[kept], x_KBC[kept] / (1 - rate), EXACT_FLOAT32)


def test_a_rate_of_zero_changes_no_bit_beside_a_trial_that_drops() -> None:
    x_KBC = noise(2, 60, 50).float()
    y_KBC = dropout([0.0, 0.5], [0, 0])(x_KBC)
    assert torch.equal(y_KBC[0], x_KBC[0])
    assert not torch.equal(y_KBC[1], x_KBC[1])


def test_evaluation_returns_the_input_and_draws_nothing() -> None:
    layer, x_KBC = dropout([0.5], [0]), torch.ones(1, 6, 5)
    assert layer.eval()(x_KBC) is x_KBC
    assert torch.equal(layer.uniforms.draw(6, 5), started([0]).draw(6, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_changes_neither_the_draws_nor_the_dtype(dtype: torch.dtype) -> None:
    y_KBC = dropout([0.4], [0]).to(dtype)(torch.ones(1, 60, 50, dtype=dtype))
    assert y_KBC.dtype == dtype
    assert torch.equal(y_KBC == 0, dropout([0.4], [0])(torch.ones(1, 60, 50)) == 0)
