"""The ladder: differences to no normalization and to whole batch normalization, the best arm first."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import pytest

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.comparison import Comparison
from bnexp.analysis.ladder import whole_batch_norm, with_ladder
from bnexp.analysis.study import Study
from tests.analysis.conftest import a_study
from tests.helpers import experiment

ARMS = {
    "none": {"model.norm.kind": "none"},
    "no_gamma": {"model.norm.affine": "beta"},
    "layer": {"model.norm.kind": "layer"},
    "bn": {"model.norm.momentum": 0.2},
}
ACCURACIES = {"none": 0.5, "no_gamma": 0.8, "layer": 0.75, "bn": 0.9}


def study_of_arms(arms: Mapping[str, Mapping[str, object]], rates: tuple[float, ...] = (0.1, 1)) -> Study:
    config = experiment(arms=dict(arms), seeds=3)
    rows = []
    for lr, (arm, mean), seed in product(rates, ACCURACIES.items(), range(3)):
        accuracy = mean + 0.01 * seed * len(arm) - 0.1 * (lr == 1)
        rows.append({"arm": arm, "seed": seed, "train.lr": lr, "accuracy": accuracy, "val": accuracy})
    rows = [row for row in rows if row["arm"] in arms]
    return replace(a_study(rows, list(arms)), settings={arm: config.settings(arm, {}) for arm in arms})


def laddered(study: Study) -> Comparison:
    return with_ladder(compare_arms(study), study)


def test_rungs_are_the_differences_of_two_comparisons_the_best_arm_first() -> None:
    study = study_of_arms(ARMS)
    found = laddered(study)
    assert [rung.arm for rung in found.ladder] == ["bn", "no_gamma", "layer", "none"]
    for baseline, prefix in (("none", ""), ("bn", "to_full_")):
        compared = compare_arms(study, baseline=baseline)
        for rows, regime in ((compared.overall, ""), (compared.best, "best_")):
            for row in rows:
                rung = next(rung for rung in found.ladder if rung.arm == row.arm)
                for name in ("difference", "difference_low", "difference_high", "p"):
                    assert getattr(rung, f"{regime}{prefix}{name}") == getattr(row, name)


def test_without_a_grid_no_arm_has_a_best_point() -> None:
    rungs = laddered(study_of_arms(ARMS, rates=(0.1,))).ladder
    assert {rung.best_difference for rung in rungs} == {None}
    assert rungs[0].difference == pytest.approx(0.4 + 0.01 * (2 - 4))


@pytest.mark.parametrize("left_out", ["none", "bn", "layer"])
def test_there_is_no_ladder_without_its_ends_or_with_few_arms(left_out: str) -> None:
    arms = {name: changes for name, changes in ARMS.items() if name != left_out}
    assert laddered(study_of_arms(arms)).ladder == ()


def test_whole_batch_norm_is_the_arm_of_which_nothing_is_left_out() -> None:
    assert whole_batch_norm(study_of_arms(ARMS)) == "bn"
    assert whole_batch_norm(study_of_arms({**ARMS, "bn": {"model.norm.gamma": 0.1}})) is None
