"""Plain networks: the same logits as bnexp's own, from layers of torch.nn, and copies of the numbers."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from bnexp.config.model import ActivationName
from bnexp.config.norm import NORMS
from bnexp.nn.to_torch import to_torch
from tests.helpers import EXACT_FLOAT64, assert_close, noise, pairwise
from tests.nn.plain import network

IMAGE = (2, 8, 8)
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"family": "mlp", "depth": 3, "width": 4},
    "residual mlp": {"family": "mlp", "depth": 4, "width": 4, "residual": True},
    "vgg": {"family": "vgg", "depth": 5, "width": 4},
    "resnet": {"family": "resnet", "depth": 8, "width": 4},
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
    ("family", "kind", "placement", "addition", "where", "activation"),
    pairwise(
        FAMILIES,
        NORMS,
        ["before", "after"],
        ["before", "after"],
        ["each", "before_norm", "after_norm", "last"],
        get_args(ActivationName),
    ),
)
def test_a_plain_network_answers_as_bnexps_does(
    family: str, kind: str, placement: str, addition: str, where: str, activation: str
) -> None:
    norm = {"kind": kind, "placement": placement, "addition": addition, "groups": 2, "group_size": 2, "input": True}
    model = {"norm": norm, "activation": activation, "dropout": 0.5, "dropout_at": where}
    built = trained(FAMILIES[family] | model)
    made = to_torch(built)
    assert_same(made, built)
    assert not {"Dropout", "Noise"} & {type(layer).__name__ for layer in made.modules()}


@pytest.mark.parametrize("family", ["residual mlp", "resnet"])
def test_with_fixup_it_does_too(family: str) -> None:
    built = trained(FAMILIES[family] | {"norm": "none", "init": "fixup", "activation": "relu"})
    assert_same(to_torch(built), built)


@pytest.mark.parametrize("affine", ["gamma", "beta", "none"])
@pytest.mark.parametrize("kind", ["batch", "layer", "whiten"])
def test_fixed_parameters_of_norm_layers_are_kept(kind: str, affine: str) -> None:
    built = trained(FAMILIES["mlp"] | {"norm": {"kind": kind, "affine": affine, "eps": 0.2, "momentum": 0.7}})
    assert_same(to_torch(built), built)


@pytest.mark.parametrize(
    ("raw", "image"),
    [
        ({"family": "vgg", "depth": 11, "width": 2}, (1, 9, 5)),
        ({"family": "vgg", "depth": 5, "width": 2}, (3, 16, 16)),
        ({"family": "resnet", "depth": 14, "width": 2}, (1, 7, 5)),
    ],
)
def test_odd_sides_and_several_blocks_a_stage_are_no_matter(raw: dict[str, Any], image: tuple[int, int, int]) -> None:
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


def test_the_numbers_keep_their_type() -> None:
    built = trained(FAMILIES["mlp"] | {"norm": "whiten"}).float()
    assert {tensor.dtype for tensor in to_torch(built).state_dict().values()} == {torch.float32}


def test_several_trials_are_no_plain_network() -> None:
    with pytest.raises(ValueError, match="a plain network is that of one trial, and here are 2"):
        to_torch(network(FAMILIES["mlp"], [0, 1], IMAGE))
