"""The bias that batch norm cancels: it gets no gradient, changes nothing, and drifts if the gradient forgets the mean.

Ioffe & Szegedy 2015, arXiv:1502.03167, section 2 (the drift) and section 3.2 (the bias).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnexp import reference
from bnexp.claims.checks.networks import (
    CPU,
    Moment,
    difference,
    last_moments,
    noise,
    randomize_biases,
    short,
    small_experiment,
    untrained_network,
    worst,
)
from bnexp.claims.results import Finding
from bnexp.data.dataset import load
from bnexp.engines.devices import data_key, load_data
from bnexp.nn.layers import losses
from bnexp.nn.norm import refit_statistics
from bnexp.plan import groups, trials
from bnexp.training.group_state import GroupTrainState

MODEL: dict[str, Any] = {"depth": 3, "width": 32, "activation": "relu", "bias": True}
NO_GRADIENT = 1e-10
"""Of a bias, relative to the largest gradient of a weight, in float64."""
EQUAL_RUNS = 1e-8
"""Relative difference between trainings that differ by rounding, in float64."""
STOOD_STILL = 1e-12
"""Change of a loss that only rounding changes."""
BATCH = 64
HIDDEN = "linear.bias"
"""How the names of hidden biases end."""


def bias_cancelled(steps: int = 100) -> Iterator[Finding]:
    """Yield what a bias before batch norm gets and does.

    Args:
        steps: of each training.
    """
    yield from _gradients()
    yield from _equal_runs(steps)
    yield from _far_from_zero(steps)
    yield _drift_by_rounding(steps)
    yield from _drift_without_mean(steps)


def _gradients() -> Iterator[Finding]:
    share = _bias_gradient(MODEL, torch.float64)
    what = "|∂L/∂b| before BN in training, over the largest |∂L/∂W|"
    yield Finding(f"{what}, float64", short(share), share, NO_GRADIENT)
    yield Finding(f"{what}, float32", f"{short(_bias_gradient(MODEL, torch.float32))}: rounding, not 0")
    without = _bias_gradient(MODEL | {"norm": "none"}, torch.float64)
    yield Finding("the same without BN, float64", f"{without:.2g}: there a bias learns")


def _equal_runs(steps: int) -> Iterator[Finding]:
    """Yield how little a training with the bias differs from one without."""
    arms = _with_and_without(steps, "sgd", "fp64")
    error = difference(list(arms["bias"].measures.values()), list(arms["no_bias"].measures.values()))
    found = f"losses and accuracies after {steps} steps differ by {short(error)}"
    yield Finding("the same training with and without the bias, SGD in float64", found, error, EQUAL_RUNS)
    sizes = {name: sum(theta.numel() for theta in arm.network().parameters()) for name, arm in arms.items()}
    saved = sizes["bias"] - sizes["no_bias"]
    found = f"{saved} numbers fewer to learn, of {sizes['bias']:,}"
    yield Finding("leaving it out", found, abs(saved - MODEL["depth"] * MODEL["width"]), 0)


def _far_from_zero(steps: int) -> Iterator[Finding]:
    """Yield how little biases that start far from 0 change of what a network answers, and of its training."""
    without, far = _train_state(bias=False), _train_state(bias=True)
    randomize_biases(far.network, HIDDEN)
    at_start = _answers(without), _answers(far)
    for train_state in (without, far):
        _train(train_state, steps)
    ends = _answers(without), _answers(far)
    for moment, (expected, found) in {"before training": at_start, f"after {steps} steps": ends}.items():
        for mode, logits_NC in found.items():
            error = difference(logits_NC, expected[mode])
            what = f"hidden biases from N(0, 1) against none, {moment}: logits in {mode}"
            yield Finding(what, f"they differ by {short(error)} of the largest", error, EQUAL_RUNS)


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
    """Return logits of the test images in both modes, in evaluation with statistics of the training images."""
    network, data = train_state.network, train_state.data
    x_NP = data.inputs(data.test.images_NP)
    in_training = network.train()(x_NP[None])[0]
    refit_statistics(network, (data.inputs(images_BP)[None] for images_BP in data.train.images_NP.split(BATCH)))
    return {"training mode": in_training, "evaluation": network(x_NP[None])[0]}


def _drift_by_rounding(steps: int) -> Finding:
    """Tell how far the optimisers carry a bias on gradients that are rounding errors."""
    ends = {
        (rule, precision): _with_and_without(steps, rule, precision)
        for rule, precision in (("adam", "fp32"), ("adam", "fp64"), ("sgd", "fp32"))
    }
    moved = {key: worst(float(bias.abs().max()) for bias in _biases(arms["bias"])) for key, arms in ends.items()}
    adam = ends["adam", "fp32"]
    losses_apart = difference(adam["bias"].measures["train_loss"], adam["no_bias"].measures["train_loss"])
    return Finding(
        f"the cancelled bias after {steps} steps from 0",
        f"Adam in float32 moves it to {short(moved['adam', 'fp32'])}, since it divides gradients by their own size, "
        f"rounding errors too; in float64 to {short(moved['adam', 'fp64'])}, SGD in float32 to "
        f"{short(moved['sgd', 'fp32'])}. Adam's losses in float32 with it and without differ by {losses_apart:.2%}",
    )


def _drift_without_mean(steps: int, rate: float = 0.1) -> Iterator[Finding]:
    """Yield what becomes of b by the true gradient, and by one that takes μ for something that doesn't hang on b."""
    u_BC, target_BC = noise(BATCH, 4).numpy(), 1 + noise(BATCH, 4, seed=1).numpy()
    for way in ("mean", "no mean"):
        b_C, seen = np.zeros(4), list[float]()
        for _ in range(steps):
            y_BC, cache = reference.forward(u_BC + b_C, np.ones(4), np.zeros(4))
            dy_BC = (y_BC - target_BC) / BATCH
            seen.append(float(((y_BC - target_BC) ** 2).sum()) / (2 * BATCH))
            ignoring_C = (cache.gamma_C * cache.inverse_C * dy_BC).sum(axis=0)
            b_C = b_C - rate * (ignoring_C if way == "no mean" else reference.backward(dy_BC, cache).dx.sum(axis=0))
        change, far = difference(seen, [seen[0]] * len(seen)), float(np.abs(b_C).max())
        if way == "mean":
            found = f"b has moved to {short(far)}"
            yield Finding(f"{steps} steps of b with the true gradient", found, far, NO_GRADIENT)
        else:
            found = f"b has drifted to {far:.1f} and goes on, while the loss has changed by {short(change)}"
            yield Finding("the same if the gradient ignores that the mean hangs on b", found, change, STOOD_STILL)
            # Every step is the same: the gradient is that of the first.
            expected = rate * steps * np.abs(ignoring_C).max()
            error = difference(far, expected)
            yield Finding("how far it has drifted", f"by rate · steps · gradient = {expected:.1f}", error, EQUAL_RUNS)


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


def _biases(moment: Moment) -> list[Tensor]:
    return [tensor for name, tensor in moment.weights.items() if name.endswith(HIDDEN)]
