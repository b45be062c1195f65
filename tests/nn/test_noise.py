"""Noise behind batch norm: what is drawn, in which order, for whom, and when not."""

import math
from collections.abc import Sequence

import pytest
import torch

from bnexp.nn.layers import Dropout
from bnexp.nn.norm import Noise
from bnexp.streams import SeedGenerators, TrialRandom
from tests.helpers import EXACT_FLOAT32, SAMPLED_SHARE, SAMPLED_STD, assert_close, noise
from tests.nn.plain import CPU, EPOCH, PlainNoise, generator, network, seed_draws

FEATURES, BATCH = 5, 7
LAYOUTS = ["features", "images"]


def layer(seeds: Sequence[int], draws: TrialRandom | None = None, features: int = FEATURES) -> Noise:
    return Noise(len(seeds), features, draws or seed_draws(seeds))


def activations(layout: str, trials: int = 1, batch: int = BATCH, features: int = FEATURES) -> torch.Tensor:
    """The same for every trial."""
    x_BC = noise(batch, features).float()
    x_BCHW = noise(batch, features, 3, 4).float().contiguous(memory_format=torch.channels_last)
    return x_BC.repeat(trials, 1, 1) if layout == "features" else x_BCHW.repeat(1, trials, 1, 1)


def per_trial(y: torch.Tensor, trials: int) -> list[torch.Tensor]:
    return list(y) if y.ndim == 3 else list(y.chunk(trials, dim=1))


def scale_and_mean(layout: str, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What each activation of a trial is multiplied with and what is added to it; a column per unit."""
    ones = torch.ones_like(activations(layout, batch=batch, features=200))
    noisy = [layer([3], features=200)(x) for x in (ones, 0 * ones)]
    summed, mean = (y[0] if layout == "features" else y.movedim(1, -1).flatten(0, 2) for y in noisy)
    return summed - mean, mean


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_the_documented_transcription_step_after_step(layout: str) -> None:
    seeds, x = [3, 3, 8], activations(layout, trials=3)
    streams = SeedGenerators(seeds, CPU)
    streams.start_epoch(EPOCH)
    draws = TrialRandom(streams, seeds)
    made, plain = layer(seeds, draws), [PlainNoise(generator(seed, "noise")) for seed in seeds]
    for _ in range(3):
        streams.start_step()
        draws.start_pass()
        for y, x_k, each in zip(per_trial(made(x), 3), per_trial(x, 3), plain, strict=True):
            assert_close(y, each(x_k), EXACT_FLOAT32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_evaluation_adds_no_noise_and_draws_nothing(layout: str) -> None:
    made, x = layer([0]).eval(), activations(layout)
    assert made(x) is x
    assert torch.equal(made.train()(x), layer([0])(x))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_trials_of_a_seed_get_the_same_noise_and_seeds_differ(layout: str) -> None:
    first, second, other = per_trial(layer([4, 4, 9])(activations(layout, trials=3)), 3)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_means_of_the_units_are_uniform_and_so_is_what_is_added_to_them(layout: str) -> None:
    _, mean_NC = scale_and_mean(layout, batch=1000)
    middle = (mean_NC.amin(0) + mean_NC.amax(0)) / 2
    assert 0.45 < float(middle.abs().max()) <= 0.5 + SAMPLED_SHARE
    # Of a uniform distribution within ±0.5 a share of 2t lies within ±t.
    for share in (0.25, 0.5, 0.75):
        assert abs(float((middle.abs() < share / 2).double().mean()) - share) < 3 * (share * (1 - share) / 200) ** 0.5
    own = mean_NC - middle
    assert float(own.abs().max()) <= 0.1 + SAMPLED_SHARE
    assert abs(float(own.std()) / (0.2 / 12**0.5) - 1) < SAMPLED_STD


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_scales_of_the_units_are_uniform_from_1_and_normal_around_them(layout: str) -> None:
    scale_NC, _ = scale_and_mean(layout, batch=1000)
    middle = scale_NC.mean(0)
    rounding = 5 * 0.1 / len(scale_NC) ** 0.5
    assert 1 - rounding < float(middle.min()) < 1.02
    assert 1.23 < float(middle.max()) < 1.25 + rounding
    assert abs(float(middle.mean()) - 1.125) < 3 * 0.25 / (12 * 200) ** 0.5
    own = scale_NC - middle
    assert abs(float(own.std()) / 0.1 - 1) < SAMPLED_STD
    within = float((own.abs() < 0.1).double().mean())
    assert abs(within - math.erf(0.5**0.5)) < SAMPLED_SHARE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dropouts_draws_stay_what_they_are(layout: str) -> None:
    draws, x = seed_draws([0]), activations(layout)
    layer([0], draws)(x)
    assert torch.equal(Dropout([0.5], draws)(x), Dropout([0.5], seed_draws([0]))(x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_precision_changes_neither_the_draws_nor_the_dtype(layout: str, dtype: torch.dtype) -> None:
    x = 0 * activations(layout)  # of which only the mean is left
    y = layer([0]).to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    assert torch.equal(y, layer([0])(x).to(dtype))


def test_images_stay_channels_last() -> None:
    y = layer([0, 0, 3])(activations("images", trials=3).contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_layer_has_nothing_to_learn_or_to_keep() -> None:
    assert not list(layer([0]).parameters())
    assert not layer([0]).state_dict()


def test_only_training_is_noisy_and_the_pairs_without_it_are_batch_norm() -> None:
    raw = {"family": "vgg", "depth": 5, "width": 2, "activation": "tanh"}
    x = noise(1, BATCH, 16)
    noisy, quiet = (network(raw | {"norm": kind}, [0], (1, 4, 4)) for kind in ("noisy_batch", "batch"))
    assert torch.equal(noisy.eval()(x), quiet.eval()(x))
    assert not torch.equal(noisy.train()(x), quiet.train()(x))
