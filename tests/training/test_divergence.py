"""Diverged is a state: not finite, which is for good, or above the limit until a batch loss comes back below it."""

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bnexp.data.batches import batch_orders
from bnexp.plan import TrialGroup
from bnexp.records import DIVERGED_FACTOR, EpochRecord, Outcome
from bnexp.training.divergence import Divergence
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import Progress
from tests.helpers import PLAIN_FLOAT64, TOGETHER_FLOAT64, assert_close, finished, made_up_data, small_group

GUESSING = math.log(3)
CALM, OVERSHOOTS, STAYS_ABOVE, OVERFLOWS = 0.001, 0.5, 1e30, 1e200
"""Learning rates of `group`. By the second, losses lie above the limit for most of two epochs and then come back."""
PER_EPOCH = 6
"""96 made-up images in batches of 16."""


def group(*rates: float, **train: Any) -> TrialGroup:
    """A network without norm layers under RMSprop, whose first update is ten times the rate in every weight."""
    model = {"width": 32, "activation": "leaky_relu", "norm": "none"}
    return small_group(rates, model, **{"epochs": 3, "optimizer": "rmsprop", "precision": "fp64"} | train)


def records(some: TrialGroup) -> list[EpochRecord]:
    return [each.record for each in finished(some)]


# The definition


Found = tuple[int, bool, float, int]
"""Diverged since (0: not), for good, the highest finite loss, and its step (0: none)."""


def defined(losses: Sequence[float]) -> Found:
    """The definition, applied to a trial's batch losses so far."""
    limit = DIVERGED_FACTOR * max(losses[0], GUESSING) if losses else math.inf
    lost = [not all(map(math.isfinite, losses[: step + 1])) for step in range(len(losses))]
    above = [loss > limit or gone for loss, gone in zip(losses, lost, strict=True)]
    held = len(list(takewhile(bool, reversed(above))))
    known = [loss for loss in losses if math.isfinite(loss)]
    highest = max(known, default=-math.inf)
    return len(above) - held + 1 if held else 0, any(lost), highest, losses.index(highest) + 1 if known else 0


def watched(losses_SK: np.ndarray, asked_every: int = 5) -> list[Found]:
    """What the device's state says at the end; it is asked on the way, too."""
    divergence = Divergence(losses_SK.shape[1], GUESSING, asked_every, torch.zeros(1, dtype=torch.float64))
    for step, loss_K in enumerate(torch.from_numpy(losses_SK), start=1):
        divergence.record(loss_K, torch.tensor(step))
        if step % asked_every == 0:
            divergence.settle()
    divergence.settle()
    return [(int(since), bool(lost), high, int(at)) for since, lost, high, at in divergence.rows().T.tolist()]


losses = st.one_of(st.floats(0, 5), st.floats(1e3, 1e7), st.sampled_from([1e300, math.nan, math.inf]))


@given(st.lists(st.tuples(losses, losses, losses), min_size=1, max_size=12), st.integers(1, 12))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_state_is_the_definition_applied_to_the_batch_losses(rows: list[tuple[float, ...]], asked: int) -> None:
    losses_SK = np.array(rows)
    assert watched(losses_SK, asked) == [defined(losses_K.tolist()) for losses_K in losses_SK.T]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2.0, 5e3, 1.0], (0, False, 5e3, 2)),  # a spike that comes back
        ([2.0, 5e3, 1.0, 6e3, 7e3], (4, False, 7e3, 5)),  # the stretch that lasts counts, not the first
        ([2.0, 5e3, math.nan, 1.0], (2, True, 5e3, 2)),  # for good, from the stretch that led there
        ([2.0, math.inf, 1.0], (2, True, 2.0, 1)),
        ([2.0, 1999.0, 2000.0], (0, False, 2000.0, 3)),
        ([1e-9, 1e3, 1e3], (0, False, 1e3, 2)),  # a lucky first batch: guessing sets the limit
        ([math.nan, math.nan], (1, True, -math.inf, 0)),
    ],
)
def test_cases_by_hand(losses: list[float], expected: Found) -> None:
    assert watched(np.array(losses)[:, None]) == [expected]
    assert defined(losses) == expected


def test_a_number_of_the_state_that_is_not_finite_is_for_good_whatever_the_losses() -> None:
    divergence = Divergence(3, GUESSING, 3, torch.zeros(1))
    divergence.record(torch.tensor([1.0, 1.0, 1.0]), torch.tensor(1))
    divergence.record(torch.tensor([1.0, 1e6, 1e6]), torch.tensor(2))
    divergence.mark_nonfinite(torch.tensor([True, True, False]), torch.tensor(2))
    divergence.record(torch.tensor([1.0, 1.0, 1.0]), torch.tensor(3))
    divergence.settle()
    assert divergence.rows()[:2].tolist() == [[2, 2, 0], [1, 1, 0]]


# In a network


