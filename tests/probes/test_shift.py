"""Drift, covariate shift, variance shift and the gap between modes against NumPy and plain PyTorch, from the papers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from tests.helpers import EXACT_FLOAT64, PLAIN_FLOAT64, RANKED_SHARE, assert_close, made_up_data, rates_group
from tests.probes.looking import (
    MODELS,
    Found,
    Plain,
    find,
    find_over_update,
    in_training,
    layers_of,
    probe,
    prober,
    rates,
    rows,
    values,
)

Moments = dict[str, tuple[np.ndarray, np.ndarray]]
"""Means and deviations of units by place."""


def twice(train_state: GroupTrainState, batches: int = 1) -> tuple[Found, Found, list[Moments], list[list[np.ndarray]]]:
    """Drift before and after an update, and of the first trial's plain network what NumPy makes of it."""
    taking = prober(train_state, {"name": "drift", "batches": batches})
    due, found, moments, inputs = taking.due(0, True), [], list[Moments](), list[list[np.ndarray]]()
    for step in range(2):
        if step:
            train_state.update(torch.arange(16)[None], 5 * rates(train_state)[:, None], torch.tensor(step))
        found.append(values(taking.measure(due, 0, step, rates(train_state))))
        each, pre = plain_moments(Plain(train_state, 0), found[0], batches)
        moments.append(each)
        inputs.append(pre)
    return found[0], found[1], moments, inputs


def plain_moments(made: Plain, found: Found, batches: int) -> tuple[Moments, list[np.ndarray]]:
    """Means and deviations at every place, and what comes into the activations."""
    watched = [made.watch([*made.activations, *made.norms], made.batch(i), i)[1] for i in range(batches)]
    pairs = [
        [np.concatenate([rows(each[place][kind]) for each in watched]) for kind in range(2)]
        for place in range(len(watched[0]))
    ]
    activations = layers_of(found, "drift.p50")
    moments = {layer: moments_of(x_NC) for layer, (x_NC, _) in zip(activations, pairs, strict=False)}
    names = [layer.removesuffix("activation") + "norm" for layer in activations]
    for name, norm, (x_NC, y_NC) in zip(names, made.norms, pairs[len(activations) :], strict=True):
        gamma, beta = (norm.get_parameter(key).detach().numpy() for key in ("weight", "bias"))
        moments |= {f"{name}.input": moments_of(x_NC), f"{name}.output": moments_of(y_NC)}
        moments[f"{name}.normalized"] = moments_of((y_NC - beta) / gamma)
    return moments, [x_NC for x_NC, _ in pairs[: len(activations)]]


def moments_of(x_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x_NC.mean(0), x_NC.std(0)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "mlp, norm after, dropout", "mlp, groups", "vgg, dropout"])
def test_drift_is_how_far_means_and_deviations_moved(name: str, batches: int) -> None:
    train_state = in_training(MODELS[name])
    for key, theta in train_state.network.named_parameters():
        if key.endswith("gamma"):
            theta.data[:, 0] *= -1
    first, second, (before, after), inputs = twice(train_state, batches)
    assert layers_of(first, "drift.mean") == []
    assert set(layers_of(second, "drift.mean")) == set(layers_of(second, "drift.deviation")) == set(after)
    for place, (mean, deviation) in after.items():
        was_mean, was_deviation = before[place]
        moved, stretched = np.abs(mean - was_mean) / was_deviation, np.abs(np.log(deviation / was_deviation))
        # Normalised units don't move but for rounding.
        assert_close(1 + second[place, "drift.mean"][0], 1 + moved.mean(), PLAIN_FLOAT64)
        assert_close(1 + second[place, "drift.deviation"][0], 1 + stretched.mean(), PLAIN_FLOAT64)
    for found, each in ((first, inputs[0]), (second, inputs[1])):
        for layer, x_NC in zip(layers_of(found, "drift.p50"), each, strict=True):
            for percentile in (15, 50, 85):
                place = percentile * (x_NC.size - 1) // 100
                expected = np.sort(x_NC, axis=None)[place]
                assert_close(found[layer, f"drift.p{percentile}"][0], expected, PLAIN_FLOAT64)


def test_percentiles_of_large_pictures_see_every_place_of_them() -> None:
    model = {"family": "vgg", "depth": 5, "width": 8, "norm": "none"}
    group = rates_group(1, model, batch_size=8)
    train_state = in_training(group, made_up_data(group, train_images=16, side=32))
    # Around pictures there is nothing: sums of what is above 0 are smaller at the edge.
    weight = train_state.network.get_parameter("stages.0.0.conv.weight").data.fill_(1.0)
    train_state.network.get_parameter("stages.0.0.conv.bias").data.zero_()
    train_state.data.train.images_NP[:] = train_state.data.train.images_NP // 2 + 128
    found = find(train_state, "drift")
    made = Plain(train_state, 0)
    x_NC = rows(made.watch(made.activations[:1], made.batch(0))[1][0][0])
    assert weight.numel() == 8 * 9
    for percentile in (15, 50, 85):
        share = (x_NC <= found["stages.0.0.activation", f"drift.p{percentile}"][0]).mean()
        assert abs(share - percentile / 100) < RANKED_SHARE


