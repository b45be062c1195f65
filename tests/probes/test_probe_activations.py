"""What layers hand on, where the answer is known: weights and biases are set so that units do what they should."""

from math import nan

import numpy as np
import pytest
import torch

from bnexp.training.group_state import GroupTrainState
from tests.helpers import EXACT_FLOAT64, PLAIN_FLOAT64, assert_close, rates_group
from tests.probes.looking import MODELS, Plain, find, in_training, layers_of, rows

LAYER = "hidden.0.activation"
CHANNELS = "stages.0.0.activation"


def one_layer(activation: str, width: int, **train: int) -> GroupTrainState:
    """Two networks with one hidden layer and no norm, whose weights and biases are 0."""
    train_state = in_training({"depth": 1, "width": width, "activation": activation, "norm": "none"}, **train)
    for theta in train_state.network.parameters():
        theta.data.zero_()
    return train_state


def set_number(train_state: GroupTrainState, name: str, k: int, values: object) -> None:
    train_state.network.get_parameter(name).data[k] = torch.as_tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("activation", "flat", "steep"),
    [("sigmoid", [3.0, -3.0, 9.0], [2.9, -2.9, 0.0]), ("tanh", [1.9, -2.0], [1.8, -1.8])],
)
def test_units_are_saturated_beyond_the_limits(activation: str, flat: list[float], steep: list[float]) -> None:
    inputs = flat + steep
    train_state = one_layer(activation, len(inputs))
    set_number(train_state, "hidden.0.linear.bias", 0, inputs)
    found = find(train_state, "saturation")
    assert list(found) == [(LAYER, "saturation")]
    assert found[LAYER, "saturation"].tolist() == [len(flat) / len(inputs), 0]


@pytest.mark.parametrize("batches", [1, 3])
def test_saturation_counts_samples_and_units_of_the_first_batches(batches: int) -> None:
    train_state = one_layer("sigmoid", 16)
    for k, slope in enumerate((1.5, 3.0)):
        set_number(train_state, "hidden.0.linear.weight", k, slope * torch.eye(16))
    found = find(train_state, {"name": "saturation", "batches": batches})[LAYER, "saturation"]
    x_NP = train_state.data.inputs(train_state.data.train.images_NP[: 16 * batches]).numpy()
    expected = [(1 / (1 + np.exp(-slope * np.abs(x_NP))) > 0.95).mean() for slope in (1.5, 3.0)]
    assert 0 < expected[0] < expected[1] < 1
    assert_close(found, expected, EXACT_FLOAT64)


def test_dead_units_are_those_that_are_0_for_every_sample() -> None:
    train_state = one_layer("relu", 16)
    set_number(train_state, "hidden.0.linear.weight", 0, torch.eye(16))
    set_number(train_state, "hidden.0.linear.bias", 0, [-9.0] * 4 + [0.0] * 10 + [9.0] * 2)
    found = find(train_state, "dead_units")
    x_NP = train_state.data.inputs(train_state.data.train.images_NP[:16]).numpy()
    zeros = np.concatenate([np.ones((16, 4)), x_NP[:, 4:14] <= 0, np.zeros((16, 2))], axis=1)
    assert not zeros[:, 4:14].all(0).any()
    # All of the second trial's units are at 0 exactly.
    assert_close(found[LAYER, "dead_units"], [4 / 16, 1], EXACT_FLOAT64)
    assert_close(found[LAYER, "dead_units.zeros"], [zeros.mean(), 1], EXACT_FLOAT64)


def test_of_images_a_unit_is_a_channel() -> None:
    model = {"family": "vgg", "depth": 5, "width": 4, "activation": "relu", "norm": "none", "bias": True}
    train_state = in_training(model)
    for theta in train_state.network.stages[0].parameters():
        theta.data.zero_()
    kernel_O33 = torch.zeros(4, 1, 3, 3)
    kernel_O33[2, 0, 1, 1] = 1
    set_number(train_state, "stages.0.0.conv.weight", 1, kernel_O33)
    set_number(train_state, "stages.0.0.conv.bias", 1, [-1.0, 1.0, 0.0, -2.0])
    found = find(train_state, "dead_units")
    x_NP = train_state.data.inputs(train_state.data.train.images_NP[:16]).numpy()
    assert_close(found[CHANNELS, "dead_units"], [1, 2 / 4], EXACT_FLOAT64)
    assert_close(found[CHANNELS, "dead_units.zeros"], [1, (2 + (x_NP <= 0).mean()) / 4], EXACT_FLOAT64)


def test_only_activations_of_the_kind_are_counted() -> None:
    assert find(in_training(MODELS["mlp"]), "dead_units") == {}
    relu, leaky = (in_training(MODELS["mlp"] | {"activation": name}) for name in ("relu", "leaky_relu"))
    assert find(relu, "saturation") == {}
    assert find(leaky, "saturation", "dead_units") == {}
    assert layers_of(find(relu, {"name": "dead_units", "layers": ["hidden.1.*"]}), "dead_units") == [
        "hidden.1.activation"
    ]


@pytest.mark.parametrize(
    "model", [{"depth": 2, "width": 40}, MODELS["vgg, dropout"]], ids=["wider than the batch", "vgg"]
)
def test_ranks_of_a_network_are_those_of_the_paper(model: dict[str, object]) -> None:
    train_state = in_training(model)
    found = find(train_state, "rank")
    for k in range(2):
        made = Plain(train_state, k)
        _, pairs = made.watch(made.activations, made.batch(0))
        for layer, (_, output) in zip(layers_of(found, "rank"), pairs, strict=True):
            h_CN = rows(output).T
            moments = h_CN @ h_CN.T / h_CN.shape[1]
            expected = np.trace(moments) ** 2 / np.linalg.norm(moments) ** 2
            assert_close(found[layer, "rank"][k], expected, PLAIN_FLOAT64)
            assert_close(found[layer, "rank.share"][k], expected / min(h_CN.shape), PLAIN_FLOAT64)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_trial_that_is_no_number_has_no_number_and_harms_no_other(activation: str) -> None:
    train_state = in_training(MODELS["mlp"] | {"activation": activation})
    probes = "saturation", "dead_units", "rank", "drift", "gradient_norm", "batch_spread"
    whole = find(train_state, *probes)
    train_state.network.get_parameter("hidden.1.linear.weight").data[0] = nan
    found = find(train_state, *probes)
    for (layer, name), row in found.items():
        assert_close(row[1], whole[layer, name][1], EXACT_FLOAT64)
        if layer in ("hidden.1.activation", "hidden.2.activation"):
            assert np.isnan(row[0]), name


@pytest.mark.parametrize("name", ["mlp, norm after, dropout", "vgg, dropout"])
def test_batch_spread_is_the_variance_of_batch_means_over_that_of_all_samples(name: str) -> None:
    train_state = in_training(rates_group(1, MODELS[name], seeds=2, precision="fp64"))
    found = find(train_state, {"name": "batch_spread", "batches": 4}, step=2)
    for k in range(2):
        made = Plain(train_state, k)
        drawn = [made.watch(made.weights, made.drawn(i, 2), i, 2)[1] for i in range(4)]
        for place, layer in enumerate(layers_of(found, "batch_spread")):
            each = [rows(pairs[place][1]) for pairs in drawn]
            means, whole = np.stack([a_NC.mean(0) for a_NC in each]), np.concatenate(each)
            expected = (means.var(0, ddof=1) / whole.var(0)).mean()
            assert_close(found[layer, "batch_spread"][k], expected, PLAIN_FLOAT64)
