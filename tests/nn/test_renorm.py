"""Batch renormalization: algorithm 1 of the paper, its limits at every update, and what depends on its averages."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bnexp.config.norm import NormSettings
from bnexp.nn.batch_variants import Relaxation, Renorm
from bnexp.plan import TrialGroup
from tests.helpers import EXACT_FLOAT64, assert_close
from tests.nn.plain import PlainRenorm
from tests.nn.test_norm import TRIALS, activations, make, of_trial, references, together
from tests.probes.looking import find, in_training, probe, prober, rates, values
from tests.training.test_own_batch import FAMILIES, ByHand, grouped

LIMITS = {"batch norm": (1.0, 0.0), "tight": (1.1, 0.2), "the paper's": (3.0, 5.0)}


def limited(r_max: float, d_max: float, layout: str) -> tuple[Renorm, list[Any]]:
    """A layer whose running averages have seen two batches, and plain ones of each trial."""
    norm = make("renorm", eps=0.1)
    alone = references("renorm", norm, layout)
    assert isinstance(norm, Renorm)
    norm.limit(r_max, d_max)
    for one in alone:
        one.r_max, one.d_max = r_max, d_max
    for number in (0, 2):
        norm(activations(layout, number))
        for k, one in enumerate(alone):
            one(of_trial(activations(layout, number), k))
    return norm, alone


@pytest.mark.parametrize("layout", ["features", "images"])
@pytest.mark.parametrize("limits", LIMITS)
def test_outputs_gradients_averages_and_evaluation_are_those_of_the_paper(limits: str, layout: str) -> None:
    norm, alone = limited(*LIMITS[limits], layout)
    x = activations(layout, 1).requires_grad_()
    y, by_hand = norm(x), together([one(of_trial(x, k)) for k, one in enumerate(alone)])
    assert_close(y.detach(), by_hand.detach(), EXACT_FLOAT64)
    found = torch.autograd.grad(y.pow(3).sum(), [x, norm.gamma, norm.beta])
    learned = [theta for one in alone for theta in (one.weight, one.bias)]
    expected_x, *expected = torch.autograd.grad(by_hand.pow(3).sum(), [x, *learned])
    for mine, theirs in zip(found, (expected_x, torch.stack(expected[::2]), torch.stack(expected[1::2])), strict=True):
        assert_close(mine, theirs, EXACT_FLOAT64)
    for name in ("running_mean", "running_std"):
        assert_close(norm.get_buffer(name), torch.stack([one.get_buffer(name) for one in alone]), EXACT_FLOAT64)
    x = x.detach()
    evaluated = together([one.eval()(of_trial(x, k)) for k, one in enumerate(alone)])
    assert_close(norm.eval()(x).detach(), evaluated.detach(), EXACT_FLOAT64)


def test_without_limits_a_batch_is_normalised_as_in_evaluation() -> None:
    norm, _ = limited(1e9, 1e9, "images")
    x = activations("images", 1)
    evaluated = norm.eval()(x)
    assert_close(norm.train()(x).detach(), evaluated.detach(), EXACT_FLOAT64)


def test_one_trial_out_of_bounds_changes_no_other() -> None:
    norm, alone = limited(1.5, 0.5, "features")
    x = activations("features", 1)
    x[1] *= 1e6
    assert_close(norm(x)[2].detach(), alone[2](x[2]).detach(), EXACT_FLOAT64)


@pytest.mark.parametrize(
    ("step", "r_max", "d_max"),
    [(0, 1, 0), (10, 1, 0), (20, 1.5, 2.5), (30, 2, 5), (40, 2.5, 5), (50, 3, 5), (99, 3, 5)],
)
def test_the_limits_grow_evenly_from_those_of_batch_norm(step: int, r_max: float, d_max: float) -> None:
    norm = make("renorm")
    Relaxation(norm, NormSettings(kind="renorm", relax_at=(10, 50, 30)), 100)(torch.tensor(step))
    limits = torch.tensor([[r_max, d_max]] * TRIALS, dtype=torch.float64)
    assert_close(norm.get_buffer("limits"), limits, EXACT_FLOAT64)


def test_by_default_they_grow_over_shares_of_the_training() -> None:
    assert NormSettings(kind="renorm").relaxed_at(100_000) == (5_000, 40_000, 25_000)
    assert NormSettings(kind="renorm").relaxed_at(7) == (1, 2, 1)


NORM: dict[str, Any] = {"kind": "renorm", "r_max": 1.5, "d_max": 0.8, "relax_at": [1, 4, 3]}


class Relaxed(ByHand):
    """Sets the limits of every plain layer before an update."""

    made = 0

    def __init__(self, group: TrialGroup):
        super().__init__(group)
        *hidden, _ = (layer for layer in self.network.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
        for layer in hidden:  # which have no bias in bnexp
            assert layer.bias is not None
            layer.bias.requires_grad_(False)

    def step(self, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        self.made += 1
        r_share, d_share = (min(max((self.made - 1) / (end - 1), 0), 1) for end in (4, 3))
        for layer in self.network.modules():
            if isinstance(layer, PlainRenorm):
                layer.r_max, layer.d_max = 1 + 0.5 * r_share, 0.8 * d_share
        super().step(optimizer, batch)


@pytest.mark.parametrize("family", ["mlp", "vgg", "resnet"])
def test_a_training_is_that_of_a_program_that_sets_the_limits_at_every_update(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.training.test_own_batch.PLAIN_NORMS", (PlainRenorm,))
    (group,) = grouped(FAMILIES[family] | {"norm": NORM})
    by_hand = Relaxed(group)
    by_hand.train()
    by_hand.assert_same()


PROBES = ["gradient_norm", {"name": "variance_shift", "batches": 2}, "mode_gap", {"name": "batch_spread", "batches": 2}]


def test_probes_find_the_same_whatever_was_measured_before() -> None:
    train_state = in_training({"depth": 2, "width": 6, "norm": NORM})
    for step in (1, 2, 3):
        batch_SB = torch.arange(16)[None] + 16 * step
        train_state.update(batch_SB, torch.full((2, 1), 0.1, dtype=torch.float64), torch.tensor(step))
    alone: dict[Any, Any] = {}
    for written in PROBES:
        alone |= find(train_state, written, step=3)
    for order in (PROBES, PROBES[::-1]):
        for key, value in find(train_state, *order, step=3).items():
            assert_close(value, alone[key], EXACT_FLOAT64)


@pytest.mark.parametrize("norm", [NORM, {"freeze_at": 2}])
def test_probes_normalise_with_the_averages_of_the_moment(norm: dict[str, Any]) -> None:
    train_state = in_training({"depth": 2, "width": 6, "norm": norm})
    from_the_start, settings = prober(train_state, "gradient_norm"), [probe("gradient_norm")]
    for step in (1, 2, 3):
        if step == norm.get("freeze_at"):
            train_state.freeze()
            from_the_start.freeze()
        batch_SB = torch.arange(16)[None] + 16 * step
        train_state.update(batch_SB, torch.full((2, 1), 0.1, dtype=torch.float64), torch.tensor(step))
    found = values(from_the_start.measure(settings, 0, 3, rates(train_state)))
    for key, value in find(train_state, "gradient_norm", step=3).items():
        assert_close(found[key], value, EXACT_FLOAT64)


def test_mode_gap_sees_batch_statistics_alone_as_batch_norm_does() -> None:
    found = {}
    for kind in ("batch", "renorm"):
        train_state = in_training({"depth": 2, "width": 6, "norm": {"kind": kind}})
        found[kind] = find(train_state, "mode_gap")
    key = ("", "mode_gap.batch")
    assert_close(found["renorm"][key], found["batch"][key], EXACT_FLOAT64)


def test_variance_shift_is_told_of_the_variance_that_evaluation_divides_by() -> None:
    norm, _ = limited(1.0, 0.0, "features")
    expected = torch.sqrt(norm.running_var + norm.eps)
    assert_close(norm.running_std, expected, EXACT_FLOAT64)
