"""Batch norm by its formulas: gradients by hand, the γ and β that undo it, its conventions, and biases that it cancels.

Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1 and sections 2, 3 and 3.2. Shapes as in bnexp.reference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp import reference
from bnexp.claims.checks.networks import (
    CPU,
    Moment,
    compare,
    difference,
    last_moments,
    moments,
    noise,
    randomize_biases,
    short,
    small_experiment,
    untrained_network,
    within,
    worst,
)
from bnexp.claims.runs import Finding
from bnexp.config.norm import NormSettings
from bnexp.data.dataset import load
from bnexp.engines.devices import data_key, load_data
from bnexp.nn.layers import losses
from bnexp.nn.norm import BatchNorm, refit_statistics
from bnexp.plan import groups, trials
from bnexp.reference import CONVENTIONS
from bnexp.training.group_state import GroupTrainState

SHAPES = {"features (32, 10)": (32, 10), "images (8, 3, 6, 6)": (8, 3, 6, 6)}
BY_HAND = 1e-6
"""Largest relative error of the formulas written out, in float64."""
IDENTITY = 1e-10


def gradient_correct() -> Iterator[Finding]:
    """Yield how far batch norm by hand differs from the layer that trains, forward and backward."""
    for name, shape in SHAPES.items():
        yield from _against_autograd(name, shape)
    yield Finding(
        "the note's code: evaluation",
        "its evaluation branch reads a name that is never set, so that it ends in a NameError; as here it has to read "
        "the running mean and variance",
    )
    std = 1e-3
    shrunk = {eps: std / (std**2 + eps) ** 0.5 for eps in (10e-7, 1e-7)}
    yield Finding(
        "the note's code: eps=10e-7",
        "that is 1e-6 and not 1e-7: inputs with a standard deviation of 0.001 come out with "
        f"{shrunk[10e-7]:.2f} and not {shrunk[1e-7]:.2f}",
    )
    yield _note_images(SHAPES["images (8, 3, 6, 6)"])


def restores_identity() -> Iterator[Finding]:
    """Yield how far batch norm with γ = √(σ² + ε) and β = μ is from doing nothing."""
    for name, shape in SHAPES.items():
        x, other = 3 + 2 * noise(*shape), 3 + 2 * noise(*shape, seed=1)
        _, cache = reference.forward(x.numpy(), np.ones(shape[1]), np.zeros(shape[1]))
        layer = _layer(torch.from_numpy(cache.root_C), torch.from_numpy(cache.mean_C))
        found = "the output differs from the input by {} of its size"
        yield compare(f"{name}, γ = √(σ² + ε), β = μ of this batch", _apply(layer, x), x, IDENTITY, found)
        # The layer has one γ and β, and every batch its own μ and σ.
        away = difference(_apply(layer, other), other)
        yield Finding(f"{name}, the same γ and β on another batch in training", f"it differs by {away:.1%}")
        layer.running_mean.copy_(torch.from_numpy(cache.mean_C))
        layer.running_var.copy_(torch.from_numpy(cache.variance_C))
        found = "it differs by {}: fixed statistics are undone for all inputs"
        evaluated = _apply(layer.eval(), other)
        yield compare(f"{name}, on another batch in evaluation", evaluated, other, IDENTITY, found)


def _against_autograd(name: str, shape: tuple[int, ...]) -> Iterator[Finding]:
    """Yield the errors of y and of dx, dγ and dβ for a batch of this shape."""
    x, dy = (0.5 + 1.5 * noise(*shape)).requires_grad_(), noise(*shape, seed=1)
    layer = _layer(1 + 0.5 * noise(shape[1], seed=2), noise(shape[1], seed=3))
    y = layer(x) if x.ndim == 4 else layer(x[None])[0]
    expected = torch.autograd.grad(y, [x, layer.gamma, layer.beta], dy)
    x_array, gamma_C, beta_C = (tensor.detach().numpy() for tensor in (x, layer.gamma[0], layer.beta[0]))
    by_hand, cache = reference.forward(x_array, gamma_C, beta_C)
    yield compare(f"{name}, forward", by_hand, y.detach(), BY_HAND, "relative error {} in float64")
    ways = {"node by node": reference.backward, "in one line": reference.backward_closed_form}
    for way, backward in ways.items():
        found = backward(dy.numpy(), cache)
        pairs = zip((found.dx, found.dgamma_C[None], found.dbeta_C[None]), expected, strict=True)
        error = worst(difference(mine, theirs) for mine, theirs in pairs)
        text = "relative error {} of dx, dγ and dβ against autograd"
        yield within(f"{name}, backward {way}", error, BY_HAND, text)


def _note_images(shape: tuple[int, ...]) -> Finding:
    """Compare with flattened images, as in the note's code: every place gets statistics of its own."""
    x = noise(*shape).cumsum(-1)
    flat = F.batch_norm(x.flatten(1), None, None, training=True).view_as(x)
    away = difference(flat, F.batch_norm(x, None, None, training=True))
    channels, places = shape[1], int(np.prod(shape[1:]))
    return Finding(
        "the note's code: images",
        f"made flat, each of the {places} numbers of an image is normalised by itself, over {shape[0]} values, and not "
        f"each of the {channels} channels over {shape[0] * places // channels}: outputs differ by {away:.0%}",
    )


