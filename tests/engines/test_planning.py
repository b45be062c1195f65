"""Groups that don't fit a device are cut, the largest come first, and a trial too large for a CPU is refused."""

import pytest
import torch

from bnexp.data.catalog import DataShape
from bnexp.data.machine import free_memory
from bnexp.engines import planning
from bnexp.engines.planning import USABLE, fitted
from bnexp.errors import InputError
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training.estimate import Footprint
from tests.helpers import experiment

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SHAPE = DataShape(image=(1, 4, 4), classes=3, train=96, val=0, test=32)


def two_groups() -> tuple[TrialGroup, ...]:
    """Six trials with BN and six without."""
    config = experiment(
        arms=["none", "before"], model={"depth": 1, "width": 4}, grid={"train.lr": [0.1, 0.2, 0.3]}, seeds=2
    )
    return groups(trials(config))


def size(group: TrialGroup, shape: DataShape = SHAPE, device: torch.device = CPU, probes: object = ()) -> Footprint:
    """BN's trials take twice the memory."""
    return Footprint(per_trial=200 if group.arms == ("before",) else 100, shared=50)


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "footprint", size)


def cut(room: float, device: torch.device = CPU) -> list[TrialGroup]:
    return fitted(two_groups(), lambda group: SHAPE, int(room / USABLE + 1), device)


def planned(room: float, device: torch.device = CPU) -> list[tuple[str, int]]:
    return [(group.arms[0], len(group.trials)) for group in cut(room, device)]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (1250, [("before", 6), ("none", 6)]),
        (1249, [("none", 6), ("before", 3), ("before", 3)]),
        (250, [("before", 1)] * 6 + [("none", 2), ("none", 1), ("none", 2), ("none", 1)]),
    ],
)
def test_what_does_not_fit_is_cut_and_the_largest_comes_first(room: int, expected: list[tuple[str, int]]) -> None:
    assert sorted(planned(room)) == sorted(expected)
    takes = [size(group).of(len(group.trials)) for group in cut(room)]
    assert takes == sorted(takes, reverse=True)


def test_no_trial_is_lost_or_doubled() -> None:
    for room in (250, 300, 700, 10_000):
        assert sorted(number for part in cut(room) for number in part.numbers) == list(range(12))


def test_one_trial_too_large_for_the_cpu_is_refused_with_the_numbers_and_a_remedy() -> None:
    with pytest.raises(
        InputError, match=r"one trial \(before\) takes about 0 MiB and 0 MiB are free; lower train.batch"
    ):
        planned(200)


def test_one_trial_too_large_for_a_gpu_is_tried_alone() -> None:
    assert planned(100, GPU) == [("before", 1)] * 6 + [("none", 1)] * 6


def test_free_memory_is_that_of_the_machine() -> None:
    assert 2**26 < free_memory(CPU) < 2**50
