"""The memory that a group will take, by counting; held against what torch really allocates."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from bnexp.config.train import OPTIMIZERS
from bnexp.data.catalog import DataShape
from bnexp.plan import TrialGroup
from bnexp.records import Snapshot
from bnexp.store.checkpoints import Checkpoints
from bnexp.training import estimate as memory
from bnexp.training import work as trial_axis
from bnexp.training.estimate import CHUNK_TENSORS, HOST_COPIES, footprint
from bnexp.training.group_state import CHUNK_NUMBERS, GroupTrainState
from bnexp.training.work import Demand
from tests.helpers import crossed, made_up_data, rates_group
from tests.nn.own import user_networks

SHAPE, CPU = DataShape(image=(1, 4, 4), classes=3, train=96, val=16, test=32), torch.device("cpu")


def size(some: TrialGroup) -> Demand:
    return footprint(some, SHAPE, CPU)


@pytest.mark.parametrize(
    ("larger", "train"),
    [({"width": 16}, {}), ({"depth": 4}, {}), ({}, {"batch_size": 32}), ({}, {"optimizer": "adam"})],
)
def test_memory_grows_with_what_takes_memory(larger: dict[str, Any], train: dict[str, Any]) -> None:
    assert size(rates_group(model=larger, **train)).per_trial > size(rates_group()).per_trial


MODELS: dict[str, dict[str, Any]] = {
    "many weights": {"depth": 2, "width": 160},
    "many activations": {"depth": 6, "width": 24, "activation": "gelu"},
    "no norm": {"norm": "none"},
    "dropout": {"dropout": 0.5},
}


@pytest.mark.parametrize(("optimizer", "model"), crossed(list(OPTIMIZERS), list(MODELS), fast=3))
def test_the_count_is_near_what_is_allocated_and_rather_above(optimizer: str, model: str) -> None:
    train = {"optimizer": optimizer, "weight_decay": 0.1, "momentum": 0.9, "batch_size": 64}
    some = rates_group(16, {"depth": 3, "width": 48} | MODELS[model], **train)
    measured, counted = measured_and_counted(some)
    assert 0.6 * counted < measured < counted


@pytest.mark.parametrize("kind", ["as_written", "batch"])
def test_a_network_of_ones_own_that_computes_at_once_takes_what_is_counted(kind: str) -> None:
    source = f"{user_networks.__file__}:Perceptron"
    own = {"family": "module", "source": source, "arguments": {"width": 160}, "depth": None, "width": None}
    measured, counted = measured_and_counted(rates_group(16, own | {"norm": kind}, batch_size=64))
    assert 0.5 * counted < measured < counted


PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "slices": ({"norm": {"over": 16}}, {}),
    "slices of pictures": ({"norm": {"over": 16}, "family": "vgg", "depth": 5}, {}),
    "micro-batches": ({"depth": 6, "activation": "gelu"}, {"batch_size": 256, "accumulate": 8}),
    "micro-batches of many weights": ({"width": 160}, {"batch_size": 256, "accumulate": 8}),
    "micro-batches of pictures": ({"family": "vgg", "depth": 5}, {"batch_size": 256, "accumulate": 8}),
}


@pytest.mark.parametrize("name", crossed(list(PARTS), fast=3))
def test_parts_of_a_batch_take_what_is_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_axis, "trials_at_once", lambda *_: None)
    monkeypatch.setattr(memory, "trials_at_once", lambda *_: None)
    model, train = PARTS[name]
    measured, counted = measured_and_counted(
        rates_group(16, {"depth": 3, "width": 48} | model, **{"batch_size": 64} | train)
    )
    assert 0.5 * counted < measured < counted


DRAWING: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.5, "depth": 8},
    "noise": {"norm": "noisy_batch"},
    "noise and dropout": {"norm": "noisy_batch", "dropout": 0.5, "depth": 8},
    "whitening": {"norm": "whiten"},
    "variance": {"norm": "variance"},
    "rms": {"norm": "rms"},
    "whitening and dropout": {"norm": {"kind": "whiten", "group_size": 8}, "dropout": 0.5},
}


@pytest.mark.parametrize(("seeds", "model"), crossed([1, 16], list(DRAWING), fast=3))
def test_what_layers_draw_counts_also_where_every_trial_has_a_seed_of_its_own(seeds: int, model: str) -> None:
    some = rates_group(16 // seeds, {"depth": 3, "width": 48} | DRAWING[model], seeds, batch_size=64)
    measured, counted = measured_and_counted(some)
    assert 0.55 * counted < measured < counted


IMAGES: dict[str, dict[str, Any]] = {
    "vgg": {"family": "vgg", "depth": 5},
    "vgg with dropout": {"family": "vgg", "depth": 5, "dropout": 0.3},
    "resnet": {"family": "resnet", "depth": 8, "norm": {"placement": "after", "addition": "after"}},
    "resnet with noise": {"family": "resnet", "depth": 8, "norm": "noisy_batch"},
    "resnet, instances": {"family": "resnet", "depth": 8, "norm": "instance"},
    "resnet, rms": {"family": "resnet", "depth": 8, "norm": "rms"},
    "whitened resnet": {"family": "resnet", "depth": 8, "norm": "whiten"},
    "fixup": {"family": "resnet", "depth": 8, "norm": "none", "init": "fixup"},
}


@pytest.mark.parametrize(("model", "at_once"), crossed(list(IMAGES), [1, 2, None], fast=10))
def test_convolutions_take_what_is_counted_for_the_trials_that_compute_at_once(
    at_once: int | None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memory, trial_axis):
        monkeypatch.setattr(module, "trials_at_once", lambda *_: at_once)
    monkeypatch.setattr(memory, "branches", lambda *_: 1)  # as on the CPU that measures
    some = rates_group(2, {"width": 8, "activation": "relu"} | IMAGES[model], 3, batch_size=64)
    measured, counted = measured_and_counted(some, side=8)
    assert 0.5 * counted < measured < counted


def test_trials_that_compute_one_after_the_other_share_the_memory_of_their_activations() -> None:
    few = {"epochs": None, "steps": 2, "record_at": [1]}
    some, many = (size(rates_group(1, {"family": "vgg", "depth": 5}, batch_size=batch, **few)) for batch in (16, 64))
    assert some.per_trial == many.per_trial
    assert some.shared < many.shared


def measured_and_counted(some: TrialGroup, side: int = 4) -> tuple[int, int]:
    """The most bytes that two steps allocate at once, and what is counted for them.

    They are measured on a CPU and counted for a GPU, where nothing is saved meanwhile. What else only a GPU takes is
    left out of the count: larger pieces of a split, and whose each row of the one buffer is, with its rates.
    """
    data, trials = made_up_data(some, 256, side=side), len(some.trials)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        train_state = GroupTrainState(some, data)
        for step in (1, 2):
            batch_SB = torch.arange(some.settings.train.batch_size).expand(len(some.shared_seeds), -1)
            train_state.update(batch_SB, torch.full((trials, 1), 0.01), torch.tensor(step))
    takes = footprint(some, data.shape, torch.device("cuda"))
    measuring = 4 * CHUNK_TENSORS * CHUNK_NUMBERS["cuda"]
    at_once = memory.trials_at_once(some.settings.model, data.shape, torch.device("cuda")) is None
    rows = at_once * sum(theta.nbytes for theta in train_state.network.parameters())
    return _peak(seen), takes.of(trials) - measuring - rows


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_on_the_cpu_the_copies_that_saving_makes_count(optimizer: str, tmp_path: Path) -> None:
    some = rates_group(16, {"depth": 2, "width": 160}, optimizer=optimizer, momentum=0.9)
    train_state, checkpoints = GroupTrainState(some, made_up_data(some)), Checkpoints(tmp_path)
    state = sum(tensor.nbytes for tensor in train_state.state_dict().values())
    (tmp_path / "checkpoints").mkdir()
    tracemalloc.start()
    arrays = {name: tensor.numpy().copy() for name, tensor in train_state.state_dict().items()}
    checkpoints.save(0, Snapshot(some.numbers, 1, 1, 0.0, arrays))
    copies = tracemalloc.get_traced_memory()[1] / state
    tracemalloc.stop()
    assert HOST_COPIES - 1 < copies < HOST_COPIES + 0.1
    assert 16 * size(some).per_trial > (1 + copies) * state


def _peak(seen: profile) -> int:
    """The most bytes that were allocated at once."""
    changes = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = torch.tensor([event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]).cumsum(0)  # type: ignore[attr-defined]
    return int(alive.max())