def _layer(gamma_C: Tensor, beta_C: Tensor) -> BatchNorm:
    """Return the layer that trains in experiments, for one trial in float64 and in training mode."""
    layer = BatchNorm(1, len(gamma_C), NormSettings()).double()
    layer.gamma.data.copy_(gamma_C)
    layer.beta.data.copy_(beta_C)
    return layer


@torch.no_grad()
def _apply(layer: BatchNorm, x: Tensor) -> Tensor:
    y: Tensor = layer(x) if x.ndim == 4 else layer(x[None])[0]
    return y


# In Keras' convention momentum weights the old value, and in PyTorch's the new one. Keras counts the axis from the end.
# Keras itself is not run here: bnexp.reference writes its convention out.

CONVENTION = 1e-12
"""Relative difference between two ways to write one average, in float64."""
MOMENTA = 0.001, 0.01, 0.1, 0.5, 1.0
"""PyTorch's."""
EARLY = 50
"""Steps until the first evaluation."""


def momentum_convention(steps: int = 300) -> Iterator[Finding]:
    """Yield whether the conventions give the same averages, and how the test error depends on momentum."""
    yield from _averages()
    x_BCHW = noise(4, 3, 5, 5).cumsum(-1)
    first = nn.BatchNorm2d(3, dtype=torch.float64)(x_BCHW).detach()
    last_NC, _ = reference.forward(x_BCHW.movedim(1, -1).reshape(-1, 3).numpy(), np.ones(3), np.zeros(3))
    what = "axis −1 of (batch, height, width, channels) against dimension 1 of (batch, channels, height, width)"
    yield compare(what, last_NC, first.movedim(1, -1).reshape(-1, 3), CONVENTION, "relative difference {}")
    yield from _evaluation_error(steps)


def _averages(batches: int = 50, count: int = 32) -> Iterator[Finding]:
    """Compare running averages with 0.99 on the old value and 0.01 on the new one, with both variance factors."""
    keras = CONVENTIONS["keras"]
    layer = nn.BatchNorm1d(3, momentum=0.01, dtype=torch.float64)
    as_keras, as_torch = reference.start(3, keras), reference.start(3, keras)
    for batch in range(batches):
        x_BC = 2 + noise(count, 3, seed=batch)
        layer(x_BC)
        _, cache = reference.forward(x_BC.numpy(), np.ones(3), np.zeros(3))
        as_keras = reference.update(as_keras, cache, keras)
        as_torch = reference.update(as_torch, cache, replace(keras, unbiased=True))
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    what = f"running mean after {batches} batches: Keras' convention, 0.99 on the old value, against PyTorch's 0.01"
    yield compare(what, mean, as_keras.mean_C, CONVENTION, "relative difference {}")
    apart = difference(as_keras.variance_C, as_torch.variance_C)
    found = f"relative difference {{}}; without it, Keras' convention, {apart:.1%} at batches of {count}"
    what = "running variance likewise, with PyTorch's factor m/(m − 1)"
    yield compare(what, variance, as_torch.variance_C, CONVENTION, found)
    yield Finding(
        f"weight of the starting values after {batches} batches",
        f"{keras.kept**batches:.0%} at 0.99, {0.9**batches:.1%} at PyTorch's default: means are still short by as much",
    )


