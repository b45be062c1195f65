"""A recorded update, repeated: the numbers of the plain one, to the bit."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from bnexp.plan import TrialGroup
from bnexp.streams import SeedGenerators
from bnexp.training import graphs, group_state, loop
from bnexp.training import work as trial_axis
from bnexp.training.graphs import GraphedEvaluation, GraphedUpdate, updater
from bnexp.training.group_state import GroupTrainState
from tests.gpu.pretended_cuda import PretendedCuda
from tests.helpers import finished, made_up_data, small_group
from tests.nn.own import user_networks

VGG: dict[str, Any] = {"family": "vgg", "depth": 5, "width": 4, "activation": "relu"}
RESNET: dict[str, Any] = {"family": "resnet", "depth": 8, "width": 4, "activation": "relu"}


OWN: dict[str, Any] = {"family": "module", "depth": None, "width": None}


def own(name: str, **model: Any) -> dict[str, Any]:
    """A network of the tests' own file."""
    return OWN | {"source": f"{user_networks.__file__}:{name}"} | model


NOTHING_DRAWN = SeedGenerators([], torch.device("cpu"))


def group(**special: Any) -> TrialGroup:
    return small_group(**{"rates": (0.1, 0.02), "seeds": 2, "epochs": 2} | special)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one trial": {"seeds": 1, "rates": (0.1,)},
    "257 trials": {"seeds": 1, "rates": [0.1 + i / 1000 for i in range(257)]},
    "dropout": {"model": {"dropout": 0.3}},
    "rnn": {"model": {"family": "rnn", "depth": 1, "activation": "tanh", "dropout": 0.3}},
    "smaller last batch": {"model": {"dropout": 0.3}, "batch_size": 20, "drop_last": False},
    "schedule": {"schedule": "one_cycle"},
    "momentum": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
    "nadam": {"optimizer": "nadam"},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.5},
    "adaptive clipping": {"clip": {"adaptive": 0.01}},
    "clipping": {"clip": {"value": 0.1, "norm_per_tensor": 0.2, "norm_global": 0.3}},
    "input norm": {"model": {"norm": {"input": True, "placement": "after"}}},
    "layer norm": {"model": {"norm": {"kind": "layer"}}},
    "group norm": {"model": {"norm": {"kind": "group", "groups": 2}, "residual": True}},
    "bf16": {"precision": "bf16"},
    "smoothed labels": {"label_smoothing": 0.1},
    "stops diverged": {"model": {"activation": "relu"}, "rates": (0.1, 1e30), "stop_diverged": True},
    "overshoots": {"model": {"width": 32, "activation": "leaky_relu", "norm": "none"}, "rates": (0.5, 1.0)}
    | {"optimizer": "rmsprop"},
    "records within an epoch": {"record_at": [1, 4, 7]},
    "population statistics": {"model": {"norm": {"statistics": "population"}}},
    "slices of a batch": {"model": {"norm": {"over": 4}}},
    "slices of pictures": {"model": VGG | {"norm": {"over": 4}}, "batch_size": 32},
    "micro-batches": {"model": {"dropout": 0.3}, "accumulate": 4, "clip": {"norm_global": 0.3}, "augment": "flip_crop"},
    "frozen within an epoch": {"model": {"dropout": 0.3, "norm": {"freeze_at": 4}}, "augment": "flip_crop"},
    "noise": {"model": {"norm": "noisy_batch", "dropout": 0.3}, "seeds": [4, 1]},
    "augmentation": {"augment": "flip_crop_cutout"},
    "vgg": {"model": VGG | {"norm": "noisy_batch", "dropout": 0.3}, "seeds": [4, 1], "augment": "flip_crop_cutout"}
    | {"batch_size": 32},
    "resnet": {"model": RESNET | {"dropout": 0.3}, "batch_size": 20, "drop_last": False, "augment": "flip_crop"},
    "own network": {"model": own("Small", norm={"placement": "after", "kind": "batch"}), "rates": (0.1,)},
    "fixup": {"model": RESNET | {"init": "fixup", "norm": "none"}, "optimizer": "adam", "batch_size": 32},
    "standardized weights": {"model": VGG | {"weights": "standardized", "norm": "layer"}, "batch_size": 32},
    "norm alone": {"only": "norm", "optimizer": "adam"},
    "scaled weights": {"model": {"weights": "scaled", "norm": "none"}, "optimizer": "adam"},
    "skipinit": {"model": RESNET | {"init": "skipinit", "norm": "none"}, "batch_size": 32},
}
"""Arguments of `group` by what is special about it."""