@pytest.mark.parametrize("name", MODELS)
def test_covariate_shift_is_that_of_definition_2_1(name: str) -> None:
    train_state = in_training(MODELS[name], batch_size=8, label_smoothing=0.1)
    before = [Plain(train_state, k) for k in range(2)]
    found = find_over_update(train_state, "covariate_shift", step=4)
    numbers = torch.arange(5, 13)
    for k in range(2):
        after = Plain(train_state, k)
        moving, last = before[k], 2**20 - 1
        begun = [g.detach() for g in plain_weight_gradients(moving, numbers, last)]
        for place, layer in enumerate(layers_of(found, "covariate_shift")):
            other = plain_weight_gradients(moving, numbers, last)[place]
            g, difference = begun[place], float((begun[place] - other).norm())
            cosine = float((g * other).sum() / (g.norm() * other.norm()))
            assert_close(found[layer, "covariate_shift"][k], difference, PLAIN_FLOAT64)
            assert_close(found[layer, "covariate_shift.relative"][k], difference / float(g.norm()), PLAIN_FLOAT64)
            assert_close(found[layer, "covariate_shift.cosine"][k], cosine, PLAIN_FLOAT64)
            move(moving, after, place)
    first, *later = layers_of(found, "covariate_shift")
    assert found[first, "covariate_shift"].tolist() == found[first, "covariate_shift.relative"].tolist() == [0, 0]
    assert all((found[layer, "covariate_shift"] > 0).all() for layer in later)


def plain_weight_gradients(made: Plain, numbers: torch.Tensor, i: int) -> list[torch.Tensor]:
    weights = [layer.get_parameter("weight") for layer in made.weights]
    return list(torch.autograd.grad(made.loss(numbers, i, 4), weights))


def move(made: Plain, target: Plain, place: int) -> None:
    """Give a layer the parameters of another network, and all that stands behind it up to the next layer."""
    number = -1
    for mine, theirs in zip(made.network.modules(), target.network.modules(), strict=True):
        number += isinstance(mine, nn.Linear | nn.Conv2d)
        if max(number, 0) == place:
            for theta, other in zip(mine.parameters(recurse=False), theirs.parameters(recurse=False), strict=True):
                theta.data = other.detach().clone()


