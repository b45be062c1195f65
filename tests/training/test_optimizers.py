"""Update rules in four ways: equal to torch.optim, bitwise repeatable, convergent, and trials left to themselves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from bnexp.config.train import OPTIMIZERS, TrainSettings
from bnexp.training import group_state
from bnexp.training.optimizers import Optimizer
from tests.helpers import EXACT_FLOAT64, NEAR_FLOAT64, assert_close, finished, noise, small_group

STEPS, SIZES = 30, [4, 2, 1]
NUMBERS, DECAYED = sum(SIZES), [True, False, False]
DECAYED_P = torch.arange(NUMBERS) < SIZES[0]
RATES, DECAYS, MOMENTA = (0.1, 0.02, 0.003), (0.0, 0.01, 0.3), (0.0, 0.5, 0.9)
BETAS = (0.8, 0.95)


@dataclass(frozen=True)
class Rule:
    """A rule of ours with the torch.optim class that it should equal."""

    name: str
    torchs: Callable[..., torch.optim.Optimizer]
    momenta: tuple[float, ...] = (0.0, 0.0, 0.0)
    settings: dict[str, Any] = field(default_factory=dict)

    def of_torch(self, k: int) -> dict[str, Any]:
        momentum = {"momentum": self.momenta[k]} if self.name in ("sgd", "rmsprop") else {}
        nesterov = {"nesterov": True} if self.settings.get("nesterov") else {}
        return momentum | nesterov | ({"betas": BETAS} if "adam" in self.name else {})

    def of_trial(self, k: int, **more: Any) -> TrainSettings:
        return TrainSettings.model_validate(
            {
                "optimizer": self.name,
                "lr": RATES[k],
                "momentum": self.momenta[k],
                "weight_decay": DECAYS[k],
                "betas": BETAS,
                **self.settings,
                **more,
            }
        )


RULES = {
    "sgd": Rule("sgd", torch.optim.SGD),
    "sgd with momentum": Rule("sgd", torch.optim.SGD, MOMENTA),
    "sgd with nesterov": Rule("sgd", torch.optim.SGD, (0.3, 0.5, 0.9), {"nesterov": True}),
    "adam": Rule("adam", torch.optim.Adam),
    "adamw": Rule("adamw", torch.optim.AdamW),
    "nadam": Rule("nadam", torch.optim.NAdam),
    "rmsprop": Rule("rmsprop", torch.optim.RMSprop),
    "rmsprop with momentum": Rule("rmsprop", torch.optim.RMSprop, MOMENTA),
}


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> Rule:
    return RULES[request.param]


def rates(step: int, trials: list[int]) -> torch.Tensor:
    """Rates (K, 1) that change from step to step, as under a schedule."""
    return torch.tensor([[RATES[k] * (1 + step % 3) / 2] for k in trials], dtype=torch.float64)


def gradients(step: int) -> torch.Tensor:
    return noise(3, NUMBERS, seed=500 + step)


def make(rule: Rule, theta_KP: torch.Tensor, trials: list[int], **more: Any) -> Optimizer:
    """An optimiser of three tensors that are columns of one matrix."""
    settings = [rule.of_trial(k, **more) for k in trials]
    made: Optimizer = OPTIMIZERS[rule.name].load()(settings, theta_KP.split(SIZES, dim=1), DECAYED)
    return made


def advance(optimizer: Optimizer, grad_KP: torch.Tensor, rate_K1: torch.Tensor) -> None:
    optimizer.step(grad_KP.split(SIZES, dim=1), rate_K1)


def trained(rule: Rule, trials: list[int], **more: Any) -> tuple[torch.Tensor, Optimizer]:
    """Parameters and optimiser after thirty steps of random gradients."""
    theta_KP = noise(3, NUMBERS)[trials].clone()
    optimizer = make(rule, theta_KP, trials, **more)
    for step in range(STEPS):
        advance(optimizer, gradients(step)[trials], rates(step, trials))
    return theta_KP, optimizer


def by_torch(rule: Rule, k: int, decayed_P: torch.Tensor) -> torch.Tensor:
    """The same for one trial by torch.optim, with one parameter group that decays and one that doesn't."""
    parts = [noise(3, NUMBERS)[k, part].clone() for part in (decayed_P, ~decayed_P)]
    groups = [{"params": [parts[0]], "weight_decay": DECAYS[k]}, {"params": [parts[1]], "weight_decay": 0.0}]
    optimizer = rule.torchs(groups, lr=RATES[k], **rule.of_torch(k))
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rates(step, [k]).item()
        for values, part in zip(parts, (decayed_P, ~decayed_P), strict=True):
            values.grad = gradients(step)[k, part].clone()
        optimizer.step()
    whole = torch.empty(NUMBERS)
    whole[decayed_P], whole[~decayed_P] = parts
    return whole


