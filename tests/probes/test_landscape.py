"""The loss around the weights against plain loops over places, and against the whole Hessian of tiny networks."""

from collections.abc import Callable, Iterator
from math import nan
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.probes.landscape import directions
from bnexp.streams import stream_seed
from bnexp.training.group_state import GroupTrainState
from tests.helpers import EXACT_FLOAT64, LANCZOS, PLAIN_FLOAT64, assert_close, made_up_data, noise, rates_group
from tests.probes.looking import MODELS, Plain, find, in_training, rates, scaled

PROBES = ("loss_variation", "gradient_predictiveness", "effective_smoothness")


def along(made: Plain, rate: float, factors: np.ndarray, batches: int, relative: bool) -> Iterator[tuple[float, ...]]:
    """The loss, what the gradient has become, and the length of a step at each place, starting with θ itself."""
    start = [theta.detach().clone() for theta in made.network.parameters()]
    units = [filter_norms(theta) if relative else torch.ones_like(theta) for theta in start]
    first, steps = None, [0.0, *(factors * rate)]
    for step in steps:
        if first is not None:
            for theta, begun, unit, g in zip(made.network.parameters(), start, units, first, strict=True):
                theta.data = begun - step * unit * g
        loss, gradient = over_batches(made, batches)
        scaled = [unit * g for unit, g in zip(units, gradient, strict=True)]
        first = scaled if first is None else first
        one, other = (torch.cat([g.flatten() for g in each]) for each in (first, scaled))
        yield loss, step, float((one - other).norm()), float(one.norm()), float(one @ other / one.norm() / other.norm())


def over_batches(made: Plain, count: int) -> tuple[float, list[torch.Tensor]]:
    losses = [made.loss(made.batch(i), i) for i in range(count)]
    loss = torch.stack(losses).mean()
    return float(loss.detach()), list(torch.autograd.grad(loss, list(made.network.parameters())))


def filter_norms(theta: torch.Tensor) -> torch.Tensor:
    """The norm of each number's filter, 1 for what is no weight."""
    if theta.ndim == 1:
        return torch.ones_like(theta)
    return torch.stack([torch.full_like(row, float(row.norm())) for row in theta])


FEW = {"range": [0.01, 30], "points": 4, "batches": 2}


@pytest.mark.parametrize(
    ("name", "options", "factors"),
    [
        ("mlp", {}, np.geomspace(0.5, 4, 8)),
        ("mlp, norm after, dropout", FEW, np.geomspace(0.01, 30, 4)),
        ("mlp, groups", FEW, np.geomspace(0.01, 30, 4)),
        ("vgg, dropout", FEW, np.geomspace(0.01, 30, 4)),
    ],
)
def test_the_line_is_that_of_a_plain_loop(name: str, options: dict[str, object], factors: np.ndarray) -> None:
    train_state = in_training(MODELS[name])
    found = find(train_state, *({"name": each} | options for each in PROBES))
    for k in range(2):
        arguments = float(rates(train_state)[k]), factors, int(str(options.get("batches", 1)))
        (start, *rest), (_, *free) = (
            list(along(Plain(train_state, k), *arguments, relative)) for relative in (False, True)
        )
        loss, step, change, norm, cosine = np.array(rest).T
        expected = {
            "loss_variation": start[0],
            "loss_variation.low": loss.min(),
            "loss_variation.high": loss.max(),
            "gradient_predictiveness.low": change.min(),
            "gradient_predictiveness.high": change.max(),
            "gradient_predictiveness.relative_low": (change / norm).min(),
            "gradient_predictiveness.relative_high": (change / norm).max(),
            "gradient_predictiveness.cosine_low": cosine.min(),
            "gradient_predictiveness.cosine_high": cosine.max(),
            "effective_smoothness": (change / step / norm).max(),
            "effective_smoothness.scale_free": max(change / step / norm for _, step, change, norm, _ in free),
        }
        assert set(found) == {("", measure) for measure in expected}
        for measure, value in expected.items():
            assert_close(found["", measure][k], value, PLAIN_FLOAT64)


@pytest.mark.parametrize(("name", "factor"), [("mlp", 0.1), ("mlp", 10.0), ("vgg, dropout", 10.0)])
def test_the_scale_free_smoothness_does_not_mind_the_scale_of_filters_before_batch_norm(
    name: str, factor: float
) -> None:
    before, after = find(scaled(name, 1.0), "effective_smoothness"), find(scaled(name, factor), "effective_smoothness")
    measure = "", "effective_smoothness.scale_free"
    assert_close(after[measure], before[measure], PLAIN_FLOAT64)
    assert (abs(after["", "effective_smoothness"] / before["", "effective_smoothness"] - 1) > 0.01).all()


