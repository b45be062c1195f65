"""What `bnexp show` says of a run before anything is trained: how many workers there are, and what each gets."""

import re
from typing import Any

import torch

from bnexp.analysis.planning import outlook
from bnexp.engines.local import Local
from bnexp.runner.dry_run import overview
from tests.helpers import experiment
from tests.nn.own import user_networks

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


def layers(**raw: Any) -> list[tuple[str, ...]]:
    """Headers and rows of the layer table of an experiment."""
    config = experiment(data={"name": "digits"}, seeds=1, **raw)
    (table,) = overview(config, Local.on("cpu", 1)).tables()
    return [table.headers, *table.rows]


def test_arms_stand_side_by_side_in_the_order_of_the_forward_pass() -> None:
    model = {"depth": 1, "width": 8, "activation": "relu"}
    headers, *rows = layers(model=model, arms={"none": None, "after": None, "before": None, "slow": {"train.lr": 0.01}})
    assert headers == ("layer", "output", "none", "after", "before, slow", "parameters")
    assert rows == [
        ("hidden.0.linear", "8", "Linear", "Linear", "Linear", "520 / 512"),
        ("hidden.0.norm", "8", "-", "-", "•BatchNorm(8)", "32"),
        ("hidden.0.activation", "8", "relu", "relu", "relu", "0"),
        ("hidden.0.norm", "8", "-", "•BatchNorm(8)", "-", "32"),
        ("output", "10", "Linear", "Linear", "Linear", "90"),
        ("parameters", "", "610", "642", "634", ""),
        ("trainable", "", "610", "626", "618", ""),
        ("non-trainable", "", "0", "16", "16", ""),
    ]


def test_layers_of_an_own_network_stand_under_their_names_and_what_does_nothing_is_left_out() -> None:
    arms = {"none": None, "as_written": None, "before": None, "group": {"model.norm": {"kind": "group", "groups": 2}}}
    source = f"{user_networks.__file__}:Small"
    raw = {"model": {"family": "module", "source": source, "arguments": {"classes": 10}}, "arms": arms}
    headers, *rows = layers(**raw)
    assert headers == ("layer", "output", *arms, "parameters")
    assert rows[:5] == [
        ("conv1", "4×8×8", "Conv2d", "Conv2d", "Conv2d", "Conv2d", "40 / 36"),
        ("  .norm_behind.0", "4×8×8", "-", "-", "•BatchNorm(4)", "-", "16"),
        ("bn1", "4×8×8", "-", "•BatchNorm2d(4)", "-", "•GroupNorm(2, 4)", "16 / 8"),
        ("relu", "4×8×8", "ReLU", "ReLU", "ReLU", "ReLU", "0"),
        ("conv2", "8×4×4", "Conv2d", "Conv2d", "Conv2d", "Conv2d", "296"),
    ]
    assert ("drop", "8", *["Dropout"] * 4, "0") in rows


def test_a_sweep_over_depth_has_a_table_for_every_depth() -> None:
    grid = {"model.depth": [1, 2], "train.lr": [0.1, 1.0]}
    config = experiment(data={"name": "digits"}, model={"width": 8}, grid=grid, seeds=1)
    titles = [table.title for table in overview(config, Local.on("cpu", 1)).tables()]
    assert titles == ["model.depth=1", "model.depth=2"]


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


def test_seeds_that_are_added_are_told_by_their_last_look_and_their_first() -> None:
    seeds = {"from": 6, "to": 40, "until": 0.005}
    config = experiment(data={"name": "digits"}, model={"width": 8}, arms=["none", "before"], seeds=seeds)
    *_, last = overview(config, Local.on("cpu", 1)).summary().splitlines()
    assert last == (
        "With all 40 seeds the interval that is valid at every look will be ± 0.387 standard deviations of the "
        "paired differences; with the first 6, ± 1.77."
    )


def test_a_single_process_is_no_worker() -> None:
    _, head, *lines = summary(workers=1)
    assert head.startswith("36 trials in 3 groups, one group after the other on cpu")
    assert not any("worker" in line for line in lines)
