"""How inputs reach the trials, and what has one number a trial or one draw an activation, in both layouts."""

import pytest
import torch

from bnexp.nn.layers import per_trial, pooled_features, share_features, share_images
from tests.helpers import EXACT_FLOAT64, assert_close, noise

BATCH, IMAGE = 4, (2, 3, 5)
PIXELS = 30


def test_one_input_for_all_trials_is_shared_without_a_copy() -> None:
    x = noise(1, BATCH, PIXELS)
    shared = share_features(x, 3)
    assert shared.shape == (3, BATCH, PIXELS)
    assert shared.data_ptr() == x.data_ptr()
    assert shared.stride(0) == 0


@pytest.mark.parametrize(("seeds", "trials"), [(2, 6), (3, 3)])
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
