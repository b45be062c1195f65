"""Test images that one arm gets wrong and the other right, counted by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.misclassified import Disagreement, disagreements, kept_images, misclassified, shown_point
from bnexp.analysis.stats import mean_interval
from bnexp.analysis.study import Study
from tests.analysis.conftest import a_study
from tests.helpers import keep_predictions

LABELS = [0, 1, 2, 3]
NONE = [[0, 1, 2, 0], [0, 1, 0, 0], [0, 1, 0, 3]]
"""What the baseline predicts with seeds 0, 1 and 2."""
BEFORE = [[1, 1, 2, 0], [2, 1, 2, 3], [2, 0, 2, 3]]


def study(folder: Path, predicted: Sequence[Sequence[int]] = (*NONE, *BEFORE), labels: Sequence[int] = LABELS) -> Study:
    """Two arms with three seeds."""
    made = a_study({"arm": arm, "seed": seed, "accuracy": 0.5} for arm in ("none", "before") for seed in range(3))
    return replace(
        made,
        trials=made.trials.assign(run="a-run", number=made.trials["trial"]),
        records={"a-run": keep_predictions(folder / "a-run", labels, predicted)},
    )


def only(study: Study) -> Disagreement:
    found = misclassified(study, compare_arms(study))
    assert found is not None
    (arm,) = found.arms
    return arm


@pytest.fixture
def found(tmp_path: Path) -> Disagreement:
    return only(study(tmp_path))


def test_images_are_counted_seed_by_seed(found: Disagreement) -> None:
    assert (found.arm, found.baseline, found.point, found.seeds, found.planned) == ("before", "none", {}, 3, 3)
    assert found.lost == mean_interval([1, 1, 2], (0, 4))
    assert found.won == mean_interval([0, 2, 1], (0, 4))
    assert found.both == mean_interval([1, 0, 0], (0, 4))


def test_the_counts_differ_by_the_difference_of_the_accuracies(found: Disagreement) -> None:
    right, partner_right = (np.mean(np.array(rows) == LABELS) for rows in (BEFORE, NONE))
    assert found.lost.mean is not None
    assert found.won.mean is not None
    assert found.won.mean - found.lost.mean == pytest.approx(len(LABELS) * (right - partner_right))


def test_training_again_with_another_seed_differs_in_so_many_images(found: Disagreement) -> None:
    # Of the baseline's seeds 0, 1 and 2, images 3, {2, 3} and 2 are wrong.
    assert found.between_seeds == pytest.approx((0 + 1 + 1 + 1 + 1 + 0) / 6)


def test_the_images_with_the_largest_difference_come_first(found: Disagreement) -> None:
    losses = [(each.number, each.label, each.predicted, each.wrong, each.partner_wrong) for each in found.losses(9)]
    assert losses == [(0, 0, 2, 3, 0), (1, 1, 0, 1, 0)]
    gains = [(each.number, each.label, each.predicted, each.wrong, each.partner_wrong) for each in found.gains(9)]
    assert gains == [(2, 2, 0, 0, 2), (3, 3, 0, 1, 2)]
    assert [each.number for each in found.gains(1)] == [2]
    assert [each.number for each in found.gains(9, among=np.array([0, 3]))] == [3]


def test_of_equal_images_the_first_comes_first(tmp_path: Path) -> None:
    equal = only(study(tmp_path, [LABELS] * 3 + [[3, 2, 1, 0]] * 3))
    assert [each.number for each in equal.losses(3)] == [0, 1, 2]
    assert equal.gains(3) == []


def test_pairs_without_predictions_are_left_out_and_counted(tmp_path: Path) -> None:
    fewer = only(study(tmp_path, [*NONE, BEFORE[0]]))
    assert (fewer.seeds, fewer.planned) == (1, 3)
    assert (fewer.lost.mean, fewer.lost.low, fewer.between_seeds) == (1, None, None)


def test_predictions_for_other_images_are_left_out(tmp_path: Path) -> None:
    other = study(tmp_path, labels=[0, 1, 2])
    assert misclassified(other, compare_arms(other)) is None


def test_runs_without_kept_images_have_nothing_to_show(tmp_path: Path) -> None:
    older = replace(study(tmp_path), records={})
    assert misclassified(older, compare_arms(older)) is None


def test_runs_show_the_images_of_all_of_them_unless_their_tests_differ(tmp_path: Path) -> None:
    one, same, other = (
        keep_predictions(tmp_path / name, labels, [labels])
        for name, labels in {"a": [4, 5], "b": [4, 5], "c": [5, 4]}.items()
    )
    several = kept_images(replace(study(tmp_path), records={"one": one, "same": same}))
    assert several is not None
    assert several.numbers_M.tolist() == [0, 1]
    assert several.images_MCHW[:, 0, 0, 0].tolist() == [0, 1]
    assert kept_images(replace(study(tmp_path / "again"), records={"one": one, "other": other})) is None


RATES = (0.1, 0.3, 1.0)


def swept(val: Sequence[float], tmp_path: Path) -> Study:
    """Three learning rates, with a validation accuracy each that is the same for both arms but the other way round."""
    made = a_study(
        {
            "arm": arm,
            "seed": seed,
            "train.lr": rate,
            "accuracy": 0.5,
            "val": val[place if arm == "none" else -1 - place],
        }
        for place, rate in enumerate(RATES)
        for arm in ("none", "before")
        for seed in range(2)
    )
    record = keep_predictions(tmp_path / "a-run", LABELS, [LABELS] * len(made.trials))
    return replace(made, trials=made.trials.assign(run="a-run", number=made.trials["trial"]), records={"a-run": record})


@pytest.mark.parametrize(("val", "expected"), [((0.9, 0.5, 0.1), 0.1), ((0.1, 0.5, 0.9), 1.0), ((np.nan,) * 3, 0.3)])
def test_what_is_shown_is_the_baselines_best_on_validation_images_or_the_middle(
    tmp_path: Path, val: Sequence[float], expected: float
) -> None:
    made = swept(val, tmp_path)
    comparison = compare_arms(made)
    assert RATES[shown_point(made, comparison)] == expected
    (arm,) = disagreements(made, comparison, np.array(LABELS))
    assert (arm.point, arm.seeds) == ({"train.lr": expected}, 2)