# Slices.


NAMES = ["mlp", "mlp, norm after, dropout", "mlp, groups", "vgg, dropout", "resnet"]
SMALL = {"name": "landscape_slice", "range": [-0.5, 1], "points": 4}


def plain_direction(weight: torch.Tensor, seed: int, index: int) -> torch.Tensor:
    """Section 4 of the paper: a random filter of each filter's norm."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "landscape", index))
    drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return torch.stack([d * w.norm() / d.norm() for d, w in zip(drawn, weight, strict=True)])


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_is_that_of_a_plain_loop(name: str) -> None:
    train_state = in_training(rates_group(1, MODELS[name], seeds=2, precision="fp64", label_smoothing=0.1))
    found = find(train_state, SMALL | {"batches": 2})
    assert len(found) == 16
    for k, seed in enumerate((0, 1)):
        made = Plain(train_state, k)
        weights = [layer.get_parameter("weight") for layer in made.weights]
        start = [weight.detach().clone() for weight in weights]
        first, second = (
            [plain_direction(weight, seed, 2 * i + which) for i, weight in enumerate(start)] for which in range(2)
        )
        for x in (-0.5, 0, 0.5, 1):
            for y in (-0.5, 0, 0.5, 1):
                for weight, begun, d1, d2 in zip(weights, start, first, second, strict=True):
                    weight.data = begun + x * d1 + y * d2
                loss = (made.loss(made.batch(0), 0) + made.loss(made.batch(1), 1)) / 2
                assert_close(found["", f"landscape_slice[{x:g} {y:g}]"][k], float(loss.detach()), PLAIN_FLOAT64)


def test_in_the_middle_is_the_loss() -> None:
    found = find(in_training(MODELS["mlp"]), "landscape_slice", "loss_variation")
    assert sum(name.startswith("landscape_slice[") for _, name in found) == 11 * 11
    assert np.array_equal(found["", "landscape_slice[0 0]"], found["", "loss_variation"])
    assert {("", "landscape_slice[-1 -1]"), ("", "landscape_slice[0.2 -0.8]")} < set(found)


def test_all_arms_of_a_seed_go_the_same_ways_and_seeds_and_ways_differ() -> None:
    weights = {"a": noise(3, 4, 5), "b": noise(3, 2, 4, 3, 3, seed=1)}
    ways = [directions(weights, (7, 7, 8), which) for which in range(2)]
    for name, weight in weights.items():
        unit = [way[name].flatten(2) / way[name].flatten(2).norm(dim=2, keepdim=True) for way in ways]
        assert_close(unit[0][0], unit[0][1], EXACT_FLOAT64)
        assert abs(float((unit[0][0] * unit[0][2]).sum(1).mean())) < 0.9
        assert abs(float((unit[0][0] * unit[1][0]).sum(1).mean())) < 0.9
        assert_close(ways[0][name].flatten(2).norm(dim=2), weight.flatten(2).norm(dim=2), EXACT_FLOAT64)


def test_filters_of_zeros_stay_where_they_are() -> None:
    weights = {"a": noise(1, 4, 5)}
    weights["a"][0, 2] = 0
    way = directions(weights, (0,), 0)["a"]
    assert bool((way[0, 2] == 0).all())
    assert bool((way[0, 1] != 0).all())


# Sharpness.


TINY: dict[str, dict[str, Any]] = {
    "none": {"depth": 2, "width": 3, "norm": "none"},
    "batch": {"depth": 2, "width": 3, "activation": "tanh"},
    "batch after": {"depth": 1, "width": 3, "norm": "after"},
    "group": {"depth": 2, "width": 4, "norm": {"kind": "group", "groups": 2}},
    "dropout": {"depth": 1, "width": 3, "dropout": 0.5},
    "whiten": {"depth": 1, "width": 3, "norm": "whiten"},
    "vgg": {"family": "vgg", "depth": 5, "width": 1, "activation": "tanh"},
}


def tiny(model: dict[str, Any], **train: Any) -> GroupTrainState:
    """Networks for pictures of 3 × 3 pixels, whose Hessian can be written down."""
    group = rates_group(2, model, **{"precision": "fp64"} | train)
    return in_training(group, made_up_data(group, side=3))


def hessian(made: Plain, *, differences: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The Hessian over all learned numbers, and the norm of each one's filter."""
    named = {name: theta.detach() for name, theta in made.network.named_parameters()}
    numbers = torch.cat([theta.flatten() for theta in named.values()])

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = zip(named.items(), flat.split([theta.numel() for theta in named.values()]), strict=True)
        return made.loss(made.batch(0), at={name: piece.view_as(theta) for (name, theta), piece in pieces})

    filters = torch.cat([filter_norms(theta).flatten() for theta in named.values()]).numpy()
    whole = _differences(loss, numbers) if differences else torch.autograd.functional.hessian(loss, numbers).numpy()
    return whole, filters