def _evaluation_error(steps: int) -> Iterator[Finding]:
    """Yield test errors by momentum, with the same weights: only the statistics differ."""
    errors: dict[float, list[float]] = {}
    weights = []
    seen = moments(
        model={"depth": 3, "width": 50, "activation": "relu"},
        arms={f"momentum_{momentum:g}": {"model.norm.momentum": momentum} for momentum in MOMENTA},
        train={"steps": steps, "record_at": [EARLY, steps], "batch_size": 32},
    )
    for moment in seen:
        if moment.step:
            momentum = float(moment.arm.rpartition("_")[2])
            errors.setdefault(momentum, []).append(1 - moment.measures["test_accuracy"])
        if moment.step == steps:
            weights.append({key: each for key, each in moment.weights.items() if "running" not in key})
    apart = worst(difference(each[key], weights[0][key]) for each in weights for key in each)
    found = f"weights after {steps} steps differ by {{}}"
    yield within(f"momentum in training, {len(MOMENTA)} values", apart, 0, found)
    for place, step in enumerate((EARLY, steps)):
        listed = ", ".join(f"{each[place]:.1%} at {momentum:g}" for momentum, each in errors.items())
        yield Finding(f"test error in evaluation after {step} steps, by PyTorch's momentum", listed)


# The bias that batch norm cancels: it gets no gradient, changes nothing, and drifts if the gradient forgets the mean.

MODEL: dict[str, Any] = {"depth": 3, "width": 32, "activation": "relu", "bias": True}
NO_GRADIENT = 1e-10
"""The largest gradient of a bias that counts as 0, relative to the largest gradient of a weight, in float64."""
EQUAL_RUNS = 1e-8
"""Relative difference between trainings that differ by rounding, in float64."""
STOOD_STILL = 1e-12
"""The largest change of a loss that rounding explains."""
BATCH = 64
HIDDEN = "linear.bias"
"""The end of the names of hidden biases."""


def bias_cancelled(steps: int = 100) -> Iterator[Finding]:
    """Yield the gradient of a bias before batch norm, its effect on training, and its drift."""
    what = "|∂L/∂b| before BN in training, over the largest |∂L/∂W|"
    yield within(f"{what}, float64", _bias_gradient(MODEL, torch.float64), NO_GRADIENT, "{}")
    yield Finding(f"{what}, float32", f"{short(_bias_gradient(MODEL, torch.float32))}: rounding, not 0")
    without = _bias_gradient(MODEL | {"norm": "none"}, torch.float64)
    yield Finding("the same without BN, float64", f"{without:.2g}: there a bias learns")
    yield from _equal_runs(steps)
    yield from _far_from_zero(steps)
    yield _drift_by_rounding(steps)
    yield from _drift_without_mean(steps)


def _equal_runs(steps: int) -> Iterator[Finding]:
    """Yield how little training with the bias differs from training without it."""
    arms = _with_and_without(steps, "sgd", "fp64")
    measured, expected = (list(arms[name].measures.values()) for name in ("bias", "no_bias"))
    what = "the same training with and without the bias, SGD in float64"
    yield compare(what, measured, expected, EQUAL_RUNS, f"losses and accuracies after {steps} steps differ by {{}}")
    sizes = {name: sum(theta.numel() for theta in arm.network().parameters()) for name, arm in arms.items()}
    saved = sizes["bias"] - sizes["no_bias"]
    found = f"{saved} numbers fewer to learn, of {sizes['bias']:,}"
    yield Finding("leaving it out", found, abs(saved - MODEL["depth"] * MODEL["width"]), 0)


def _far_from_zero(steps: int) -> Iterator[Finding]:
    """Compare answers and training of a network whose biases start far from 0 with one that has none."""
    without, far = _train_state(bias=False), _train_state(bias=True)
    randomize_biases(far.network, HIDDEN)
    at_start = _answers(without), _answers(far)
    for train_state in (without, far):
        _train(train_state, steps)
    ends = _answers(without), _answers(far)
    for moment, (expected, found) in {"before training": at_start, f"after {steps} steps": ends}.items():
        for mode, logits_NC in found.items():
            what = f"hidden biases from N(0, 1) against none, {moment}: logits in {mode}"
            yield compare(what, logits_NC, expected[mode], EQUAL_RUNS, "they differ by {} of the largest")


def _train_state(*, bias: bool) -> GroupTrainState:
    """Return a network that is about to be trained by SGD in float64."""
    rule = {"batch_size": BATCH, "precision": "fp64"}
    (group,) = groups(trials(small_experiment(model=MODEL | {"bias": bias}, arms={"only": {}}, train=rule)))
    return GroupTrainState(group, load_data([group], CPU)[data_key(group)])


