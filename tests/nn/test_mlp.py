"""The perceptron: which layers stand where, and that the forward pass is the one a reader would write."""

from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnexp.config.model import ActivationName, ModelSettings
from bnexp.nn.activation import ACTIVATIONS
from bnexp.nn.dropout import SeedUniforms
from bnexp.nn.mlp import MLP, hidden_bias, share_input
from tests.helpers import EXACT_FLOAT64, assert_close, noise, randomized

INPUTS, CLASSES, WIDTH = 9, 3, 6


def settings(**raw: Any) -> ModelSettings:
    return ModelSettings.model_validate({"depth": 2, "width": WIDTH, "activation": "tanh", **raw})


def network(trials: int = 1, drops: bool = False, **raw: Any) -> MLP:
    uniforms = SeedUniforms([0] * trials, torch.device("cpu")) if drops else None
    return MLP([settings(**raw)] * trials, INPUTS, CLASSES, uniforms)


def names(layer: nn.Module) -> list[str]:
    return [name for name, _ in layer.named_children()]


def test_every_activation_of_the_configuration_is_there() -> None:
    assert set(ACTIVATIONS) == set(get_args(ActivationName))


@pytest.mark.parametrize("name", sorted(set(get_args(ActivationName)) - {"identity"}))
def test_an_activation_is_torchs_function_of_that_name(name: str) -> None:
    assert torch.equal(ACTIVATIONS[name]()(noise(50)), getattr(F, name)(noise(50)))


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("none", ["linear", "activation"]),
        ("before", ["linear", "norm", "activation"]),
        ("after", ["linear", "activation", "norm"]),
        ("layer", ["linear", "norm", "activation"]),
        ({"kind": "group", "placement": "after", "groups": 2}, ["linear", "activation", "norm"]),
    ],
)
def test_the_norm_stands_where_the_placement_says(norm: object, expected: list[str]) -> None:
    assert [names(layer) for layer in network(norm=norm).hidden] == [expected, expected]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [({"input": True}, ["norm"]), ({"input": False}, []), ({"kind": "none", "input": True}, [])],
)
def test_the_input_is_normalised_on_request_and_never_without_a_norm(norm: object, expected: list[str]) -> None:
    assert names(network(norm=norm).input) == expected


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


@pytest.mark.parametrize("where", ["each", "before_norm", "after_norm"])
@pytest.mark.parametrize("placement", ["before", "after"])
def test_without_the_norm_dropout_keeps_its_place(where: str, placement: str) -> None:
    norm = {"placement": placement, "input": True}
    with_norm = network(drops=True, dropout_at=where, norm=norm, dropout=0.5)
    without = network(drops=True, dropout_at=where, norm=norm | {"kind": "none"}, dropout=0.5)
    for one, other in zip([with_norm.input, *with_norm.hidden], [without.input, *without.hidden], strict=True):
        assert [name for name in names(one) if name != "norm"] == names(other)


def test_without_uniforms_there_is_no_dropout() -> None:
    assert "dropout" not in str(network(dropout_at="each")).lower()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"norm": "before"}, False),
        ({"norm": "after"}, True),
        ({"norm": "none"}, True),
        ({"norm": "layer"}, True),
        ({"norm": "group"}, True),
        ({"norm": "before", "dropout_at": "before_norm"}, True),
        ({"norm": "before", "dropout_at": "after_norm"}, False),
        ({"norm": "before", "bias": True}, True),
        ({"norm": "none", "bias": False}, False),
        ({"norm": {"placement": "after", "input": True}}, True),
    ],
)
def test_auto_leaves_the_bias_out_where_batch_norm_comes_next(raw: dict[str, Any], expected: bool) -> None:
    assert hidden_bias(settings(width=8, **raw)) is expected
    built = MLP([settings(width=8, **raw)], INPUTS, CLASSES)
    assert [layer.get_submodule("linear").bias is not None for layer in built.hidden] == [expected, expected]
    assert built.output.bias is not None


def by_hand(built: MLP, x_BC: torch.Tensor, k: int, residual: bool) -> torch.Tensor:
    """The logits of trial k with tanh and batch norm before it, in training; blocks of two layers after the first."""
    activations = []
    for layer in built.hidden:
        linear, norm = layer.get_submodule("linear"), layer.get_submodule("norm")
        z_BC = x_BC @ linear.get_parameter("weight")[k].T
        z_BC = (z_BC - z_BC.mean(0)) / (z_BC.var(0, correction=0) + 1e-5).sqrt()
        x_BC = torch.tanh(norm.get_parameter("gamma")[k] * z_BC + norm.get_parameter("beta")[k])
        if residual and len(activations) in (2, 4):
            x_BC = x_BC + activations[-2]
        activations.append(x_BC)
    output = built.output
    assert output.bias is not None
    return x_BC @ output.weight[k].T + output.bias[k]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 6])
def test_the_forward_pass_equals_one_written_by_hand(residual: bool, depth: int) -> None:
    built, x_KBC = network(trials=2, depth=depth, residual=residual), noise(2, 8, INPUTS, seed=5)
    randomized(built)
    expected = torch.stack([by_hand(built, x_KBC[k], k, residual) for k in range(2)])
    assert_close(built(x_KBC).detach(), expected.detach(), EXACT_FLOAT64)


def test_widths_may_differ_from_layer_to_layer() -> None:
    built = network(depth=None, width=[5, 7, 4])
    shapes = [tuple(layer.get_submodule("linear").get_parameter("weight").shape) for layer in built.hidden]
    assert [*shapes, tuple(built.output.weight.shape)] == [(1, 5, 9), (1, 7, 5), (1, 4, 7), (1, 3, 4)]


def test_one_input_for_all_trials_is_shared_without_a_copy() -> None:
    x = noise(1, 4, INPUTS)
    shared = share_input(x, 3)
    assert shared.shape == (3, 4, INPUTS)
    assert shared.data_ptr() == x.data_ptr()
    assert shared.stride(0) == 0


def test_one_input_per_trial_is_taken_as_it_is() -> None:
    x = noise(3, 4, INPUTS)
    assert torch.equal(share_input(x, 3), x)


@pytest.mark.parametrize(("seeds", "trials"), [(2, 4), (2, 6), (3, 6)])
def test_one_input_per_seed_goes_to_the_neighbouring_trials_of_that_seed(seeds: int, trials: int) -> None:
    x = noise(seeds, 4, INPUTS)
    assert torch.equal(share_input(x, trials), x.repeat_interleave(trials // seeds, dim=0))
