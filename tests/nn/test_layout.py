"""How inputs reach the trials, and what has one number a trial or one draw an activation, in both layouts."""

import pytest
import torch
from torch import nn

from bnexp.nn.layout import draws_for, per_trial, pooled_features, share_features, share_images, trials_of
from tests.helpers import EXACT_FLOAT64, assert_close, noise
from tests.nn.plain import generator, seed_draws

BATCH, IMAGE = 4, (2, 3, 5)
PIXELS = 30


def test_one_input_for_all_trials_is_shared_without_a_copy() -> None:
    x = noise(1, BATCH, PIXELS)
    shared = share_features(x, 3)
    assert shared.shape == (3, BATCH, PIXELS)
    assert shared.data_ptr() == x.data_ptr()
    assert shared.stride(0) == 0


@pytest.mark.parametrize("trials", [1, 3])
def test_one_input_per_trial_is_taken_as_it_is(trials: int) -> None:
    x = noise(trials, BATCH, PIXELS)
    assert torch.equal(share_features(x, trials), x)
    assert share_features(x, trials).data_ptr() == x.data_ptr()


@pytest.mark.parametrize(("seeds", "trials"), [(2, 4), (2, 6), (3, 6)])
def test_one_input_per_seed_goes_to_the_neighbouring_trials_of_that_seed(seeds: int, trials: int) -> None:
    x = noise(seeds, BATCH, PIXELS)
    assert torch.equal(share_features(x, trials), x.repeat_interleave(trials // seeds, dim=0))


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(("inputs", "trials"), [(1, 1), (1, 3), (2, 4), (2, 6), (3, 3)])
def test_images_have_the_channels_of_all_trials_side_by_side(inputs: int, trials: int, apart: bool) -> None:
    x_SBP = noise(inputs, BATCH, PIXELS)
    images = share_images(x_SBP, IMAGE, trials, apart=apart)
    copies = 1 if inputs == 1 and not apart else trials
    assert images.shape == (BATCH, copies * IMAGE[0], *IMAGE[1:])
    for k in range(copies):
        own = x_SBP[k * inputs // trials].view(BATCH, *IMAGE)
        assert torch.equal(images[:, k * IMAGE[0] : (k + 1) * IMAGE[0]], own)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("inputs", [1, 2, 4])
def test_images_are_channels_last_in_memory(inputs: int, apart: bool) -> None:
    images = share_images(noise(inputs, BATCH, PIXELS), IMAGE, 4, apart=apart)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_pooled_features_are_the_mean_of_each_channel_over_all_places() -> None:
    x_BDHW = noise(BATCH, 6, 3, 5)
    pooled = pooled_features(x_BDHW, 3)
    assert pooled.shape == (3, BATCH, 2)
    for k in range(3):
        for channel in range(2):
            expected = x_BDHW[:, 2 * k + channel].flatten(1).sum(1) / 15
            assert_close(pooled[k, :, channel], expected, EXACT_FLOAT64)


@pytest.mark.parametrize("shape", [(3, BATCH, 2), (BATCH, 6, 3, 5), (BATCH, 3, 1, 1)])
def test_one_number_a_trial_meets_the_activations_of_that_trial(shape: tuple[int, ...]) -> None:
    numbers_K = torch.tensor([2.0, 3.0, 5.0])
    met = per_trial(numbers_K, torch.zeros(shape)).expand(shape)
    for k, number in enumerate(numbers_K):
        own = met[k] if met.ndim == 3 else met.chunk(3, dim=1)[k]
        assert bool((own == number).all())


def test_features_draw_a_number_each() -> None:
    drawn = draws_for(torch.zeros(2, BATCH, 7), 2, lambda *shape: seed_draws([3, 8]).uniform("dropout", *shape))
    for k, seed in enumerate((3, 8)):
        assert torch.equal(drawn[k], torch.rand(BATCH, 7, generator=generator(seed, "dropout")))


@pytest.mark.parametrize("seeds", [[3], [3, 3, 8]])
def test_images_draw_a_number_for_every_pixel_with_the_channels_last(seeds: list[int]) -> None:
    x_BDHW = torch.zeros(BATCH, 2 * len(seeds), 3, 5)
    drawn = draws_for(x_BDHW, len(seeds), lambda *shape: seed_draws(seeds).uniform("dropout", *shape))
    assert drawn.shape == x_BDHW.shape
    for k, seed in enumerate(seeds):
        u_BHWC = torch.rand(BATCH, 3, 5, 2, generator=generator(seed, "dropout"))
        assert torch.equal(drawn[:, 2 * k : 2 * k + 2], u_BHWC.permute(0, 3, 1, 2))


def test_the_first_parameter_tells_the_trials() -> None:
    network = nn.Module()
    network.weight = nn.Parameter(torch.zeros(4, 2, 3))
    assert trials_of(network) == 4
