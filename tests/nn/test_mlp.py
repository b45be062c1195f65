"""The perceptron: which layers stand where, and that the forward pass is the one a reader would write."""

from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnexp.config.model import ActivationName, ModelSettings
from bnexp.nn.factory import LayerFactory, ResidualBlock
from bnexp.nn.layers import ACTIVATIONS
from bnexp.nn.mlp import MLP
from tests.helpers import noise
from tests.nn.plain import seed_draws

IMAGE, CLASSES, WIDTH = (1, 3, 3), 3, 6


def settings(**raw: Any) -> ModelSettings:
    return ModelSettings.model_validate({"depth": 2, "width": WIDTH, "activation": "tanh", **raw})


def network(trials: int = 1, drops: bool = False, **raw: Any) -> MLP:
    draws = seed_draws([0] * trials) if drops else None
    return MLP(LayerFactory([settings(**raw)] * trials, draws), IMAGE, CLASSES)


def names(layer: nn.Module) -> list[str]:
    return [name for name, _ in layer.named_children()]


@pytest.mark.parametrize("name", sorted(set(get_args(ActivationName)) - {"identity"}))
def test_an_activation_is_torchs_function_of_that_name(name: str) -> None:
    assert torch.equal(ACTIVATIONS[name]()(noise(50)), getattr(F, name)(noise(50)))


DROPPED = {
    ("each", "none"): ([], ["linear", "activation", "dropout"]),
    ("each", "before"): (["norm"], ["linear", "norm", "activation", "dropout"]),
    ("each", "after"): (["norm"], ["linear", "activation", "norm", "dropout"]),
    ("before_norm", "before"): (["dropout", "norm"], ["linear", "dropout", "norm", "activation"]),
    ("before_norm", "after"): (["dropout", "norm"], ["linear", "activation", "dropout", "norm"]),
    ("after_norm", "before"): (["norm", "dropout"], ["linear", "norm", "dropout", "activation"]),
    ("after_norm", "after"): (["norm", "dropout"], ["linear", "activation", "norm", "dropout"]),
}


@pytest.mark.parametrize(("where", "placement"), DROPPED)
def test_dropout_stands_where_dropout_at_says(where: str, placement: str) -> None:
    norm = {"kind": "none" if placement == "none" else "batch", "input": True}
    norm |= {} if placement == "none" else {"placement": placement}
    built = network(drops=True, dropout_at=where, norm=norm, dropout=0.5)
    assert (names(built.input), names(built.hidden[0])) == DROPPED[where, placement]


@pytest.mark.parametrize(
    ("where", "placement"), [("each", "after"), ("before_norm", "before"), ("after_norm", "after"), ("last", "before")]
)
def test_without_the_norm_dropout_keeps_its_place(where: str, placement: str) -> None:
    norm = {"placement": placement, "input": True}
    with_norm = network(drops=True, dropout_at=where, norm=norm, dropout=0.5)
    without = network(drops=True, dropout_at=where, norm=norm | {"kind": "none"}, dropout=0.5)
    for one, other in zip([with_norm.input, *with_norm.hidden], [without.input, *without.hidden], strict=True):
        assert [name for name in names(one) if name != "norm"] == names(other)


def test_without_draws_there_is_no_dropout_and_no_noise() -> None:
    raw: dict[str, Any] = {"dropout": 0.5, "norm": "noisy_batch"}
    assert names(network(drops=True, **raw).hidden[0]) == ["linear", "norm", "noise", "activation", "dropout"]
    assert names(network(drops=False, **raw).hidden[0]) == ["linear", "norm", "activation"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"norm": "before"}, False),
        ({"norm": "after"}, True),
        ({"norm": "none"}, True),
        ({"norm": "layer"}, True),
        ({"norm": "before", "dropout_at": "before_norm"}, True),
        ({"norm": "before", "dropout_at": "after_norm"}, False),
        ({"norm": "whiten"}, False),
        ({"norm": {"kind": "whiten", "placement": "after"}}, True),
        ({"norm": "before", "bias": True}, True),
        ({"norm": "none", "bias": False}, False),
    ],
)
def test_auto_leaves_the_bias_out_where_batch_norm_comes_next(raw: dict[str, Any], expected: bool) -> None:
    built = network(width=8, **raw)
    assert [layer.get_submodule("linear").bias is not None for layer in built.hidden] == [expected, expected]
    assert built.output.bias is not None
    assert not built.output.bias.any()


def test_a_residual_network_is_its_first_layer_then_pairs_and_with_an_even_depth_a_layer_more() -> None:
    for depth, expected in {1: "L", 2: "LL", 3: "LB", 4: "LBL", 7: "LBBB"}.items():
        layers = network(depth=depth, residual=True).hidden
        assert "".join("B" if isinstance(layer, ResidualBlock) else "L" for layer in layers) == expected
