"""The same training on a GPU: same start and batches, curves to float tolerance, and nothing waits inside an epoch."""

from typing import Any

import pytest
import torch

from bnexp.engines.devices import data_key
from bnexp.engines.local import execute
from bnexp.engines.messages import Job
from bnexp.plan import groups, trials
from bnexp.training import loop
from bnexp.training import work as trial_axis
from bnexp.training.graphs import no_waiting, updater
from bnexp.training.group_state import GroupTrainState
from tests.helpers import GPU_FLOAT64, assert_close, crossed, curve, experiment, finished, made_up_data, only_group
from tests.training.test_convolutional_learning import LEARNERS, learned, learner
from tests.training.test_graphs import CASES, RESNET, VGG, group


@pytest.mark.parametrize("optimizer", crossed(["sgd", "adam", "nadam", "rmsprop"], fast=4))
def test_a_group_trains_on_the_gpu_as_on_the_cpu(optimizer: str, gpu: torch.device) -> None:
    config = experiment(
        model={"depth": 3, "width": 8, "activation": "tanh"},
        arms=["none", "before", "after"],
        train={"epochs": 3, "batch_size": 16, "optimizer": optimizer, "lr": 0.01, "precision": "fp64"},
        grid={"train.lr": [0.01, 0.003]},
        seeds=2,
    )
    for some in groups(trials(config)):
        data = made_up_data(some)
        there = data.to(gpu)
        on_cpu = [each.record for each in finished(some, data)]
        on_gpu = [each.record for each in finished(some, there)]
        for number in some.numbers:
            assert_close(curve(on_gpu, number), curve(on_cpu, number), GPU_FLOAT64)


IMAGE_NETWORKS: dict[str, dict[str, Any]] = {
    "vgg": VGG | {"norm": "before"},
    "vgg without norm": VGG | {"norm": "none"},
    "resnet": RESNET | {"norm": {"placement": "after", "addition": "after"}},
    "resnet with layer norm": RESNET | {"norm": "layer"},
    "resnet with group norm": RESNET | {"norm": {"kind": "group", "groups": 2}},
    "whitened resnet": RESNET | {"norm": {"kind": "whiten", "group_size": 2}},
    "fixup": RESNET | {"norm": "none", "init": "fixup"},
}


@pytest.mark.parametrize(("name", "at_once"), crossed(list(IMAGE_NETWORKS), [1, 2, None], fast=20))
def test_convolutions_train_on_the_gpu_as_on_the_cpu(
    name: str, at_once: int | None, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_axis, "trials_at_once", lambda *_: at_once)
    some = only_group(
        experiment(
            model=IMAGE_NETWORKS[name],
            arms={"only": {}},
            train={"epochs": 3, "batch_size": 16, "lr": 0.05, "momentum": 0.9, "precision": "fp64"},
            grid={"train.weight_decay": [0, 0.01]},
            seeds=2,
        )
    )
    data = made_up_data(some, side=6, channels=3)
    on_cpu = [each.record for each in finished(some, data)]
    on_gpu = [each.record for each in finished(some, data.to(gpu))]
    for number in some.numbers:
        assert_close(curve(on_gpu, number), curve(on_cpu, number), GPU_FLOAT64)


@pytest.mark.parametrize(("model", "precision"), crossed(list(LEARNERS), ["fp32", "tf32", "bf16"], fast=20))
def test_convolutions_learn_in_every_precision(model: str, precision: str, gpu: torch.device) -> None:
    some = learner(model, precision)
    assert learned(finished(some, made_up_data(some).to(gpu)))


@pytest.mark.parametrize("model", [{}, VGG, RESNET])
def test_initial_weights_are_the_cpus_exactly(model: dict[str, Any], gpu: torch.device) -> None:
    some = only_group(experiment(model={"depth": 2, "width": 8} | model, train={"batch_size": 16}, seeds=2))
    data = made_up_data(some)
    here, there = GroupTrainState(some, data), GroupTrainState(some, data.to(gpu))
    for one, other in zip(here.network.parameters(), there.network.parameters(), strict=True):
        assert torch.equal(one, other.cpu())


@pytest.mark.parametrize("name", crossed(sorted(set(CASES) - {"bf16", "stops diverged"}), fast=10))
def test_replaying_the_captured_update_equals_launching_it(
    name: str, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = group(**{"precision": "fp64"} | CASES[name])
    data = made_up_data(some).to(gpu)
    replayed = [each.record for each in finished(some, data)]
    monkeypatch.setattr(loop, "updater", lambda train_state: train_state.update)
    launched = [each.record for each in finished(some, data)]
    for number in some.numbers:
        assert_close(curve(replayed, number), curve(launched, number), GPU_FLOAT64)


WITHOUT_WAITING = ["plain", "dropout", "adam", "clipping", "bf16", "noise", "augmentation", "vgg", "resnet", "fixup"]


@pytest.mark.parametrize("name", crossed(WITHOUT_WAITING, fast=4))
def test_an_update_never_waits_for_the_gpu(name: str, gpu: torch.device) -> None:
    some = group(**CASES[name])
    train_state = GroupTrainState(some, made_up_data(some).to(gpu))
    update = updater(train_state)
    batch_SB = torch.zeros(len(some.shared_seeds), some.settings.train.batch_size, dtype=torch.int64, device=gpu)
    rate_K1 = torch.full((len(some.trials), 1), 0.1, device=gpu)
    step = torch.ones((), dtype=torch.int64, device=gpu)
    with no_waiting():
        for act in (update, train_state.update):
            act(batch_SB, rate_K1, step)


def test_a_group_that_does_not_fit_is_cut_and_gives_the_same_curves(gpu: torch.device) -> None:
    units, seeds = (1024, 32) if gpu.type == "cuda" else (64, 8)
    some = only_group(
        experiment(
            model={"depth": 3, "width": units},
            train={"batch_size": 32, "epochs": 2, "precision": "fp64", "lr": 0.01},
            seeds=seeds,
        )
    )
    data = made_up_data(some).to(gpu)
    whole = [each.record for each in finished(some, data)]
    # Parameters of 8 bytes each take as much again for their gradients.
    parameters = 8 * sum(each.numel() for each in GroupTrainState(some, data).network.parameters())
    torch.cuda.empty_cache()
    # The graphs of the stand-in keep all that they make.
    room = torch.cuda.memory_reserved() + (1.6 if gpu.type == "cuda" else 8) * parameters
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        seen = list(execute([Job.new(some)], {data_key(some): data}))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any(event.parts for event in seen)
    assert [event.failure for event in seen if event.failure] == []
    for number in some.numbers:
        (last,) = (event.job for event in seen if event.progress and number in event.progress.ended)
        records = [event.progress.record for event in seen if event.progress and event.job is last]
        assert_close(curve(records, number), curve(whole, number), GPU_FLOAT64)
