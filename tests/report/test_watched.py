"""What `bnexp watch --json` says of a run, from forged folders: trials by arm, steps, and accuracies over the seeds."""

from typing import Any

import pytest
from scipy import stats

from bnexp.report.watched import Watched, WatchedArm, watched
from bnexp.report.watching import look
from bnexp.store.following import Pulse
from tests.helpers import NEAR_FLOAT64, assert_close
from tests.report.test_watching import TRAINING, TRIAL, partly_trained
from tests.store.conftest import MadeRun, make_run  # noqa: F401


@pytest.fixture
def run(make_run: Any) -> MadeRun:  # noqa: F811
    """Two arms with three seeds: of `none` one ended, one diverged and one is in epoch 4 of 10; `before` waits."""
    return partly_trained(make_run(**TRIAL, seeds=3))


def seen(run: MadeRun, now: Pulse = TRAINING) -> Watched:
    return watched(look(run.path), now, 90.0)


def test_trials_are_counted_by_arm_and_the_slowest_group_says_how_far_it_is(run: MadeRun) -> None:
    found = seen(run)
    assert (found.run, found.state, found.left, found.accuracy) == (run.path.name, "training", 90.0, "test_accuracy")
    assert (found.epoch, found.step, found.steps) == (4, 24, 60)
    none, before = found.arms
    assert (none.trials, none.ended, none.diverged, none.running, none.waiting) == (3, 2, 1, 1, 0)
    assert before == WatchedArm("before", 3, 0, 0, 0, 3, seeds=0, mean=None, low=None, high=None)


def test_the_interval_is_over_the_seeds_newest_accuracies(run: MadeRun) -> None:
    none = seen(run).arms[0]
    newest = look(run.path).latest["none"]
    assert (none.seeds, len(newest)) == (3, 3)
    low, high = stats.t.interval(0.95, 2, newest.mean(), stats.sem(newest))
    assert_close((none.mean, none.low, none.high), (newest.mean(), max(low, 0), min(high, 1)), NEAR_FLOAT64)


@pytest.mark.parametrize("state", ["stopped", "ended"])
def test_no_time_is_left_where_nothing_trains(run: MadeRun, state: Any) -> None:
    assert seen(run, Pulse(state, "here", 200.0)).left is None