def step_of(train_state: GroupTrainState, number: int) -> None:
    """An update that changes no parameter, so that only the test changes the loss."""
    batch_SB, rate_K1 = torch.arange(16)[None], torch.zeros(len(train_state.group.trials), 1, dtype=torch.float64)
    train_state.update(batch_SB, rate_K1, torch.tensor(number))


def test_the_limit_of_the_first_loss_still_holds_after_an_interruption() -> None:
    some = group(0.1, 0.2)
    train_state, continued = (GroupTrainState(some, made_up_data(some)) for _ in range(2))
    step_of(train_state, 1)
    continued.load_state_dict(train_state.state_dict())
    continued.network.get_parameter("output.bias").data[-1] = torch.tensor([1e6, 1e6, 0.0])
    step_of(continued, 2)
    assert continued.state_dict()["divergence.since"].tolist() == [0, 2]


def by_hand(some: TrialGroup, start: dict[str, np.ndarray], trial: int, rate: float) -> list[float]:
    """The batch losses of a trial in plain PyTorch, from its first weights and in its order of images."""
    data = made_up_data(some)
    linears = [nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 3)]
    network = nn.Sequential(linears[0], nn.LeakyReLU(), linears[1], nn.LeakyReLU(), linears[2]).double()
    for name, linear in zip(("hidden.0.linear", "hidden.1.linear", "output"), linears, strict=True):
        for part in ("weight", "bias"):
            values = torch.from_numpy(start[f"network.{name}.{part}"][trial])
            linear.get_parameter(part).data = values.reshape(linear.get_parameter(part).shape)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=rate)
    found = []
    for epoch in (1, 2, 3):
        (order_N,) = batch_orders([0], epoch, 96, 16, "epoch", True)
        for batch_B in order_N.split(16):
            loss = F.cross_entropy(network(data.inputs(data.train.images_NP[batch_B])), data.train.labels_N[batch_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    return found


RATES = (CALM, OVERSHOOTS, STAYS_ABOVE, OVERFLOWS)


@pytest.fixture(scope="module")
def each_step() -> list[Progress]:
    """Four trials that calmly learn, come back, stay above the limit and overflow; recorded at every step."""
    return finished(group(*RATES, record_at={"range": [1, 18, 1]}))


@pytest.mark.parametrize("trial", range(3))  # the fourth overflows in the record, before a batch shows it
def test_the_records_say_what_a_plain_pytorch_loop_finds(each_step: list[Progress], trial: int) -> None:
    batch_losses = by_hand(group(*RATES), each_step[0].snapshot().arrays, trial, RATES[trial])
    for step, each in enumerate(each_step):
        since, _, highest, at = defined(batch_losses[:step])
        record = each.record
        assert (record.diverged_step[trial] or 0, record.highest_batch_loss_step[trial] or 0) == (since, at), step
        if at:
            assert_close(record.highest_batch_loss[trial], highest, PLAIN_FLOAT64)


def test_a_trial_that_comes_back_has_completed_with_its_highest_loss_beside_it(each_step: list[Progress]) -> None:
    last = each_step[-1].record
    calm, overshot, above, lost = last.outcomes(last.trials)
    assert calm == Outcome(0, "completed", None, last.highest_batch_loss[0], last.highest_batch_loss_step[0])
    assert (overshot.kind, overshot.diverged_step) == ("completed", None)
    assert overshot.highest_batch_loss is not None
    assert overshot.highest_batch_loss > DIVERGED_FACTOR * GUESSING
    assert (above.kind, above.diverged_step) == ("diverged", 2)
    assert math.isfinite(last.measures["train_loss"][2])
    assert lost == Outcome(3, "diverged", 1, last.highest_batch_loss[3], 1)


def test_trials_together_say_what_each_says_alone() -> None:
    together = records(group(*RATES))
    for k, rate in enumerate(RATES):
        for one, other in zip(records(group(rate)), together, strict=True):
            assert one.diverged_step[0] == other.diverged_step[k]
            assert one.highest_batch_loss_step[0] == other.highest_batch_loss_step[k]
            assert_close(one.highest_batch_loss[0] or 0, other.highest_batch_loss[k] or 0, TOGETHER_FLOAT64)


# Stopping


def test_a_trial_is_stopped_after_a_whole_epoch_above_the_limit_or_once_it_is_not_finite() -> None:
    some = group(*RATES, stop_diverged=True)
    progress = finished(some)
    assert progress[1].record.diverged_step == (None, 2, 2, 2)
    assert [(each.record.step, each.ended) for each in progress] == [
        (0, ()),
        (PER_EPOCH, (3,)),
        (2 * PER_EPOCH, (2,)),
        (3 * PER_EPOCH, (0, 1)),
    ]


def test_stopping_changes_nothing_for_a_trial_that_comes_back() -> None:
    stopping, going_on = (records(group(OVERSHOOTS, stop_diverged=stop)) for stop in (True, False))
    assert [each.measures for each in stopping] == [each.measures for each in going_on]