@pytest.mark.parametrize(
    ("name", "frozen", "over"),
    [
        ("mlp", False, None),
        ("mlp, norm after, dropout", False, None),
        ("mlp, norm after, dropout", True, None),
        ("mlp, norm after, dropout", False, 4),
        ("vgg, dropout", False, None),
        ("vgg, dropout", False, 4),
    ],
)
def test_variance_shift_is_evaluations_variance_against_the_one_divided_by(
    name: str, frozen: bool, over: int | None
) -> None:
    train_state = in_training(in_slices(name, over))
    train_state.update(torch.arange(16)[None], rates(train_state)[:, None], torch.tensor(1))
    if frozen:
        train_state.freeze()
    found = find(train_state, {"name": "variance_shift", "batches": 4}, step=2)
    layers = layers_of(found, "variance_shift")
    for k in range(2):
        running = [norm.get_buffer("running_var").numpy().copy() for norm in Plain(train_state, k).norms]
        trained, met = (inputs_of_norms(Plain(train_state, k), training, frozen) for training in (True, False))
        for place, layer in enumerate(layers):
            slices = [part for x_NC in trained[place] for part in np.split(x_NC, 16 // (over or 16))]
            within = np.mean([x_NC.var(0, ddof=1) for x_NC in slices], axis=0)
            seen = np.concatenate(met[place]).var(0)
            for measure, other in (("variance_shift", running[place]), ("variance_shift.reestimated", within)):
                expected = np.maximum(seen / other, other / seen).mean()
                assert_close(found[layer, measure][k], expected, PLAIN_FLOAT64)


def in_slices(name: str, over: int | None) -> dict[str, Any]:
    """A model with statistics over so many images."""
    norm = MODELS[name].get("norm", "before")
    return MODELS[name] | {"norm": {"placement": norm, "over": over}} if over else MODELS[name]


def inputs_of_norms(made: Plain, training: bool, frozen: bool) -> list[list[np.ndarray]]:
    """Inputs of each norm layer in four drawn batches."""
    made.network.train(training)
    for norm in made.norms:
        norm.train(training and not frozen)
    watched = [made.watch(made.norms, made.drawn(i, 2), i, 2)[1] for i in range(4)]
    return [[rows(pairs[place][0]) for pairs in watched] for place in range(len(made.norms))]


def test_only_batch_norm_has_a_variance_to_shift() -> None:
    for name in ("mlp, groups", "mlp, whitening", "residual mlp, fixup"):
        assert find(in_training(MODELS[name]), "variance_shift") == {}


# The gap between modes.


MEASURES = ("batch", "running", "population")


def trained(name: str, images: int = 77, over: int | None = None) -> tuple[Any, dict[str, np.ndarray]]:
    """A group after three updates, whose running statistics still lag, and what the probe finds."""
    group = rates_group(2, in_slices(name, over), precision="fp64", batch_size=16)
    train_state = in_training(group, made_up_data(group, test=images))
    for step in range(1, 4):
        train_state.update(torch.arange(16)[None] + 16 * step, rates(train_state)[:, None], torch.tensor(step))
    found = find(train_state, "mode_gap", step=3)
    return train_state, {name.removeprefix("mode_gap."): row for (_, name), row in found.items()}


def plain_predictions(made: Plain, images: torch.Tensor, mode: str, ends: list[int]) -> np.ndarray:
    """The likeliest class of every image, in batches."""
    made.network.eval()
    if mode == "population":
        for norm in made.norms:
            norm.train().reset_running_stats()  # type: ignore[operator]
            norm.momentum = None  # torch's way to average over all batches
        for i in range(6):
            made.network(made.images(made.batch(i)))
        made.network.eval()
    for norm in made.norms:
        norm.train(mode == "batch")
    pieces = zip([0, *ends], ends, strict=False)
    with torch.no_grad():
        return torch.cat([made.network(images[first:end]).argmax(1) for first, end in pieces]).numpy()


@pytest.mark.parametrize(
    ("images", "ends", "over"),
    [
        (77, [16, 32, 48, 64, 77], None),
        (65, [16, 32, 48, 65], None),
        (9, [9], None),
        (77, [*range(4, 76, 4), 77], 4),
    ],
)
@pytest.mark.parametrize("name", ["mlp, norm after, dropout", "vgg, dropout"])
def test_accuracies_are_those_of_plain_pytorch_in_three_modes(
    name: str, images: int, ends: list[int], over: int | None
) -> None:
    train_state, found = trained(name, images, over)
    data = train_state.data
    inputs, labels = data.inputs(data.test.images_NP).view(-1, *data.shape.image), data.test.labels_N.numpy()
    for k in range(2):
        each = {mode: plain_predictions(Plain(train_state, k), inputs, mode, ends) for mode in MEASURES}
        for mode, predicted in each.items():
            assert_close(found[mode][k], (predicted == labels).mean(), EXACT_FLOAT64)
            if mode != "running":
                agreement = (predicted == each["running"]).mean()
                assert_close(found[f"{mode}_agreement"][k], agreement, EXACT_FLOAT64)


def test_the_mode_of_the_batch_takes_its_statistics_where_training_no_longer_does() -> None:
    train_state, found = trained("mlp, norm after, dropout")
    train_state.freeze()
    for (_, name), row in find(train_state, "mode_gap", step=3).items():
        assert row.tolist() == found[name.removeprefix("mode_gap.")].tolist()


def test_modes_do_differ_here() -> None:
    # Or the test above could not tell them apart.
    _, found = trained("mlp, norm after, dropout")
    assert len({tuple(found[mode]) for mode in MEASURES}) == 3


@pytest.mark.parametrize("name", ["mlp", "vgg, dropout"])
@pytest.mark.parametrize(
    ("statistics", "mode", "over"),
    [("ema", "running", None), ("population", "population", None), ("population", "population", 4)],
)
def test_one_mode_is_what_the_training_records(name: str, statistics: str, mode: str, over: int | None) -> None:
    group = rates_group(2, MODELS[name] | {"norm": {"statistics": statistics, "over": over}}, epochs=1)
    *_, last = train(group, made_up_data(group, test=100), probes=[probe("mode_gap")])
    (found,) = last.probes
    assert found.values["", f"mode_gap.{mode}"] == last.record.measures["test_accuracy"]


def test_without_statistics_all_modes_are_one() -> None:
    _, found = trained("mlp, groups")
    assert found["batch"].tolist() == found["running"].tolist() == found["population"].tolist()
    assert found["batch_agreement"].tolist() == found["population_agreement"].tolist() == [1, 1]


@pytest.mark.parametrize(("val", "test", "split"), [(20, 12, "test"), (20, 0, "val"), (20, 1, "val"), (0, 0, "train")])
def test_it_takes_test_images_else_validation_images_else_training_images(val: int, test: int, split: str) -> None:
    group = rates_group(1, {"norm": "none"}, epochs=1)
    data = made_up_data(group, val=val, test=test)
    *_, last = train(group, data, probes=[probe("mode_gap")])
    assert last.probes[0].values["", "mode_gap.batch"] == last.record.measures[f"{split}_accuracy"]
