"""`tune:`: what may be tuned, with which seeds, and what an experiment that tunes comes to."""

from typing import Any

import pytest

from bnexp.config.experiment import (
    ExperimentConfig,
    default_config,
    final_config,
    must_choose,
    searches,
)
from bnexp.config.load import resolve
from bnexp.config.tuning import Choice
from bnexp.errors import ConfigError

RATES = {"grid": {"train.lr": [0.1, 1]}, "seeds": 2}


def experiment(*overrides: str, **raw: Any) -> ExperimentConfig:
    return resolve({"name": "exp", "tune": RATES} | raw, "exp.yaml", overrides)


def choices(config: ExperimentConfig, rate: float = 1) -> list[Choice]:
    return [Choice(arm=arm, point=point, values={"train.lr": rate}) for point in config.points() for arm in config.arms]


@pytest.mark.parametrize(
    ("seeds", "resolved"), [(1, (1000,)), (3, (1000, 1001, 1002)), ([7, 5], (7, 5)), (None, (1000, 1001))]
)
def test_seeds_for_choosing_are_others_than_those_measured(seeds: object, resolved: tuple[int, ...]) -> None:
    tune = {"grid": RATES["grid"]} | ({} if seeds is None else {"seeds": seeds})
    assert experiment(tune=tune).tune.seeds == resolved


def test_choosing_tries_everything_everywhere_with_its_own_seeds() -> None:
    config = experiment(grid={"model.depth": [1, 2]}, arms=["none", "after"], probes=["default"])
    stage = searches(config)[0]
    assert (stage.name, stage.seeds, stage.probes) == ("exp.tuning", (1000, 1001), ())
    assert stage.grid == {"model.depth": (1, 2), "train.lr": (0.1, 1)}
    assert (list(stage.arms), must_choose(config), must_choose(stage)) == (["none", "after"], True, False)
    assert len(stage.points()) == 4


SAMPLE: dict[str, Any] = {
    "sample": {"train.lr": {"loguniform": [0.001, 10]}, "model.dropout": {"uniform": [0, 0.5]}},
    "trials": 4,
}


def test_every_arm_tries_the_same_draws_at_every_grid_point() -> None:
    paired = {"model.depth": [1, 2], "model.width": [8, 16]}
    config = experiment(tune=SAMPLE, zip=paired, grid={"train.batch_size": [10, 20]}, arms=["none", "after"])
    (stage,) = searches(config)
    assert (stage.name, stage.seeds, len(stage.points())) == ("exp.tuning", (1000, 1001), 2 * 4 * 2)
    for point in config.points():
        tried = [each for each in stage.points() if point.items() <= each.items()]
        assert [{key: each[key] for key in SAMPLE["sample"]} for each in tried] == config.tune.candidates()
    assert resolve(stage.model_dump(mode="json"), "again") == stage


def test_every_study_draws_anew() -> None:
    config = experiment(tune=SAMPLE | {"studies": 3}, seeds=3)
    assert [stage.name for stage in searches(config)] == ["exp.tuning1", "exp.tuning2", "exp.tuning3"]
    assert [stage.seeds for stage in searches(config)] == [(1000, 1001), (1002, 1003), (1004, 1005)]
    rates = [stage.zip["train.lr"] for stage in searches(config)]
    assert len({rate for each in rates for rate in each}) == 12


def test_measuring_gives_every_arm_what_it_chose_at_its_grid_point() -> None:
    config = experiment(grid={"model.depth": [1, 2]}, arms=["none", "after"])
    values = {("none", 1): 0.1, ("none", 2): 1, ("after", 1): 1, ("after", 2): 0.1}
    chosen = [
        Choice(arm=arm, point={"model.depth": depth}, values={"train.lr": rate})
        for (arm, depth), rate in values.items()
    ]
    measured = final_config(config, chosen)
    found = {
        (arm, point["model.depth"]): measured.settings(arm, point).train.lr
        for point in measured.points()
        for arm in measured.arms
    }
    assert found == values
    assert not must_choose(measured)
    assert resolve(measured.model_dump(mode="json"), "again") == measured


def test_without_tuning_all_arms_have_the_settings_as_written() -> None:
    config = final_config(experiment(train={"lr": 0.5}), choices(experiment()))
    plain = default_config(config)
    assert plain == resolve({"name": "exp", "train": {"lr": 0.5}}, "exp.yaml")
    assert plain.settings("none", {}).train.lr == 0.5


@pytest.mark.parametrize("change", [lambda found: found[:1], lambda found: [*found, found[0]]])
def test_a_file_with_other_choices_than_its_arms_and_points_is_refused(change: Any) -> None:
    config = experiment()
    chosen = [choice.model_dump() for choice in change(choices(config))]
    raw = config.model_dump(mode="json") | {"tuned": chosen}
    with pytest.raises(ConfigError, match="tuned: expected one entry for each arm at each grid point"):
        resolve(raw, "exp.yaml")
