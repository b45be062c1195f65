"""Seeds that are added until a question is decided: how they are written, and how many there are at each look."""

from typing import Any

import pytest

from bnexp.config.experiment import ExperimentConfig, at_look, searches
from bnexp.config.load import resolve
from bnexp.config.seeds import MoreSeeds, look_text
from tests.helpers import experiment

PLAN = {"from": 6, "to": 40, "until": 0.005}


@pytest.mark.parametrize(
    ("first", "to", "looks"), [(6, 40, (6, 8, 11, 15, 20, 27, 36, 40)), (3, 4, (3, 4)), (10, 12, (10, 12))]
)
def test_each_look_has_a_third_more_seeds_up_to_the_last(first: int, to: int, looks: tuple[int, ...]) -> None:
    assert MoreSeeds(first=first, to=to, until="settled").looks == looks


def test_the_short_form_is_the_first_seeds_and_a_plan() -> None:
    config = experiment(arms=["none", "before"], seeds=PLAN)
    assert config.seeds == tuple(range(6))
    assert config.more_seeds == MoreSeeds(first=6, to=40, until=0.005)
    assert at_look(config, 8).seeds == tuple(range(8))
    assert ExperimentConfig.model_validate(at_look(config, 8).model_dump()) == at_look(config, 8)
    assert look_text(config.more_seeds, 8) == (
        "look 2 of at most 8: 8 of at most 40 seeds, until the interval is ± 0.005 or narrower"
    )


def test_a_search_adds_no_seeds() -> None:
    config = experiment(arms=["none", "before"], seeds=PLAN, tune={"grid": {"train.lr": [0.1, 1]}, "seeds": 2})
    assert searches(config)[0].more_seeds is None
    assert searches(config)[0].seeds == (1000, 1001)


@pytest.mark.parametrize("seeds", [6, {"from": 3, "to": 9, "until": 0.1}])
def test_overrides_reach_the_parts_of_the_plan_to_add_seeds(seeds: Any) -> None:
    parts = ["seeds.from=6", "seeds.to=20", "seeds.until=settled"]
    config = resolve({"name": "exp", "seeds": seeds}, "exp.yaml", parts)
    assert config == resolve({"name": "exp", "seeds": {"from": 6, "to": 20, "until": "settled"}}, "exp.yaml")
    assert config.origin.overrides == tuple(parts)