LONG = {*list(CASES)[1::2], "slices of pictures", "fixup", "skipinit"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in CASES])
def test_repeating_the_recorded_update_gives_the_same_bits(
    name: str, pretended_cuda: PretendedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = group(**CASES[name])
    data = made_up_data(some)
    plain = finished(some, data)
    monkeypatch.setattr(loop, "updater", lambda train_state: GraphedUpdate(train_state, graphs.cuda_graph))
    monkeypatch.setattr(loop, "evaluator", lambda train_state: GraphedEvaluation(train_state, graphs.cuda_graph))
    for one, other in zip(finished(some, data), plain, strict=True):
        same = replace(one.record, seconds=other.record.seconds)
        assert repr(same) == repr(other.record)  # as text, so that NaN equals NaN


@pytest.mark.parametrize("at_once", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_shards_are_recorded_too(at_once: int, pretended_cuda: PretendedCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_axis, "trials_at_once", lambda *_: at_once)
    monkeypatch.setattr(group_state, "branches", lambda *_: 2)
    test_repeating_the_recorded_update_gives_the_same_bits("vgg", pretended_cuda, monkeypatch)


def test_recording_leaves_the_state_as_it_was(pretended_cuda: PretendedCuda) -> None:
    some = group(optimizer="nadam")
    train_state, untouched = (GroupTrainState(some, made_up_data(some)) for _ in range(2))
    GraphedUpdate(train_state, graphs.cuda_graph)
    assert all(torch.equal(train_state.state_dict()[name], tensor) for name, tensor in untouched.state_dict().items())


def test_the_pretended_graph_refuses_what_a_graph_cannot_do(pretended_cuda: PretendedCuda) -> None:
    number = torch.zeros(1)

    def act() -> None:
        number.fill_(number.item())

    with pytest.raises(AssertionError, match="hand a number to the host"):
        graphs.cuda_graph(act, NOTHING_DRAWN)


def test_the_pretended_graph_repeats_no_python(pretended_cuda: PretendedCuda) -> None:
    calls, number = [], torch.zeros(1)
    repeat = graphs.cuda_graph(lambda: calls.append(number.add_(1)), NOTHING_DRAWN)
    made = len(calls)
    repeat()
    assert (len(calls), number.item()) == (made, made + 1)


def test_everything_is_captured_on_one_stream_after_warming_up_there(pretended_cuda: PretendedCuda) -> None:
    ran = []
    for _ in range(2):
        graphs.cuda_graph(lambda: ran.append(pretended_cuda.entered[-1]), NOTHING_DRAWN)
    (stream,) = pretended_cuda.streams
    assert stream.device == PretendedCuda.DEVICE
    assert ran == [stream] * 2 * (graphs.WARM_UPS + 1)


@pytest.mark.parametrize(
    ("special", "used"), [({}, 0), ({"model": {"dropout": 0.3}}, 2), (CASES["noise"] | {"augment": "flip_crop"}, 6)]
)
def test_a_graph_registers_the_generators_that_are_drawn_from(
    special: dict[str, Any], used: int, pretended_cuda: PretendedCuda
) -> None:
    some = group(**special)
    train_state = GroupTrainState(some, made_up_data(some))
    GraphedUpdate(train_state, graphs.cuda_graph)
    assert len({id(each) for each in pretended_cuda.registered}) == len(pretended_cuda.registered) == used


def test_the_cpu_updates_plainly() -> None:
    some = group()
    train_state = GroupTrainState(some, made_up_data(some))
    assert updater(train_state) == train_state.update


@pytest.mark.parametrize(
    ("model", "graphed"),
    [({"norm": "batch"}, True), ({"norm": "noisy_batch"}, True), ({"norm": "whiten"}, False)],
)
def test_a_gpu_repeats_a_graph_unless_something_may_want_the_host(
    model: dict[str, Any], graphed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = group(model=model)
    train_state = GroupTrainState(some, made_up_data(some))
    train_state.device = torch.device("cuda")
    monkeypatch.setattr(graphs, "GraphedUpdate", lambda train_state, record: record.func)
    assert updater(train_state) == (graphs.cuda_graph if graphed else train_state.update)


EAGER = {
    "reads": ("Reads", "in forward: called a synchronizing"),
    "draws": ("Tokens", "user_networks.py:Tokens draws random numbers besides the dropout layers"),
    "counts": ("Counts", "user_networks.py:Counts changes passes, which is neither parameter nor buffer"),
}
"""Networks that no graph can repeat, and what the note says of them."""


@pytest.mark.parametrize("why", EAGER)
def test_an_own_network_that_no_graph_can_repeat_is_updated_plainly_and_a_note_says_why(
    why: str, pretended_cuda: PretendedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, said = EAGER[why]
    some = group(model=own(name), rates=(0.1,))
    data = made_up_data(some)
    plain = finished(some, data)
    monkeypatch.setattr(graphs, "graphed", lambda model, device: True)
    found = finished(some, data)
    for one, other in zip(found, plain, strict=True):
        assert one.record.measures == other.record.measures
    notes = [note for each in found for note in each.notes]
    assert any(note.startswith(graphs.LAUNCHED) and said in note for note in notes)
    assert len(notes) == len(set(notes))
