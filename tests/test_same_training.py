"""Before training, bnexp says which trials are the same training."""

from bnexp.plan import same_trainings, trials
from tests.helpers import experiment

THREE = [0.01, 0.1, 0.5]


def told(**raw: object) -> list[str]:
    return list(same_trainings(trials(experiment(**{"arms": ["none", "before"], "seeds": 2} | raw))))


def test_a_setting_without_effect_repeats_the_trainings_of_an_arm() -> None:
    assert told(grid={"train.lr": [0.1, 1], "model.norm.momentum": THREE}) == [
        "model.norm.momentum has no effect on none: its 12 trials are only 4 different trainings, each trained 3 times"
    ]


def test_several_settings_without_effect_are_named_together() -> None:
    assert told(arms=["none"], seeds=1, grid={"model.norm.groups": [1, 2], "model.norm.momentum": THREE}) == [
        "model.norm.groups and model.norm.momentum have no effect on none: its 6 trials are all the same training"
    ]


def test_an_effect_on_some_trials_is_told_as_that() -> None:
    grid = {"train.schedule": ["constant", "step"], "train.schedule_options.factor": THREE}
    assert told(arms=["none"], grid=grid) == [
        "train.schedule_options.factor has no effect on some trials of none: "
        "its 12 trials are only 8 different trainings"
    ]


def test_a_setting_that_an_arm_decides_repeats_its_trainings() -> None:
    assert told(arms={"own": {"train.lr": 1}, "swept": {}}, seeds=1, grid={"train.lr": [0.1, 0.2]}) == [
        "train.lr has no effect on own: its 2 trials are all the same training"
    ]


def test_seeds_and_settings_with_an_effect_repeat_nothing() -> None:
    assert told(grid={"train.lr": [0.1, 1]}, seeds=5) == []
    assert told() == []
