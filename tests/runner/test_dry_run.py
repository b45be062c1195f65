"""What `bnexp show` says of a run before anything is trained: how many workers there are, and what each gets."""

import re

import torch

from bnexp.analysis.planning import outlook
from bnexp.engines.local import Local
from bnexp.runner.dry_run import overview
from tests.helpers import experiment

CONFIG = experiment(
    data={"name": "digits"},
    model={"depth": 2, "width": 8},
    arms=["none", "before", "after"],
    grid={"train.lr": [0.1, 0.2, 0.3]},
    seeds=4,
)


def summary(workers: int) -> list[str]:
    engine = Local((torch.device("cpu"),), cores=workers, most_workers=workers)
    return overview(CONFIG, engine).summary().splitlines()


def test_every_worker_has_its_lines_in_order() -> None:
    _, head, *lines, seeds = summary(workers=2)
    assert re.match(r"36 trials in \d+ groups, 2 groups at once on cpu \(.* free\), about ", head)
    found = [re.match(r"  worker (\d): (\d+) trials? \((.*)\): about .*, \d+ MiB$", line) for line in lines]
    workers, counts, arms = zip(*(each.groups() for each in found if each), strict=True)
    assert len(workers) == len(lines)
    assert list(workers) == sorted(workers)
    assert {*workers} == {"1", "2"}
    assert sum(map(int, counts)) == 36
    assert {*arms} == {"none", "before", "after"}
    assert seeds == outlook(len(CONFIG.seeds))


def test_a_single_process_is_no_worker() -> None:
    _, head, *lines = summary(workers=1)
    assert head.startswith("36 trials in 3 groups, one group after the other on cpu")
    assert not any("worker" in line for line in lines)
