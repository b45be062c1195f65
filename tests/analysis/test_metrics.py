"""The metric defaults to what was measured, and a wrong one is answered with the right ones."""

import numpy as np
import pytest

from bnexp.analysis.study import METRICS, choose_metric, metric_text
from bnexp.errors import InputError


@pytest.fixture
def trials(make_run):
    return make_run({"arm": "none", "seed": 0, "accuracy": 0.9})[0]


def test_test_accuracy_comes_first_then_validation_then_training(trials) -> None:
    assert choose_metric(trials) == "final_test_accuracy"
    assert choose_metric(trials.assign(final_test_accuracy=np.nan)) == "final_train_accuracy"
    both = trials.assign(final_test_accuracy=np.nan, final_val_accuracy=0.8)
    assert choose_metric(both) == "final_val_accuracy"


def test_before_any_trial_finishes_every_metric_may_be_asked_for(trials) -> None:
    blank = trials.assign(**dict.fromkeys(METRICS, np.nan))
    assert choose_metric(blank) == "final_test_accuracy"
    assert all(choose_metric(blank, name) == name for name in METRICS)


def test_an_unknown_metric_names_the_nearest_and_all(trials) -> None:
    with pytest.raises(InputError, match=r"unknown metric 'final_test_acuracy' \(nearest: final_test_accuracy\)") as e:
        choose_metric(trials, "final_test_acuracy")
    assert str(e.value).endswith("known: " + ", ".join(METRICS))


def test_an_unmeasured_accuracy_names_the_measured_ones(trials) -> None:
    with pytest.raises(InputError, match="final_val_accuracy was not measured in this run; measured: final_test_acc"):
        choose_metric(trials, "final_val_accuracy")


def test_a_loss_that_diverged_everywhere_is_still_a_metric(trials) -> None:
    assert choose_metric(trials.assign(final_train_loss=np.nan), "final_train_loss") == "final_train_loss"


def test_texts() -> None:
    assert metric_text("final_test_accuracy", 0.95349) == "0.953"
    assert metric_text("final_test_accuracy", 0.5, sign=True) == "+0.500"
    assert metric_text("final_test_accuracy", -0.5, sign=True) == "-0.500"
    assert metric_text("final_train_loss", 0.00012345) == "0.000123"
    assert metric_text("final_train_loss", None) == "-"
