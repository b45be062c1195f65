"""Plain networks: the same logits as bnexp's own, from layers of torch.nn, and copies of the numbers."""

from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.norm import NORMS
from bnexp.nn.plain_layers import to_torch
from tests.helpers import EXACT_FLOAT64, assert_close, noise, pairwise
from tests.nn.plain import network, takes

IMAGE = (2, 8, 8)
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"family": "mlp", "depth": 3, "width": 4},
    "residual mlp": {"family": "mlp", "depth": 4, "width": 4, "residual": True},
    "vgg": {"family": "vgg", "depth": 5, "width": 4},
    "resnet": {"family": "resnet", "depth": 8, "width": 4},
    "rnn": {"family": "rnn", "depth": 2, "width": 6},
}


def trained(raw: dict[str, Any], image: tuple[int, int, int] = IMAGE) -> nn.Module:
    """One trial in evaluation mode, with running statistics of data."""
    built = network(raw, [0], image)
    built(2 * noise(1, 20, image[0] * image[1] * image[2], seed=7) - 1)
    return built.eval()


def assert_same(made: nn.Module, built: nn.Module, image: tuple[int, int, int] = IMAGE) -> None:
    """Compare logits of six images."""
    x_BCHW = 2 * noise(6, *image, seed=8) - 1
    assert_close(made(x_BCHW).detach(), built(x_BCHW.flatten(1)[None])[0].detach(), EXACT_FLOAT64)


@pytest.mark.parametrize(
    ("family", "kind", "placement", "activation"),
    [
        row
        for row in pairwise(FAMILIES, NORMS, ["before", "after"], ["relu", "identity"])
        if takes(FAMILIES[row[0]]["family"], row[1])
    ],
)
def test_a_plain_network_answers_as_bnexps_does(family: str, kind: str, placement: str, activation: str) -> None:
    norm = {"kind": kind, "groups": 2, "group_size": 2, "input": True, "eps": 0.2}
    norm |= {} if family == "rnn" else {"placement": placement, "addition": placement}
    built = trained(FAMILIES[family] | {"norm": norm, "activation": activation, "dropout": 0.5})
    made = to_torch(built)
    assert_same(made, built)
    assert not {"Dropout", "Noise"} & {type(layer).__name__ for layer in made.modules()}


@pytest.mark.parametrize(
    ("raw", "image"),
    [
        (FAMILIES["residual mlp"] | {"norm": "none", "init": "fixup", "activation": "relu"}, IMAGE),
        (FAMILIES["resnet"] | {"norm": "none", "init": "fixup", "activation": "relu"}, IMAGE),
        (FAMILIES["resnet"] | {"norm": "none", "init": "skipinit", "activation": "relu"}, IMAGE),
        *((FAMILIES[name] | {"weights": "scaled", "activation": "relu"}, IMAGE) for name in ("residual mlp", "vgg")),
        (FAMILIES["resnet"] | {"weights": "standardized", "norm": {"kind": "group", "groups": 2}}, IMAGE),
        (FAMILIES["mlp"] | {"norm": {"affine": "gamma"}}, IMAGE),
        (FAMILIES["mlp"] | {"norm": {"kind": "layer", "affine": "beta"}}, IMAGE),
        (FAMILIES["rnn"] | {"norm": {"steps": "shared", "recurrent": False}}, IMAGE),
        ({"family": "vgg", "depth": 11, "width": 2}, (1, 9, 5)),
        ({"family": "resnet", "depth": 14, "width": 2}, (1, 7, 5)),
    ],
)
def test_so_it_does_with_scalars_fixed_parameters_and_odd_sides(
    raw: dict[str, Any], image: tuple[int, int, int]
) -> None:
    built = trained(raw, image)
    assert_same(to_torch(built), built, image)


def test_what_torch_has_is_torchs() -> None:
    def kinds(family: str, kind: str) -> set[str]:
        norm = {"kind": kind, "groups": 2}
        return {type(layer).__name__ for layer in to_torch(trained(FAMILIES[family] | {"norm": norm})).modules()}

    assert kinds("mlp", "batch") == {"Sequential", "Flatten", "Linear", "BatchNorm1d", "Sigmoid"}
    assert kinds("mlp", "layer") == {"Sequential", "Flatten", "Linear", "LayerNorm", "Sigmoid"}
    assert {"Conv2d", "BatchNorm2d", "MaxPool2d", "AdaptiveAvgPool2d"} < kinds("vgg", "batch")
    assert "GroupNorm" in kinds("vgg", "layer") & kinds("vgg", "group") & kinds("mlp", "group")


def test_the_numbers_are_copies_and_nothing_is_drawn() -> None:
    built = trained(FAMILIES["resnet"])
    before, drawn = {name: tensor.clone() for name, tensor in built.state_dict().items()}, torch.get_rng_state()
    made = to_torch(built)
    assert torch.equal(torch.get_rng_state(), drawn)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor += 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in built.state_dict().items())
    assert not made.training


def test_several_trials_are_no_plain_network() -> None:
    with pytest.raises(ValueError, match="a plain network is that of one trial, and here are 2"):
        to_torch(network(FAMILIES["mlp"], [0, 1], IMAGE))
