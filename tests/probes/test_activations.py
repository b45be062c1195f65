"""Activations, gradients and updates, layer by layer, against NumPy and plain PyTorch."""

from math import exp, nan, pi, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from tests.helpers import (
    EXACT_FLOAT64,
    EXPLOSION,
    PLAIN_FLOAT64,
    assert_close,
    experiment,
    made_up_data,
    only_group,
    rates_group,
)
from tests.probes.looking import MODELS, Plain, column, find, in_training, layers_of, probe, rows

PLAIN = {"depth": 2, "width": 8, "norm": "none"}
VGG = {"family": "vgg", "depth": 5, "width": 4, "norm": "none", "bias": True}


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("model", [PLAIN, VGG], ids=["mlp", "vgg"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_samples_and_units_that_are_saturated_or_dead_are_counted(
    activation: str, model: dict[str, Any], batches: int
) -> None:
    train_state = in_training(model | {"activation": activation})
    biases = [theta for name, theta in train_state.network.named_parameters() if name.endswith("bias")]
    for theta in biases:
        theta.data[0, ::2] -= 9  # of the first trial
    found = find(train_state, {"name": "saturation", "batches": batches}, {"name": "dead_units", "batches": batches})
    for k in range(2):
        made = Plain(train_state, k)
        passes = [made.watch(made.activations, made.batch(i), i)[1] for i in range(batches)]
        outputs = [np.concatenate([rows(each[place][1]) for each in passes]) for place in range(len(passes[0]))]
        if activation == "relu":  # in images a unit is a channel
            expected = {
                "dead_units": [(h_NC <= 0).all(0).mean() for h_NC in outputs],
                "dead_units.zeros": [(h_NC <= 0).mean() for h_NC in outputs],
            }
        else:
            outputs = [2 * h_NC - 1 if activation == "sigmoid" else h_NC for h_NC in outputs]
            limit = 0.9 if activation == "sigmoid" else 0.95  # sigmoids beyond 0.05 and 0.95
            expected = {"saturation": [(np.abs(h_NC) > limit).mean() for h_NC in outputs]}
        for measure, shares in expected.items():
            assert_close(column(found, measure, k), shares, EXACT_FLOAT64)
            assert k or min(shares) > 0.1
    assert {measure for _, measure in found} == set(expected)


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


# Gradients and updates.


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_norms_of_every_network_are_plain_pytorchs(name: str, batches: int) -> None:
    train_state = in_training(MODELS[name])
    found = find(train_state, {"name": "gradient_norm", "batches": batches})
    for k in range(2):
        made = Plain(train_state, k)
        norms, hidden = map(np.array, plain_norms(made, batches))
        weights = [layer.get_parameter("weight").detach() for layer in made.weights]
        sizes, lengths = np.array([(weight.numel(), float(weight.norm())) for weight in weights]).T
        expected = {
            "gradient_norm": norms,
            "gradient_norm.rms": norms / np.sqrt(sizes),
            "gradient_norm.relative": norms / lengths,
            "gradient_norm.scale_free": norms * lengths,
            "gradient_norm.activation": hidden,
            "gradient_norm.slope": [np.polyfit(range(len(hidden)), np.log(hidden), 1)[0]],
        }
        for measure, row in expected.items():
            assert_close(column(found, measure, k), row, PLAIN_FLOAT64)


def plain_norms(made: Plain, batches: int) -> tuple[list[float], list[float]]:
    """Norms of the gradient of the mean loss over some batches: of weights, and of what activations hand on."""
    losses, watched = zip(*(made.watch(made.activations, made.batch(i), i) for i in range(batches)), strict=True)
    hidden = [[output for _, output in pairs] for pairs in watched]
    weights = [layer.get_parameter("weight") for layer in made.weights]
    wanted = [*weights, *(output for each in hidden for output in each)]
    found = [g.flatten() for g in torch.autograd.grad(torch.stack(losses).mean(), wanted)]
    by_layer = zip(
        *(found[i : i + len(hidden[0])] for i in range(len(weights), len(found), len(hidden[0]))), strict=True
    )
    return [float(g.norm()) for g in found[: len(weights)]], [float(torch.cat(each).norm()) for each in by_layer]


CLIPS: dict[str, dict[str, float]] = {
    "unclipped": {},
    "value": {"value": 0.01},
    "each_tensor": {"norm_per_tensor": 0.1},
    "all_tensors": {"norm_global": 0.3},
    "in_turn": {"value": 0.02, "norm_per_tensor": 0.2, "norm_global": 0.3},
}


def clipped(gradient: list[torch.Tensor], clip: dict[str, float]) -> list[torch.Tensor]:
    """A gradient as torch clips it."""
    leaves = [torch.zeros_like(g) for g in gradient]
    for leaf, g in zip(leaves, gradient, strict=True):
        leaf.grad = g.clone()
    if "value" in clip:
        clip_grad_value_(leaves, clip["value"])
    if "norm_per_tensor" in clip:
        for leaf in leaves:
            clip_grad_norm_([leaf], clip["norm_per_tensor"])
    if "norm_global" in clip:
        clip_grad_norm_(leaves, clip["norm_global"])
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


@pytest.mark.parametrize("sizes", [[5], [2, 3]], ids=str)
@pytest.mark.parametrize("batches", [1, 2])
def test_clipped_norms_are_those_of_each_trials_own_clipping(
    batches: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bnexp.training.group_state.shard_sizes", lambda *_: sizes)
    arms = {name: {f"train.clip.{key}": limit for key, limit in clip.items()} for name, clip in CLIPS.items()}
    model = {"depth": 2, "width": 6}
    train_state = in_training(
        only_group(experiment(model=model, arms=arms, train={"precision": "fp64", "batch_size": 16}))
    )
    found = find(train_state, {"name": "gradient_norm", "batches": batches})
    for k, trial in enumerate(train_state.group.trials):
        made = Plain(train_state, k)
        each = [made.gradient(made.batch(i), i) for i in range(batches)]
        whole = [torch.stack(pieces).mean(0) for pieces in zip(*each, strict=True)]
        expected = [float(g.norm()) for g in clipped(whole, CLIPS[trial.arm]) if g.ndim > 1]
        assert_close(column(found, "gradient_norm.clipped", k), expected, PLAIN_FLOAT64)
        unclipped = column(found, "gradient_norm", k)
        assert (column(found, "gradient_norm.clipped", k) == unclipped) == (trial.arm == "unclipped")


@pytest.mark.parametrize(("norm", "factor"), [("before", sqrt(pi / (pi - 1))), ("none", 1.0)])
def test_gradients_of_deep_relu_networks_explode_with_batch_norm_as_yang_and_others_have_it(
    norm: str, factor: float
) -> None:
    model = {"depth": 30, "width": 128, "activation": "relu", "init": "he", "norm": norm}
    group = rates_group(1, model, batch_size=128)
    train_state = GroupTrainState(group, made_up_data(group, train_images=128, side=8))
    (slope,) = find(train_state, "gradient_norm")["", "gradient_norm.slope"]
    assert abs(exp(-slope) / factor - 1) < EXPLOSION


@pytest.mark.parametrize("family", ["mlp", "vgg"])
def test_the_update_ratio_is_that_of_the_weights_before_and_after(family: str) -> None:
    model = {"family": family, "depth": 5, "width": 4}
    rule = {"momentum": 0.9, "weight_decay": 0.05, "clip": {"norm_global": 0.1}, "record_at": [1, 2, 3, 9]}
    group = rates_group(2, model, precision="fp64", **rule)
    before, seen = dict[str, np.ndarray](), 0
    for progress in train(group, made_up_data(group), probes=[probe({"name": "update_ratio", "every": 1})]):
        after = {name: array for name, array in progress.snapshot().arrays.items() if name.endswith("weight")}
        if progress.record.step in (1, 2, 3):
            (record,) = progress.probes
            for (layer, name), row in record.values.items():
                old, new = (arrays[f"network.{layer}.weight"].reshape(2, -1) for arrays in (before, after))
                expected = np.linalg.norm(new - old, axis=1) / np.linalg.norm(old, axis=1)
                assert name == "update_ratio"
                assert_close(row, expected, EXACT_FLOAT64)
                seen += 1
        before = after
    assert seen == 3 * len(before)


def test_before_training_there_is_no_update_to_compare() -> None:
    train_state = in_training(MODELS["mlp"])
    assert find(train_state, "update_ratio", "covariate_shift") == {}


@pytest.mark.parametrize("name", ["mlp, norm after, dropout", "vgg, dropout"])
def test_gradient_noise_is_the_covariance_over_the_drawn_batches(name: str) -> None:
    train_state = in_training(rates_group(1, MODELS[name], seeds=2, precision="fp64"))
    found = find(train_state, {"name": "gradient_noise", "batches": 5}, step=3)
    for k in range(2):
        made = Plain(train_state, k)
        gradients = [torch.cat([g.flatten() for g in made.gradient(made.drawn(i, 3), i, 3)]) for i in range(5)]
        each = torch.stack(gradients).numpy()
        trace = each.var(0, ddof=1).sum()
        assert_close(found["", "gradient_noise"][k], trace, PLAIN_FLOAT64)
        assert_close(found["", "gradient_noise.relative"][k], trace / (each.mean(0) ** 2).sum(), PLAIN_FLOAT64)


def test_layers_are_chosen_by_patterns() -> None:
    train_state = in_training(MODELS["mlp"])
    layers = layers_of(find(train_state, "gradient_norm"), "gradient_norm")
    assert layers == ["hidden.0.linear", "hidden.1.linear", "hidden.2.linear", "output"]
    chosen = find(train_state, {"name": "gradient_norm", "layers": ["*.1.*", "output"]})
    assert layers_of(chosen, "gradient_norm") == ["hidden.1.linear", "output"]
    assert layers_of(chosen, "gradient_norm.activation") == ["hidden.1.activation"]
    assert ("", "gradient_norm.slope") in chosen
