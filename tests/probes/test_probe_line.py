"""The loss along its gradient against a plain loop over places, and against the Hessian where steps are short."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.helpers import PLAIN_FLOAT64, assert_close
from tests.probes.looking import MODELS, Plain, find, in_training, rates, scaled

PROBES = ("loss_variation", "gradient_predictiveness", "effective_smoothness")


def along(made: Plain, rate: float, factors: np.ndarray, batches: int, relative: bool) -> Iterator[tuple[float, ...]]:
    """The loss, what the gradient has become, and the length of a step at each place, starting with θ itself."""
    start = [theta.detach().clone() for theta in made.network.parameters()]
    units = [filter_norms(theta) if relative and theta.ndim > 1 else torch.ones_like(theta) for theta in start]
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


def filter_norms(weight: torch.Tensor) -> torch.Tensor:
    return torch.stack([row.norm() for row in weight]).view(-1, *[1] * (weight.ndim - 1))


@pytest.mark.parametrize("name", ["mlp", "mlp, norm after, dropout", "mlp, groups", "vgg, dropout"])
@pytest.mark.parametrize(
    ("options", "factors"),
    [({}, np.geomspace(0.5, 4, 8)), ({"range": [0.01, 30], "points": 4, "batches": 2}, np.geomspace(0.01, 30, 4))],
    ids=["default", "chosen"],
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
