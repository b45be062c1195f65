"""Parameters as matrices: their cells are the model's own, their rows the trials."""

from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.nn.build import build
from bnexp.nn.layers import Conv2d, Linear
from bnexp.nn.shards import Parameters
from tests.nn.plain import CPU, seed_draws

SEEDS = [0, 0, 4]
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {"norm": "none"},
    "batch norm": {"norm": {"input": True}, "bias": True},
    "layer norm after": {"norm": {"kind": "layer", "placement": "after"}},
    "gamma only": {"norm": {"affine": "gamma"}},
    "whitening": {"norm": {"kind": "whiten", "input": True}},
    "fixup": {"norm": "none", "depth": 3, "residual": True, "init": "fixup"},
    "vgg": {"family": "vgg", "depth": 5, "bias": True},
    "resnet": {"family": "resnet", "depth": 8, "norm": "after"},
    "resnet with fixup": {"family": "resnet", "depth": 8, "norm": "none", "init": "fixup"},
}


def network(seeds: list[int], name: str = "batch norm") -> nn.Module:
    settings = ModelSettings.model_validate({"depth": 2, "width": 6, **NETWORKS[name]})
    return build([settings] * len(seeds), seeds, (1, 3, 3), 3, seed_draws(seeds), CPU, torch.float64)


def test_writing_a_row_changes_the_parameters_of_that_trial_alone() -> None:
    model = network(SEEDS)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for matrix_KP in Parameters(model).matrices:
        matrix_KP[1] = 7.0
    for name, parameter in model.named_parameters():
        assert bool((parameter[1] == 7).all())
        assert torch.equal(parameter[[0, 2]], before[name][[0, 2]])


@pytest.mark.parametrize("name", NETWORKS)
def test_there_is_a_matrix_for_every_parameter_in_the_order_of_the_model(name: str) -> None:
    model = network(SEEDS, name)
    parameters = Parameters(model)
    expected = [parameter.detach().flatten(1) for parameter in model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(parameters.matrices, expected, strict=True))
    assert len(parameters) == sum(parameter[0].numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_weight_decay_is_for_the_weights_of_linear_layers_and_convolutions_only(name: str) -> None:
    model = network(SEEDS, name)
    weights = {module.weight.data_ptr() for module in model.modules() if isinstance(module, Linear | Conv2d)}
    parameters = Parameters(model)
    assert parameters.decayed == [matrix.data_ptr() in weights for matrix in parameters.matrices]
    assert 0 < sum(parameters.decayed) < len(parameters.decayed)
