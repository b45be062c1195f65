"""What will be trained: the order of the trials, the groups they train in, and the name of their folder."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import load, resolve
from bnexp.config.trial import TrialSettings
from bnexp.plan import TrialGroup, groups, parts, run_name, same_trainings, trials
from tests.every_setting import COMPANY, CONTINUOUS, NEVER, SHAPING

CONFIGS = Path(__file__).parents[1] / "configs"


def experiment(**raw: Any) -> ExperimentConfig:
    return resolve({"name": "exp", "arms": {"plain": {}}, "seeds": 1} | raw, "exp.yaml")


def grouped(**raw: Any) -> tuple[TrialGroup, ...]:
    return groups(trials(experiment(**raw)))


def test_trials_are_numbered_point_by_point_arm_by_arm_seed_by_seed() -> None:
    planned = trials(experiment(grid={"train.lr": [1, 2]}, arms=["none", "after"], seeds=[7, 3]))
    assert [(t.number, t.point["train.lr"], t.arm, t.seed) for t in planned] == [
        (0, 1, "none", 7),
        (1, 1, "none", 3),
        (2, 1, "after", 7),
        (3, 1, "after", 3),
        (4, 2, "none", 7),
        (5, 2, "none", 3),
        (6, 2, "after", 7),
        (7, 2, "after", 3),
    ]


def test_a_trial_knows_its_settings() -> None:
    first, second = trials(experiment(grid={"train.lr": [1, 2]}, arms={"slow": {"train.momentum": 0.5}}))
    assert (first.settings.train.lr, second.settings.train.lr) == (1.0, 2.0)
    assert first.settings.train.momentum == second.settings.train.momentum == 0.5
    assert first.settings.model == TrialSettings().model


def two_arms(key: str, value: Any) -> dict[str, Any]:
    company = COMPANY.get(key, {})
    return {"arms": {"default": company, "other": company | {key: value}}}


@pytest.mark.parametrize(("key", "value"), CONTINUOUS.items())
def test_a_continuous_setting_may_differ_within_a_group(key: str, value: Any) -> None:
    (group,) = grouped(**two_arms(key, value))
    assert group.arms == ("default", "other")


@pytest.mark.parametrize(("key", "value"), SHAPING.items())
def test_a_setting_that_shapes_the_computation_splits_groups(key: str, value: Any) -> None:
    assert [group.arms for group in grouped(**two_arms(key, value))] == [("default",), ("other",)]


@pytest.mark.parametrize(("key", "value"), NEVER.items())
def test_a_setting_without_an_effect_splits_no_group(key: str, value: Any) -> None:
    assert len(grouped(**two_arms(key, value))) == 1


SCHEMES = ["normal", "xavier", "he", "lecun", "orthogonal"]


@pytest.mark.parametrize("network", [{"family": "resnet"}, {"residual": True}])
def test_schemes_that_bring_scalars_with_them_have_groups_of_their_own(network: dict[str, Any]) -> None:
    found = grouped(
        model=network | {"norm": "none"},
        grid={"model.init.scheme": [*SCHEMES[:2], "fixup", *SCHEMES[2:], "skipinit"], "model.init.scale": [1, 0.5]},
    )
    schemes = [[trial.settings.model.init.scheme for trial in group.trials] for group in found]
    assert schemes == [[scheme for scheme in SCHEMES for _ in range(2)], ["fixup"] * 2, ["skipinit"] * 2]


def test_two_ways_of_writing_one_shape_make_one_group() -> None:
    (group,) = grouped(arms={"a": {"model.width": 8}, "b": {"model.norm": "before", "model.width": 8}})
    assert group.numbers == (0, 1)


def test_groups_stand_in_the_order_of_their_first_trial_and_hold_every_trial_once() -> None:
    found = grouped(grid={"model.depth": [2, 1]}, arms=["after", "none"], seeds=2)
    assert [(group.settings.model.depth, *group.arms) for group in found] == [
        (2, "after"),
        (2, "none"),
        (1, "after"),
        (1, "none"),
    ]
    assert sorted(number for group in found for number in group.numbers) == list(range(8))


def test_a_group_is_ordered_by_seed_and_within_a_seed_by_number() -> None:
    (group,) = grouped(grid={"train.lr": [1, 2]}, seeds=[5, 0, 3])
    assert group.numbers == (1, 4, 2, 5, 0, 3)
    assert [trial.seed for trial in group.trials] == [0, 0, 3, 3, 5, 5]
    assert [trial.settings.train.lr for trial in group.trials] == [1, 2, 1, 2, 1, 2]
    assert group.settings == group.trials[0].settings


@pytest.mark.parametrize(
    ("kept", "shared"),
    [
        ((0, 1, 2, 3), (0, 1)),
        ((0, 2), (0,)),
        ((0, 3), (0, 1)),
        ((0, 1, 2), (0, 0, 1)),
        ((3,), (1,)),
    ],
)
def test_seeds_share_batches_where_each_has_as_many_trials(kept: tuple[int, ...], shared: tuple[int, ...]) -> None:
    (group,) = grouped(grid={"train.lr": [1, 2]}, seeds=2)
    assert group.numbers == (0, 2, 1, 3)
    assert group.only(kept).shared_seeds == shared


@pytest.mark.parametrize("kept", [(1, 2), [2, 1], {2, 1}, iter((2, 1))])
def test_only_some_trials_of_a_group_keep_their_order(kept: Any) -> None:
    (group,) = grouped(grid={"train.lr": [1, 2]}, seeds=2)
    assert group.only(kept).numbers == (2, 1)
    assert group.numbers == (0, 2, 1, 3)


def test_the_run_is_named_after_the_experiment_and_a_hash() -> None:
    name, _, digest = run_name(experiment(name="my-study")).rpartition("-")
    assert name == "my-study"
    assert len(digest) == 8
    assert int(digest, 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 2},
        {"train": {"lr": 0.2}},
        {"grid": {"train.lr": [0.1]}},
        {"arms": {"plain": {"train.lr": 0.1}}},
        {"arms": {"other": {}}},
    ],
)
def test_the_hash_is_of_everything_but_the_name(change: dict[str, Any]) -> None:
    assert run_name(experiment(**change)) != run_name(experiment())
    assert run_name(experiment(name="other"))[-8:] == run_name(experiment())[-8:]


def test_settings_that_a_later_version_adds_name_no_run_anew() -> None:
    # The documentation prints this name.
    assert run_name(load(CONFIGS / "quickstart.yaml")) == "quickstart-ac89d251"
    assert run_name(experiment(train={"momentum": 0.0, "augment": "none"})) == run_name(experiment())


def test_how_close_a_choice_was_does_not_name_a_run_anew() -> None:
    # Or runs of versions that didn't record it would be trained again.
    raw = {"tune": {"grid": {"train.lr": [0.1, 1]}}, "arms": ["none"]}
    choice = {"arm": "none", "values": {"train.lr": 1}}
    names = {
        run_name(experiment(**raw, tuned=[choice | close]))
        for close in ({}, {"tried": 2, "ties": 1, "lead": 0.25}, {"tried": 2})
    }
    assert len(names) == 1
    assert names != {run_name(experiment(**raw, tuned=[choice | {"values": {"train.lr": 0.1}}]))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"arms": ["none", "before"]}, {"arms": ["before", "none"]}),
        ({"arms": {"a": {}, "b": {"train.lr": 1}}}, {"arms": {"b": {"train.lr": 1}, "a": {}}}),
        (
            {"grid": {"train.lr": [1, 2], "model.depth": [3, 4]}},
            {"grid": {"model.depth": [3, 4], "train.lr": [1, 2]}},
        ),
        (
            {"zip": {"train.lr": [1, 2], "model.depth": [3, 4]}},
            {"zip": {"model.depth": [3, 4], "train.lr": [1, 2]}},
        ),
        ({"seeds": [0, 1]}, {"seeds": [1, 0]}),
    ],
)
def test_runs_of_one_name_have_the_same_columns_and_number_their_trials_alike(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """A run that was interrupted under one order would else continue with the trials of the other."""
    first, second = experiment(**one), experiment(**other)
    assert run_name(first) != run_name(second) or (first.swept, trials(first)) == (second.swept, trials(second))


# Parts


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 40), st.data())
def test_parts_hold_every_trial_once_in_order_and_are_small_enough(
    rates: int, seeds: int, most: int, data: st.DataObject
) -> None:
    (whole,) = groups(
        trials(experiment(arms=["before"], grid={"train.lr": [0.1 + i for i in range(rates)]}, seeds=seeds))
    )
    some = whole.only(data.draw(st.sets(st.sampled_from(whole.numbers), min_size=1)))
    cut = parts(some, most)
    assert [number for part in cut for number in part.numbers] == list(some.numbers)
    assert all(1 <= len(part.trials) <= most for part in cut)


@pytest.mark.parametrize(
    ("most", "sizes"), [(12, [12]), (20, [12]), (11, [4, 8]), (8, [4, 8]), (7, [4, 4, 4]), (4, [4, 4, 4]), (3, [2] * 6)]
)
def test_the_trials_of_a_seed_stay_together_where_they_fit(most: int, sizes: list[int]) -> None:
    rates = [0.1, 0.2, 0.3, 0.4]
    (whole,) = groups(trials(experiment(arms=["before"], grid={"train.lr": rates}, seeds=3)))
    cut = parts(whole, most)
    assert [len(part.trials) for part in cut] == sizes
    # Shared batches: as many as there are seeds, not as trials.
    assert [len(part.shared_seeds) for part in cut] == [max(1, size // 4) for size in sizes]


# Trials that are the same training

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