def _differences(loss: Callable[[torch.Tensor], torch.Tensor], numbers: torch.Tensor) -> np.ndarray:
    def gradient(at: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss(leaf := at.clone().requires_grad_()), leaf)[0]

    steps = 1e-5 * torch.eye(len(numbers), dtype=torch.float64)
    found: np.ndarray = torch.stack([(gradient(numbers + e) - gradient(numbers - e)) / 2e-5 for e in steps]).numpy()
    return (found + found.T) / 2


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("group", "whiten"))) for name in TINY]
)
def test_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian(name: str) -> None:
    train_state = tiny(TINY[name], label_smoothing=0.1)
    found = find(train_state, "sharpness")
    for k in range(2):
        # The decomposition that the plain whitening takes has no second derivative.
        whole, unit = hessian(Plain(train_state, k), differences=name == "whiten")
        largest = np.linalg.eigvalsh(whole)[-1]
        assert_close(found["", "sharpness"][k], largest, LANCZOS)
        assert_close(found["", "sharpness.times_rate"][k], largest * float(rates(train_state)[k]), LANCZOS)
        free = np.linalg.eigvalsh(unit[:, None] * whole * unit)[-1]
        assert_close(found["", "sharpness.scale_free"][k], free, LANCZOS)


def test_over_several_batches_it_is_that_of_their_mean_loss() -> None:
    train_state = tiny(TINY["none"], batch_size=8)
    twice = find(tiny(TINY["none"], batch_size=16), "sharpness")
    # Without batch norm a mean over two batches is one over a batch twice as large.
    found = find(train_state, {"name": "sharpness", "batches": 2})
    assert_close(found["", "sharpness"], twice["", "sharpness"], LANCZOS)


def test_the_largest_eigenvalue_is_not_the_one_farthest_from_0() -> None:
    train_state = tiny({"depth": 1, "width": 3, "norm": "none", "activation": "tanh"})
    output = train_state.network.get_parameter("output.weight").data
    output[:] = torch.tensor([-20.0, 20.0, 0.0])[:, None].double()
    train_state.network.get_parameter("hidden.0.linear.weight").data.mul_(0.1)
    train_state.network.get_parameter("hidden.0.linear.bias").data.fill_(0.6)
    eigenvalues = np.linalg.eigvalsh(hessian(Plain(train_state, 0))[0])
    assert -eigenvalues[0] > 1.5 * eigenvalues[-1] > 0
    assert_close(find(train_state, "sharpness")["", "sharpness"][0], eigenvalues[-1], LANCZOS)


def test_a_network_in_float32_is_looked_at_in_float64() -> None:
    train_state = tiny(TINY["batch"], precision="fp32")
    alike = tiny(TINY["batch"])
    for theta, single in zip(alike.network.parameters(), train_state.network.parameters(), strict=True):
        theta.data = single.detach().double()
    assert_close(find(train_state, "sharpness")["", "sharpness"], find(alike, "sharpness")["", "sharpness"], LANCZOS)


def test_a_flat_loss_has_sharpness_0_and_one_that_is_no_number_none() -> None:
    train_state = tiny(TINY["none"])
    for theta in train_state.network.parameters():
        theta.data.zero_()
    train_state.data.train.labels_N.zero_()
    # So sure of the right class that no other has a probability.
    train_state.network.get_parameter("output.bias").data[0] = torch.tensor([2000.0, 0.0, 0.0])
    train_state.network.get_parameter("output.bias").data[1] = nan
    found = find(train_state, "sharpness")
    assert found["", "sharpness"][0] == found["", "sharpness.scale_free"][0] == 0
    assert np.isnan(found["", "sharpness"][1])
    assert np.isnan(found["", "sharpness.scale_free"][1])
