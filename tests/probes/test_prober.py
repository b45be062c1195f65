"""When probes are taken, in which arithmetic, and what they remember."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.config.probes import PROBES, ProbeSettings, ProbeSpec
from bnexp.probes.prober import ProbeContext, Value, unknown_layers
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from tests.helpers import TOGETHER_FLOAT64, assert_close, finished, made_up_data, rates_group
from tests.probes.looking import ALL, MODELS, find, find_over_update, in_training, probe, prober, rates, short

NETWORKS = ["mlp, norm after, dropout", pytest.param("vgg, dropout", marks=pytest.mark.slow)]


@pytest.mark.parametrize(
    ("when", "due"),
    [
        ({}, [0, 6, 12]),
        ({"every": 1}, list(range(13))),
        ({"every": 5}, [0, 5, 10]),
        ({"at": [12, 3]}, [3, 12]),
        ({"at": {"range": [0, 8, 4]}}, [0, 4, 8]),
        ({"at": [99]}, []),
    ],
)
def test_a_probe_is_taken_at_records_or_when_it_says(when: dict[str, Any], due: list[int]) -> None:
    taking = prober(in_training(MODELS["mlp"]), {"name": "rank"} | when)
    assert [step for step in range(13) if taking.due(step, recorded=step % 6 == 0)] == due


def test_probes_of_one_moment_share_a_record_and_others_have_their_own() -> None:
    group = rates_group(1, MODELS["mlp"], epochs=1)
    probes = [probe({"name": "rank", "every": 3}), probe("saturation"), probe({"name": "gradient_noise", "at": [4]})]
    progress = list(train(group, made_up_data(group), probes=probes))
    taken = [[(each.step, {name.split(".")[0] for _, name in each.values}) for each in one.probes] for one in progress]
    assert taken[0] == [(0, {"rank", "saturation"})]
    assert taken[1] == [(3, {"rank"}), (4, {"gradient_noise"}), (6, {"rank", "saturation"})]
    assert {record.epoch for record in progress[1].probes} == {1}
    assert 0 < progress[0].probing < progress[1].probing


def test_without_probes_there_is_nothing_to_find() -> None:
    group = rates_group(1, MODELS["mlp"], epochs=1)
    assert [(each.probes, each.probing) for each in train(group, made_up_data(group))] == [((), 0.0)] * 2


@pytest.mark.parametrize("probe_name", [name for name in PROBES if "layers" in PROBES[name].options])
def test_patterns_that_no_layer_has_leave_only_what_is_of_the_whole_network(probe_name: str) -> None:
    train_state = in_training(MODELS["mlp"] | {"activation": "relu"})
    assert all(layer == "" for layer, _ in find(train_state, short(probe_name, layers=["none*"])))


@pytest.mark.parametrize("name", ["mlp", pytest.param("vgg, dropout", marks=pytest.mark.slow)])
def test_probes_take_micro_batches_for_slices_of_a_batch(name: str) -> None:
    # A whole batch passes at once, and norm layers cut it as they cut it in training.
    norm, raw = {"placement": MODELS[name].get("norm", "before")}, MODELS[name] | {"dropout": 0.0}
    taken = [short(each) for each in ("drift", "loss_variation", "variance_shift", "covariate_shift", "mode_gap")]
    slices = in_training(raw | {"norm": norm | {"over": 4}})
    micro = in_training(raw | {"norm": norm}, accumulate=4)
    one, other, whole = (find_over_update(each, *taken) for each in (slices, micro, in_training(raw | {"norm": norm})))
    assert one.keys() == other.keys() == whole.keys()
    for key, row in one.items():
        assert_close(other[key], row, TOGETHER_FLOAT64)
    assert not np.allclose(whole["", "loss_variation.low"], one["", "loss_variation.low"])


@pytest.mark.parametrize("name", NETWORKS)
def test_no_probe_notices_which_were_taken_before_it(name: str) -> None:
    train_state = in_training(MODELS[name])
    found, backwards = find(train_state, *ALL), find(train_state, *reversed(ALL))
    assert found.keys() == backwards.keys()
    assert all(np.array_equal(row, backwards[key], equal_nan=True) for key, row in found.items())


@pytest.mark.parametrize("precision", ["bf16", "tf32", "fp32", "fp64"])
def test_products_of_probes_are_in_full_precision(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
        seen.append((torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu")))
        yield "", "rank", context.rate_K

    monkeypatch.setitem(PROBES, "rank", ProbeSpec(spy))
    group = rates_group(1, MODELS["mlp"], epochs=1, precision=precision)
    during = []
    for _ in train(group, made_up_data(group), probes=[probe("rank")]):
        during.append(torch.get_float32_matmul_precision())
    assert seen == [("highest", False)] * 2
    assert during == ["high" if precision == "tf32" else "highest"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_under_bf16_values_are_those_of_the_float32_weights(name: str) -> None:
    probes = [short(each) for each in PROBES if not PROBES[each].needs_update and each not in ("drift", "mode_gap")]
    group = rates_group(1, MODELS[name], epochs=1, precision="bf16")
    *_, last = finished(group, None, None, [probe(each) for each in probes])
    train_state = GroupTrainState(rates_group(1, MODELS[name], epochs=1), made_up_data(group))
    train_state.load_state_dict(
        {key: torch.from_numpy(array) for key, array in last.snapshot().arrays.items() if "probe." not in key}
    )
    settings = [probe(each) for each in probes]
    record = prober(train_state, *probes).measure(settings, 1, 6, torch.tensor(last.record.lr))
    (found,) = last.probes
    assert list(found.values) == list(record.values)
    assert np.array_equal(list(found.values.values()), list(record.values.values()), equal_nan=True)


def test_what_is_remembered_has_the_trials_in_front_and_can_be_taken_over() -> None:
    train_state = in_training(MODELS["vgg, dropout"])
    first, second = prober(train_state, "drift"), prober(train_state, "drift")
    due = first.due(0, True)
    assert first.state() == {}
    first.measure(due, 0, 0, rates(train_state))
    assert {len(tensor) for tensor in first.state().values()} == {2}
    second.load(first.state())
    one, other = (each.measure(due, 0, 1, rates(train_state)).values for each in (first, second))
    assert ("stages.0.0.norm.normalized", "drift.mean") in one
    assert np.array_equal(list(one.values()), list(other.values()))
    assert not any(tensor.requires_grad for tensor in first.state().values())


def lines(*patterns: str, **model: Any) -> list[str]:
    groups = [rates_group(1, model), rates_group(1, {"family": "vgg", "depth": 5, "width": 2})]
    settings = [probe("drift"), probe({"name": "rank", "layers": list(patterns)})]
    return [str(each) for each in unknown_layers(groups, lambda group: made_up_data(group).shape, settings)]


@pytest.mark.parametrize("pattern", ["hidden.0.linear", "*", "hidden.?.norm", "stages.0.*", "output"])
def test_names_and_patterns_of_any_network_are_fine(pattern: str) -> None:
    assert lines(pattern) == []


def test_others_are_refused_with_the_nearest_name() -> None:
    (line,) = lines("hidden.0.norm", "hidden.0.liner")
    assert line == (
        "probes.1.layers: hidden.0.liner: no layer has this name (nearest: hidden.0.linear); bnexp show lists them"
    )
    (line,) = lines("zzz*")
    assert line.startswith("probes.1.layers: zzz*: no layer has this name (there are ")
