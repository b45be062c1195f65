"""The study: its metrics, the names of its columns, and what guessing scores."""

import numpy as np
import pytest

from bnexp.analysis.study import ABOVE_CHANCE, METRICS, chance, choose_metric, full_key, metric_text
from bnexp.errors import InputError
from tests.analysis.conftest import a_study
from tests.helpers import experiment

# The metric defaults to what was measured, and a wrong one is answered with the right ones.


@pytest.fixture
def trials():
    return a_study([{"arm": "none", "seed": 0, "accuracy": 0.9}]).trials


def test_test_accuracy_comes_first_then_validation_then_training(trials) -> None:
    assert choose_metric(trials) == "final_test_accuracy"
    assert choose_metric(trials.assign(final_test_accuracy=np.nan)) == "final_train_accuracy"
    assert choose_metric(trials.assign(final_test_accuracy=np.nan, final_val_accuracy=0.8)) == "final_val_accuracy"
    blank = trials.assign(**dict.fromkeys(METRICS, np.nan))  # before any trial finishes every metric may be asked for
    assert choose_metric(blank) == "final_test_accuracy"
    assert all(choose_metric(blank, name) == name for name in METRICS)


def test_an_unknown_or_unmeasured_metric_is_answered_with_the_right_ones(trials) -> None:
    with pytest.raises(
        InputError, match=r"--metric final_test_acuracy: no such metric \(nearest: final_test_accuracy\)"
    ) as e:
        choose_metric(trials, "final_test_acuracy")
    assert str(e.value).endswith("there are " + ", ".join(METRICS))
    with pytest.raises(
        InputError, match="--metric final_val_accuracy: was not measured in this run; measured: final_test_acc"
    ):
        choose_metric(trials, "final_val_accuracy")


def test_texts() -> None:
    assert metric_text("final_test_accuracy", 0.95349) == "0.953"
    assert metric_text("final_test_accuracy", 0.5, sign=True) == "+0.500"
    assert metric_text("final_test_accuracy", -0.5, sign=True) == "-0.500"
    assert metric_text("final_train_loss", 0.00012345) == "0.000123"
    assert metric_text("final_train_loss", None) == "-"


# Names of columns as people write them.

KNOWN = ["arm", "train.lr", "model.init.scale", "data.scale", "lr_end"]


@pytest.mark.parametrize(
    ("written", "key"),
    [("train.lr", "train.lr"), ("lr", "train.lr"), ("init.scale", "model.init.scale"), ("arm", "arm")],
)
def test_a_key_may_be_written_by_its_end(written: str, key: str) -> None:
    assert full_key(written, KNOWN, "") == key


@pytest.mark.parametrize(
    ("written", "known", "message"),
    [
        ("scale", KNOWN, "scale: could be model.init.scale or data.scale; write one of them in full"),
        ("arn", KNOWN, f"arn: no such column (nearest: arm); there are {', '.join(KNOWN)}"),
        ("xyz", KNOWN, f"xyz: no such column; there are {', '.join(KNOWN)}"),
        ("train.momentum", KNOWN, f"train.momentum: not swept; there are {', '.join(KNOWN)}"),
        ("r", ["train.lr"], "r: no such column; there are train.lr"),  # parts, not letters
        ("lr", [], "lr: no such column; the trials differ in arm and seed only, nothing is swept"),
    ],
)
def test_what_is_no_column_or_could_be_two_is_refused(written: str, known: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        full_key(written, known, "--by ")
    assert str(error.value) == f"--by {message}"


# What guessing scores: one in so many classes, and with few test images what the largest class may have of them.


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # 10,000 images: three standard errors are 0.009, less than ABOVE_CHANCE
        ({"name": "mnist"}, (0.1, ABOVE_CHANCE)),
        ({"name": "cifar100"}, (0.01, ABOVE_CHANCE)),
        ({"name": "mnist", "test_size": 1000}, (0.1, 3 * np.sqrt(0.09 / 1000))),
        ({"name": "mnist", "test_size": 0, "val_size": 500}, (0.1, 3 * np.sqrt(0.09 / 500))),
        ({"name": "image_folder"}, None),
    ],
)
def test_chance_is_one_in_so_many_classes_and_the_margin_is_larger_with_few_images(
    data: dict[str, object], expected: tuple[float, float] | None
) -> None:
    found = chance([experiment(data=data)])
    assert (found and (found.accuracy, found.margin, found.measured)) == (
        expected and (*map(pytest.approx, expected), False)
    )


def test_the_fewest_images_count_and_what_has_not_as_many_classes_has_no_chance() -> None:
    few, many = (experiment(data={"name": "mnist", "test_size": size}) for size in (200, 2000))
    assert chance([few, many]) == chance([many, few]) == chance([few])
    swept = experiment(data={"name": "mnist"}, grid={"data.test_size": [2000, 200], "train.lr": [0.1, 1.0]})
    assert chance([swept]) == chance([few])
    whole = experiment(grid={"data": [{"name": "mnist", "test_size": 200}, {"name": "mnist", "test_size": 2000}]})
    assert chance([whole]) == chance([few])
    assert chance([few, experiment(data={"name": "cifar100"})]) is None