def _train(train_state: GroupTrainState, steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    rate_K1 = torch.full((1, 1), train_state.group.settings.train.lr, dtype=torch.float64)
    for step in range(1, steps + 1):
        batch_SB = torch.randint(len(train_state.data.train), (1, BATCH), generator=generator)
        train_state.update(batch_SB, rate_K1, torch.tensor(step))


@torch.no_grad()
def _answers(train_state: GroupTrainState) -> dict[str, Tensor]:
    """Return logits of the test images in both modes; evaluation uses statistics of the training images."""
    network, data = train_state.network, train_state.data
    x_NP = data.inputs(data.test.images_NP)
    in_training = network.train()(x_NP[None])[0]
    refit_statistics(network, (data.inputs(images_BP)[None] for images_BP in data.train.images_NP.split(BATCH)))
    return {"training mode": in_training, "evaluation": network(x_NP[None])[0]}


def _drift_by_rounding(steps: int) -> Finding:
    """Measure how far optimisers move a bias whose gradients are rounding errors."""
    ends = {rule: _with_and_without(steps, *rule.split()) for rule in ("adam fp32", "adam fp64", "sgd fp32")}
    moved = {}
    for rule, arms in ends.items():
        biases = (bias for name, bias in arms["bias"].weights.items() if name.endswith(HIDDEN))
        moved[rule] = short(worst(float(bias.abs().max()) for bias in biases))
    adam = ends["adam fp32"]
    losses_apart = difference(adam["bias"].measures["train_loss"], adam["no_bias"].measures["train_loss"])
    return Finding(
        f"the cancelled bias after {steps} steps from 0",
        f"Adam in float32 moves it to {moved['adam fp32']}, since it divides gradients by their own size, "
        f"rounding errors too; in float64 to {moved['adam fp64']}, SGD in float32 to "
        f"{moved['sgd fp32']}. Adam's losses in float32 with it and without differ by {losses_apart:.2%}",
    )


def _drift_without_mean(steps: int, rate: float = 0.1) -> Iterator[Finding]:
    """Yield where b ends up with the true gradient, and with one that treats μ as independent of b."""
    u_BC, target_BC = noise(BATCH, 4).numpy(), 1 + noise(BATCH, 4, seed=1).numpy()
    for way in ("mean", "no mean"):
        b_C, seen = np.zeros(4), list[float]()
        for _ in range(steps):
            y_BC, cache = reference.forward(u_BC + b_C, np.ones(4), np.zeros(4))
            dy_BC = (y_BC - target_BC) / BATCH
            seen.append(float(((y_BC - target_BC) ** 2).sum()) / (2 * BATCH))
            ignoring_C = (cache.gamma_C * cache.inverse_C * dy_BC).sum(axis=0)
            b_C = b_C - rate * (ignoring_C if way == "no mean" else reference.backward(dy_BC, cache).dx.sum(axis=0))
        far = float(np.abs(b_C).max())
        if way == "mean":
            yield within(f"{steps} steps of b with the true gradient", far, NO_GRADIENT, "b has moved to {}")
        else:
            what = "the same with a gradient that ignores that the mean depends on b"
            found = f"b has drifted to {far:.1f} and goes on, while the loss has changed by {{}}"
            yield compare(what, seen, [seen[0]] * len(seen), STOOD_STILL, found)
            # Every step is the same: the gradient is that of the first.
            expected = rate * steps * np.abs(ignoring_C).max()
            found = f"by rate · steps · gradient = {expected:.1f}"
            yield compare("how far it has drifted", far, expected, EQUAL_RUNS, found)


def _bias_gradient(model: Mapping[str, Any], dtype: torch.dtype) -> float:
    """Return the largest gradient of a hidden bias over the largest of a weight, on a batch of digits."""
    network = randomize_biases(untrained_network(model, dtype=dtype), HIDDEN).train()
    data = load(small_experiment().data, CPU, dtype)
    logits_KBC = network(data.inputs(data.train.images_NP[:BATCH])[None])
    named = dict(network.named_parameters())
    found = torch.autograd.grad(losses(logits_KBC, data.train.labels_N[None, :BATCH]).mean(), list(named.values()))
    gradient = {name: float(each.abs().max()) for name, each in zip(named, found, strict=True)}
    weights = worst(size for name, size in gradient.items() if name.endswith("weight"))
    return worst(size for name, size in gradient.items() if name.endswith(HIDDEN)) / weights


def _with_and_without(steps: int, optimizer: str, precision: str) -> dict[str, Moment]:
    rate = 0.1 if optimizer == "sgd" else 1e-3
    return last_moments(
        model=MODEL,
        arms={"bias": {}, "no_bias": {"model.bias": False}},
        train={"steps": steps, "record_at": [steps], "batch_size": BATCH, "lr": rate, "optimizer": optimizer}
        | {"precision": precision},
    )
