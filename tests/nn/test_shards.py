"""Shards: some of the trials as a network of their own, in the memory of the whole."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

from bnexp.nn.layers import Conv2d, Linear
from bnexp.nn.norm import refit_statistics
from bnexp.nn.shards import Parameters, Shard, probe_copy, shards
from bnexp.streams import SeedGenerators, TrialRandom
from tests.helpers import EXACT_FLOAT64, assert_close, crossed, noise
from tests.nn.plain import CPU, EPOCH, network

IMAGE, BATCH, PIXELS = (2, 4, 4), 6, 32
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 3, "width": 4, "norm": {"input": True}, "dropout": 0.3, "bias": True},
    "residual mlp, fixup": {"depth": 4, "width": 4, "residual": True, "norm": "none", "init": "fixup"},
    "vgg, whitening": {
        "family": "vgg",
        "depth": 5,
        "width": 2,
        "norm": {"kind": "whiten", "group_size": 2},
        "dropout": 0.3,
    },
    "vgg, input": {"family": "vgg", "depth": 5, "width": 2, "norm": {"input": True}},
    "resnet, noise": {"family": "resnet", "depth": 8, "width": 2, "norm": "noisy_batch", "dropout": 0.3},
    "resnet, group, no γ": {
        "family": "resnet",
        "depth": 8,
        "width": 2,
        "norm": {"kind": "group", "groups": 2, "affine": "beta", "addition": "after"},
    },
    "mlp, scaled": {"depth": 3, "width": 4, "norm": "none", "weights": "scaled", "activation": "relu"},
    "resnet, fixup": {"family": "resnet", "depth": 8, "width": 2, "norm": "none", "init": "fixup"},
}
CUTS = [[1, 1, 1, 1], [2, 2], [3, 1], [1, 3], [4]]
SEEDS = [0, 0, 5, 5]
TRIALS = len(SEEDS)


class Group:
    """Four trials of two seeds, cut into shards, in the order of calls that training makes."""

    def __init__(self, name: str, sizes: list[int]):
        self.streams = SeedGenerators(SEEDS, CPU)
        self.streams.start_epoch(EPOCH)
        draws = TrialRandom(self.streams, SEEDS)
        self.network = network(NETWORKS[name], SEEDS, IMAGE, draws=draws)
        self.shards = shards(self.network, draws, sizes)

    def step(self, x_SBP: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return logits and gradients of all trials from one pass of every shard."""
        self.streams.start_step()
        each = [self._pass(shard, x_SBP) for shard in self.shards]
        gradients = [torch.cat(rows) for rows in zip(*(gradient for _, gradient in each), strict=True)]
        return torch.cat([logits for logits, _ in each]), gradients

    def _pass(self, shard: Shard, x_SBP: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        shard.draws.start_pass()
        logits_KBC = shard.network(x_SBP[shard.rows(len(x_SBP), TRIALS)])
        return logits_KBC.detach(), list(shard.gradient(logits_KBC.square().mean((1, 2)).sum()))


def tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers, those that aren't saved, too."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def alike(one: Iterable[torch.Tensor], other: Iterable[torch.Tensor]) -> None:
    """Compare gradients as a whole: where batch norm cancels a bias, there is nothing but rounding."""
    assert_close(  # type: ignore[call-arg]
        *(torch.cat([gradient.flatten(1) for gradient in each], dim=1) for each in (one, other)), EXACT_FLOAT64
    )


# With an input a seed, a shard holds whole seeds or trials of one.
CUT_INPUTS = [([1] * 4, 1), ([1] * 4, 2), ([1] * 4, 4), ([2, 2], 2), ([2, 2], 4), ([1, 1, 2], 2), ([3, 1], 4)]


@pytest.mark.parametrize(("name", "cut_inputs"), crossed(list(NETWORKS), CUT_INPUTS, fast=3))
def test_shards_compute_what_the_whole_does_step_after_step(name: str, cut_inputs: tuple[list[int], int]) -> None:
    sizes, inputs = cut_inputs
    cut, whole = Group(name, sizes), Group(name, [TRIALS])
    for number in range(2):
        x_SBP = noise(inputs, BATCH, PIXELS, seed=number)
        (logits, gradient), (expected, expected_gradient) = cut.step(x_SBP), whole.step(x_SBP)
        assert_close(logits, expected, EXACT_FLOAT64)
        alike(gradient, expected_gradient)
    for one, other in zip(tensors(cut.network).values(), tensors(whole.network).values(), strict=True):
        assert_close(one.detach(), other.detach(), EXACT_FLOAT64)


@pytest.mark.parametrize(("name", "sizes"), crossed(list(NETWORKS), CUTS, fast=3))
def test_parameters_and_buffers_are_views_of_the_whole_networks(name: str, sizes: list[int]) -> None:
    group = Group(name, sizes)
    whole = tensors(group.network)
    first = 0
    for shard, size in zip(group.shards, sizes, strict=True):
        own = tensors(shard.network)
        assert list(own) == list(whole)
        assert (shard.first, shard.end, len(shard)) == (first, first + size, size)
        for tensor_name, tensor in own.items():
            all_of_it = whole[tensor_name]
            assert len(tensor) == size
            assert tensor.data_ptr() == all_of_it[first].data_ptr()
            assert tensor.untyped_storage().data_ptr() == all_of_it.untyped_storage().data_ptr()
        first += size


@pytest.mark.parametrize("name", ["mlp", "vgg, whitening", "resnet, noise"])
def test_running_statistics_and_their_refit_reach_the_whole_network(name: str) -> None:
    cut, whole = Group(name, [1, 2, 1]), Group(name, [TRIALS])
    batches = [noise(1, BATCH, PIXELS, seed=number) for number in range(3)]
    start = running(cut.network)
    for shard in cut.shards:
        refit_statistics(shard.network, batches)
    refit_statistics(whole.network, batches)
    kept = running(cut.network)
    assert kept
    for tensor_name, tensor in running(whole.network).items():
        assert not torch.equal(kept[tensor_name], start[tensor_name])
        assert_close(kept[tensor_name], tensor, EXACT_FLOAT64)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_matrices_of_the_models_own_numbers_and_weights_alone_decay(name: str) -> None:
    model = Group(name, [TRIALS]).network
    parameters = Parameters(model)
    expected = [parameter.detach().flatten(1) for parameter in model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(parameters.matrices, expected, strict=True))
    assert len(parameters) == sum(matrix_KP.shape[1] for matrix_KP in expected)
    weights = {module.weight.data_ptr() for module in model.modules() if isinstance(module, Linear | Conv2d)}
    assert parameters.decayed == [matrix.data_ptr() in weights for matrix in parameters.matrices]
    for matrix_KP in parameters.matrices:
        matrix_KP[1] = 7
    assert all(bool((theta[1] == 7).all()) and not bool((theta[0] == 7).any()) for theta in model.parameters())


def running(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.named_buffers() if "running" in name}


@pytest.mark.parametrize("sizes", [[4], [1, 2, 1]], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_twin_computes_what_the_shard_does_and_learns_with_it(name: str, sizes: list[int]) -> None:
    group, other = Group(name, sizes), Group(name, sizes)
    for place, shard in enumerate(group.shards):
        own = other.shards[place].draws
        copy = probe_copy(shard, own)
        x_KBP = noise(len(shard), BATCH, PIXELS)
        for _ in range(2):
            for each in (group, other):
                each.streams.start_step()
            shard.draws.start_pass()
            own.start_pass()
            assert torch.equal(copy(x_KBP), shard.network(x_KBP))
            with torch.no_grad():
                for theta in shard.network.parameters():
                    theta.add_(0.1)
        mine, theirs = (dict(network.named_parameters()) for network in (copy, shard.network))
        assert {name: theta.data_ptr() for name, theta in mine.items()} == {
            name: theta.data_ptr() for name, theta in theirs.items()
        }


@pytest.mark.parametrize("name", NETWORKS)
def test_passing_through_a_twin_leaves_buffers_and_draws_of_the_shard_as_they_are(name: str) -> None:
    group, other = Group(name, [1, 3]), Group(name, [1, 3])
    last = group.shards[1]
    before = {name: buffer.clone() for name, buffer in group.network.named_buffers()}
    streams = [generator.get_state() for generator in group.streams.generators]
    copy = probe_copy(last, other.shards[1].draws)
    copy(noise(3, BATCH, PIXELS))
    assert all(torch.equal(buffer, before[name]) for name, buffer in group.network.named_buffers())
    assert all(
        torch.equal(*pair) for pair in zip(streams, (g.get_state() for g in group.streams.generators), strict=True)
    )
    kept = dict(copy.named_buffers())
    assert all(not torch.equal(kept[name], before[name][1:]) for name in kept if name.endswith("running_mean"))
