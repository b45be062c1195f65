"""Gradients, updates and their noise against plain PyTorch and NumPy."""

from math import exp, pi, sqrt

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from tests.helpers import (
    DIFFERENCES_FLOAT64,
    EXACT_FLOAT64,
    EXPLOSION,
    PLAIN_FLOAT64,
    assert_close,
    experiment,
    made_up_data,
    only_group,
    rates_group,
)
from tests.probes.looking import MODELS, Plain, column, find, in_training, layers_of, probe


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_norms_of_every_network_are_plain_pytorchs(name: str, batches: int) -> None:
    train_state = in_training(MODELS[name])
    found = find(train_state, {"name": "gradient_norm", "batches": batches})
    for k in range(2):
        made = Plain(train_state, k)
        norms, hidden = plain_norms(made, batches)
        sizes = [layer.get_parameter("weight") for layer in made.weights]
        assert_close(column(found, "gradient_norm", k), norms, PLAIN_FLOAT64)
        each = [norm / sqrt(weight.numel()) for norm, weight in zip(norms, sizes, strict=True)]
        assert_close(column(found, "gradient_norm.rms", k), each, PLAIN_FLOAT64)
        each = [norm / float(weight.detach().norm()) for norm, weight in zip(norms, sizes, strict=True)]
        assert_close(column(found, "gradient_norm.relative", k), each, PLAIN_FLOAT64)
        each = [norm * float(weight.detach().norm()) for norm, weight in zip(norms, sizes, strict=True)]
        assert_close(column(found, "gradient_norm.scale_free", k), each, PLAIN_FLOAT64)
        assert_close(column(found, "gradient_norm.activation", k), hidden, PLAIN_FLOAT64)
        slope = np.polyfit(range(len(hidden)), np.log(hidden), 1)[0]
        assert_close(column(found, "gradient_norm.slope", k), [slope], PLAIN_FLOAT64)


def test_norms_are_those_of_finite_differences() -> None:
    train_state, step = in_training(MODELS["mlp"]), 1e-5
    made = Plain(train_state, 0)
    x_BCHW, labels_B = made.images(made.batch(0)), train_state.data.train.labels_N[made.batch(0)]

    @torch.no_grad()
    def slope(number: torch.Tensor) -> float:
        losses = []
        for change in (step, -2 * step):
            number += change
            losses.append(float(cross_entropy(made.network(x_BCHW), labels_B)))
        number += step
        return (losses[0] - losses[1]) / (2 * step)

    weights = [layer.get_parameter("weight").detach().flatten() for layer in made.weights]
    norms = [np.linalg.norm([slope(number) for number in weight]) for weight in weights]
    assert_close(column(find(train_state, "gradient_norm"), "gradient_norm", 0), norms, DIFFERENCES_FLOAT64)


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
    monkeypatch.setattr("bnexp.training.group_state.shard_sizes", lambda group, device: sizes)
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
