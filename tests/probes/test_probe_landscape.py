"""Slices through the loss: their directions, their values, and what they don't mind."""

import numpy as np
import pytest
import torch

from bnexp.probes.landscape import directions
from bnexp.streams import stream_seed
from tests.helpers import EXACT_FLOAT64, PLAIN_FLOAT64, assert_close, noise, rates_group
from tests.probes.looking import MODELS, Plain, find, in_training

NAMES = ["mlp", "mlp, norm after, dropout", "mlp, groups", "vgg, dropout", "resnet"]
SMALL = {"name": "landscape_slice", "range": [-0.5, 1], "points": 4}


def plain_direction(weight: torch.Tensor, seed: int, index: int) -> torch.Tensor:
    """Section 4 of the paper: a random filter of each filter's norm."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "landscape", index))
    drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return torch.stack([d * w.norm() / d.norm() for d, w in zip(drawn, weight, strict=True)])


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_is_that_of_a_plain_loop(name: str) -> None:
    train_state = in_training(rates_group(1, MODELS[name], seeds=2, precision="fp64", label_smoothing=0.1))
    found = find(train_state, SMALL | {"batches": 2})
    assert len(found) == 16
    for k, seed in enumerate((0, 1)):
        made = Plain(train_state, k)
        weights = [layer.get_parameter("weight") for layer in made.weights]
        start = [weight.detach().clone() for weight in weights]
        first, second = (
            [plain_direction(weight, seed, 2 * i + which) for i, weight in enumerate(start)] for which in range(2)
        )
        for x in (-0.5, 0, 0.5, 1):
            for y in (-0.5, 0, 0.5, 1):
                for weight, begun, d1, d2 in zip(weights, start, first, second, strict=True):
                    weight.data = begun + x * d1 + y * d2
                loss = (made.loss(made.batch(0), 0) + made.loss(made.batch(1), 1)) / 2
                assert_close(found["", f"landscape_slice[{x:g} {y:g}]"][k], float(loss.detach()), PLAIN_FLOAT64)


def test_in_the_middle_is_the_loss() -> None:
    found = find(in_training(MODELS["mlp"]), "landscape_slice", "loss_variation")
    assert sum(name.startswith("landscape_slice[") for _, name in found) == 11 * 11
    assert np.array_equal(found["", "landscape_slice[0 0]"], found["", "loss_variation"])
    assert {("", "landscape_slice[-1 -1]"), ("", "landscape_slice[0.2 -0.8]")} < set(found)


def test_all_arms_of_a_seed_go_the_same_ways_and_seeds_and_ways_differ() -> None:
    weights = {"a": noise(3, 4, 5), "b": noise(3, 2, 4, 3, 3, seed=1)}
    ways = [directions(weights, (7, 7, 8), which) for which in range(2)]
    for name, weight in weights.items():
        unit = [way[name].flatten(2) / way[name].flatten(2).norm(dim=2, keepdim=True) for way in ways]
        assert_close(unit[0][0], unit[0][1], EXACT_FLOAT64)
        assert abs(float((unit[0][0] * unit[0][2]).sum(1).mean())) < 0.9
        assert abs(float((unit[0][0] * unit[1][0]).sum(1).mean())) < 0.9
        assert_close(ways[0][name].flatten(2).norm(dim=2), weight.flatten(2).norm(dim=2), EXACT_FLOAT64)


def test_filters_of_zeros_stay_where_they_are() -> None:
    weights = {"a": noise(1, 4, 5)}
    weights["a"][0, 2] = 0
    way = directions(weights, (0,), 0)["a"]
    assert bool((way[0, 2] == 0).all())
    assert bool((way[0, 1] != 0).all())
