"""Running averages that lag are said, with the share that is left of their start and where it is the largest.

Trials of made-up runs make 40 updates, so that 0.9 ** 40 = 1.5 % of the start is left at the default momentum.
"""

import pytest

from bnexp.analysis.runs import compare_study, study_of

SIX = {"seeds": 6}
REMEDY = "remedy: norm.statistics: population"


def lines(*runs) -> tuple[str, ...]:
    found = compare_study(study_of(runs)).warnings
    return tuple(line for line in found if line.startswith(("running averages", "momentum")))


def test_little_of_the_start_left_is_nothing_to_say(make_folder) -> None:
    assert lines(make_folder(**SIX)) == ()


def test_much_of_it_is_said_with_updates_and_momentum(make_folder) -> None:
    # 0.99 ** 40 = 0.669
    run = make_folder(**SIX, model={"norm": {"momentum": 0.01}})
    left = "after 40 updates, 67 % of their initial value is still in them (norm.momentum 0.01)"
    assert lines(run) == (f"running averages of before: {left}; {REMEDY}",)


@pytest.mark.parametrize("kind", ["whiten", "noisy_batch"])
@pytest.mark.parametrize("family", ["mlp", "vgg"])
def test_other_kinds_over_the_batch_have_running_averages_too(make_folder, kind: str, family: str) -> None:
    model = {"family": family, "norm": {"momentum": 0.01}, "depth": 5 if family == "vgg" else 2}
    run = make_folder(**SIX, arms={"none": None, "tried": {"model.norm.kind": kind}}, model=model)
    assert [line.split(":")[0] for line in lines(run)] == ["running averages of tried"]


@pytest.mark.parametrize("norm", [{"statistics": "population"}, {"kind": "layer"}, {"kind": "group", "groups": 1}])
def test_what_does_not_evaluate_with_them_has_none(make_folder, norm: dict) -> None:
    arms = {"none": None, "tried": {f"model.norm.{key}": value for key, value in norm.items()}}
    assert lines(make_folder(**SIX, arms=arms, model={"norm": {"momentum": 0.01}})) == ()


def test_where_the_momentum_is_swept_the_worst_grid_point_is_named(make_folder) -> None:
    # 0.999 ** 40 = 0.961, 0.98 ** 40 = 0.446
    run = make_folder(**SIX, grid={"model.norm.momentum": [0.001, 0.02, 0.1]})
    left = "after 40 updates, 96 % of their initial value is still in them (norm.momentum 0.001; the worst of 2 such"
    assert lines(run) == (f"running averages of before: {left} grid points: model.norm.momentum 0.001); {REMEDY}",)
    one = make_folder(**SIX, grid={"model.norm.momentum": [0.02, 0.1]})
    assert "(norm.momentum 0.02; only at model.norm.momentum 0.02)" in lines(one)[0]


def test_an_arm_has_its_own_momentum(make_folder) -> None:
    arms = {"none": None, "before": None, "slow": {"model.norm.kind": "batch", "model.norm.momentum": 0.0001}}
    (line,) = lines(make_folder(**SIX, arms=arms))
    assert "running averages of slow: after 40 updates, nearly all of their initial value" in line


def test_trials_that_did_not_complete_say_nothing(make_folder) -> None:
    norm = {"norm": {"momentum": 0.01}}
    run = make_folder(**SIX, model=norm, outcomes=dict.fromkeys(range(6, 12), "diverged"))
    assert lines(run) == ()


def test_a_momentum_as_in_keras_is_asked_about(make_folder) -> None:
    run = make_folder(**SIX, model={"norm": {"momentum": 0.99}})
    question = "norm.momentum 0.99 gives the newest batch a weight of 0.99; Keras' 0.99 is written 0.01 here"
    assert lines(run) == (f"momentum: {question}",)
    assert lines(make_folder(**SIX, model={"norm": {"momentum": 0.5}})) == ()
    assert lines(make_folder(**SIX, model={"norm": {"momentum": 1}})) == (
        "momentum: norm.momentum 1 gives the newest batch a weight of 1",
    )