@pytest.mark.usefixtures("float64_scalars")
@pytest.mark.parametrize("decay_all", [False, True])
def test_three_trials_equal_three_of_torchs(rule: Rule, decay_all: bool) -> None:
    theta_KP, _ = trained(rule, [0, 1, 2], decay_all=decay_all)
    decayed_P = torch.ones_like(DECAYED_P) if decay_all else DECAYED_P
    assert_close(theta_KP, torch.stack([by_torch(rule, k, decayed_P) for k in range(3)]), NEAR_FLOAT64)


def test_decay_reaches_its_columns_only(rule: Rule) -> None:
    plain_KP, _ = trained(rule, [0, 1, 2], weight_decay=0.0)
    decayed_KP, _ = trained(rule, [0, 1, 2])
    changed = ~torch.isclose(plain_KP, decayed_KP, rtol=EXACT_FLOAT64, atol=0)
    # The first trial's decay is 0.
    assert torch.equal(changed, torch.stack([torch.zeros_like(DECAYED_P), DECAYED_P, DECAYED_P]))


@pytest.mark.parametrize("trials", [[0], [2], [1, 2]])
def test_a_trial_does_not_depend_on_its_company(rule: Rule, trials: list[int]) -> None:
    assert_close(trained(rule, trials)[0], trained(rule, [0, 1, 2])[0][trials], EXACT_FLOAT64)


def test_every_tensor_of_the_state_has_the_trials_in_front(rule: Rule) -> None:
    _, optimizer = trained(rule, [0, 1])
    assert {len(tensor) for tensor in optimizer.state.values()} <= {2}
    assert bool(optimizer.state) == (rule.name != "sgd" or any(rule.momenta))


def test_a_state_copied_over_continues_to_the_bit(rule: Rule) -> None:
    theta_KP, optimizer = trained(rule, [0, 1, 2])
    copy_KP = theta_KP.clone()
    copy = make(rule, copy_KP, [0, 1, 2])
    for name, tensor in copy.state.items():
        tensor.copy_(optimizer.state[name])
    for each in (optimizer, copy):
        advance(each, gradients(99), rates(0, [0, 1, 2]))
    assert torch.equal(theta_KP, copy_KP)


def test_a_trial_with_nan_in_its_gradient_changes_no_other(rule: Rule) -> None:
    results = []
    for bad in (1.0, float("nan")):
        theta_KP = noise(3, NUMBERS)
        optimizer, gradient_KP = make(rule, theta_KP, [0, 1, 2]), gradients(0)
        gradient_KP[1] *= bad
        advance(optimizer, gradient_KP, rates(0, [0, 1, 2]))
        results.append(theta_KP)
    assert torch.equal(results[0][[0, 2]], results[1][[0, 2]])
    assert bool(results[1][1].isnan().all())


@pytest.mark.parametrize(
    "rates",
    [
        pytest.param((0.01, 0.02, 1e60), id="a rate for each"),
        pytest.param((0.01,), id="one rate", marks=pytest.mark.slow),
    ],
)
def test_one_buffer_of_all_tensors_gives_the_same_records_and_state(
    rule: Rule, rates: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = "vgg" if rule.name == "nadam" else "mlp"
    optimizer = {"optimizer": rule.name, "momentum": max(rule.momenta), **rule.settings}
    more = {"weight_decay": 0.01, "stop_diverged": True, "clip": {"norm_global": 1.0}, "epochs": 3, "precision": "fp64"}
    model = {"family": family, "width": 8 if family == "mlp" else 4, "activation": "relu"}
    some = small_group(rates, model | {"depth": 2 if family == "mlp" else 5}, seeds=2, **optimizer | more)
    found = []
    for one_buffer in (False, True):
        monkeypatch.setattr(group_state, "one_buffer", lambda *asked, choice=one_buffer: choice)
        progress = finished(some)
        found.append((repr([each.record.measures for each in progress]), progress[-1].snapshot()))
    (records, apart), (same_records, together) = found
    assert apart.trials == together.trials
    assert (apart.trials != some.numbers) == (1e60 in rates)  # trials are dropped on the way
    assert same_records == records
    assert apart.arrays.keys() == together.arrays.keys()
    for name, array in apart.arrays.items():
        assert_close(together.arrays[name], array, EXACT_FLOAT64)
