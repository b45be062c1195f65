"""Noise behind batch norm: what is drawn, in which order, for whom, and when not."""

from collections.abc import Sequence

import pytest
import torch

from bnexp.nn.layers import Dropout
from bnexp.nn.norm import Noise
from bnexp.streams import SeedGenerators, TrialRandom
from tests.helpers import EXACT_FLOAT32, SAMPLED_STD, assert_close, noise
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


def test_means_and_scales_have_the_documented_distributions() -> None:
    batch, features = 4000, 50
    mean_BC = layer([0], features=features)(torch.zeros(1, batch, features))[0]
    scale_BC = layer([0], features=features)(torch.ones(1, batch, features))[0] - mean_BC
    for numbers_BC, spread, least, most in ((mean_BC, 0.1 / 3**0.5, -0.5, 0.5), (scale_BC, 0.1, 1.0, 1.25)):
        center_C = numbers_BC.mean(0)
        assert abs(float((numbers_BC - center_C).std()) / spread - 1) < SAMPLED_STD
        assert least - SAMPLED_STD < float(center_C.min()) < float(center_C.max()) < most + SAMPLED_STD
        assert float(center_C.max() - center_C.min()) > 0.8 * (most - least)


def test_dropouts_draws_stay_what_they_are() -> None:
    draws, x = seed_draws([0]), activations("images")
    layer([0], draws)(x)
    assert torch.equal(Dropout([0.5], draws)(x), Dropout([0.5], seed_draws([0]))(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_changes_neither_the_draws_nor_the_dtype(dtype: torch.dtype) -> None:
    x = 0 * activations("features")  # of which only the mean is left
    y = layer([0]).to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    assert torch.equal(y, layer([0])(x).to(dtype))


def test_images_stay_channels_last() -> None:
    y = layer([0, 0, 3])(activations("images", trials=3).contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_only_training_is_noisy_and_the_pairs_without_it_are_batch_norm() -> None:
    raw = {"family": "vgg", "depth": 5, "width": 2, "activation": "tanh"}
    x = noise(1, BATCH, 16)
    noisy, quiet = (network(raw | {"norm": kind}, [0], (1, 4, 4)) for kind in ("noisy_batch", "batch"))
    assert torch.equal(noisy.eval()(x), quiet.eval()(x))
    assert not set(noisy.state_dict()) ^ set(quiet.state_dict())
    assert not torch.equal(noisy.train()(x), quiet.train()(x))
