"""What the engine plans for nodes that are made up: their places, their memory, and who gets what. No Ray runs here."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

from bnexp.data.catalog import DataShape
from bnexp.engines.cluster.engine import GPU_PROCESS, MEMORY_STEP, PROCESS, Cluster, Node, NodeInfo
from bnexp.errors import InputError
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training.estimate import footprint, image_bytes
from tests.helpers import experiment, torch_threads

CPU = torch.device("cpu")
SHAPE = DataShape((1, 8, 8), 10, 400, 40, 40)
GIB = 2**30


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    """As a process on a machine of four cores has."""
    with torch_threads(4):
        yield


def node(name: str = "anna", cpus: int = 4, gpus: int = 0, memory: int = 16 * GIB, free: int = 70 * GIB) -> Node:
    return Node(name, cpus, gpus, memory, NodeInfo({}, f"the model of {name}", free))


def cluster(*nodes: Node, device: str = "cpu", share: float = 1.0) -> Cluster:
    return Cluster(nodes, torch.device(device), share)


def some(trials_: int = 4, width: int = 8, **raw: Any) -> tuple[TrialGroup, ...]:
    """Groups of an experiment with so many rates."""
    rates = [0.1 / (1 + i) for i in range(trials_)]
    return groups(trials(experiment(model={"depth": 2, "width": width}, grid={"train.lr": rates}, **raw)))


def sizes(engine: Cluster, of: tuple[TrialGroup, ...], *, begun: bool = False) -> list[int]:
    return [len(group.trials) for group in engine.schedule(of, lambda group: SHAPE, [], begun=begun)]


def test_one_large_group_is_cut_so_that_all_nodes_have_work() -> None:
    wide = some(width=300, train={"batch_size": 64})
    assert sizes(cluster(node(cpus=1), node(cpus=1)), wide) == [2, 2]
    assert sizes(cluster(node(cpus=4)), wide) == [1, 1, 1, 1]
    assert sizes(cluster(node(cpus=1)), wide) == [4]


def test_a_run_that_has_begun_keeps_its_groups() -> None:
    assert sizes(cluster(node(), node()), some(), begun=True) == [4]


def test_the_longest_comes_first() -> None:
    arms = {"narrow": {"model.width": 8}, "wide": {"model.width": 64}, "long": {"train.epochs": 500}}
    for begun in (False, True):
        planned = cluster(node(cpus=1)).schedule(some(1, arms=arms), lambda group: SHAPE, [], begun=begun)
        assert [group.arms for group in planned] == [("long",), ("wide",), ("narrow",)]


def test_nothing_to_train_is_no_group() -> None:
    assert sizes(cluster(node()), ()) == []


def test_a_group_takes_one_cpu_and_more_only_where_there_are_fewer_trials_than_cpus() -> None:
    engine = cluster(node(cpus=8), node(cpus=2))
    assert [engine._threads(trials_) for trials_ in (100, 10, 6)] == [1, 1, 1]
    assert [engine._threads(trials_) for trials_ in (5, 3, 2, 1)] == [2, 3, 4, 4]  # this process has four threads
    assert cluster(node(cpus=2))._threads(1) == 2
    assert cluster(node(cpus=8, gpus=1), device="cuda")._threads(1) == 1
    # Four CPUs each: two of them on the node with eight, and none on the other.
    assert sizes(engine, some(2, width=1000)) == [1, 1]
    assert sizes(engine, some(10, width=1000)) == [1] * 10


def test_the_gpus_of_all_nodes_are_places_and_may_be_shared() -> None:
    nodes = node(gpus=2, cpus=16), node(gpus=1, cpus=16)
    assert sizes(cluster(*nodes, device="cuda"), some(6, width=1000)) == [2, 2, 2]
    assert sizes(cluster(*nodes, device="cuda", share=0.5), some(6, width=1000)) == [1] * 6
    assert sizes(cluster(node(gpus=8, cpus=2), device="cuda"), some(6, width=1000)) == [3, 3]  # a CPU each


@pytest.mark.parametrize(
    ("share", "places"), [(1.0, 8), (0.75, 8), (0.6, 8), (0.5, 16), (0.4, 16), (0.1, 80), (1 / 3, 24)]
)
def test_a_group_is_on_one_gpu_and_not_on_what_is_left_of_two(share: float, places: int) -> None:
    assert cluster(device="cuda", share=share)._places(node(gpus=8, cpus=100), 1) == places


def test_a_shared_gpu_has_less_memory() -> None:
    (group,) = some(10)
    takes = footprint(group, SHAPE, torch.device("cuda"))
    room = int((takes.of(10) + 1) / 0.85) + image_bytes(group, SHAPE, torch.device("cuda")) + 1
    whole = cluster(node(gpus=1, free=room), device="cuda")
    assert sizes(whole, (group,)) == [10]
    assert max(sizes(cluster(node(gpus=1, free=room), device="cuda", share=0.5), (group,))) < 10


def test_the_smallest_node_sets_the_memory() -> None:
    (group,) = some(64, width=64)
    takes = footprint(group, SHAPE, CPU)
    small = node(cpus=1, memory=PROCESS + int(takes.of(20) / 0.85) + 2)
    planned = sizes(cluster(node(cpus=1), small), (group,))
    assert max(planned) <= 20
    with pytest.raises(InputError, match=r"one trial .* takes about"):
        sizes(cluster(node(cpus=1), node(cpus=1, memory=PROCESS + takes.of(1) // 2)), (group,))


def test_memory_is_asked_for_in_few_kinds_and_never_more_than_a_node_has() -> None:
    (group,) = some(4)
    takes = PROCESS + footprint(group, SHAPE, CPU).of(4) + 480 * 64
    asked = cluster(node())._memory(group, SHAPE, [], 1)
    assert takes <= asked < takes + MEMORY_STEP
    assert asked % MEMORY_STEP == 0
    assert cluster(node(), node(memory=GIB // 4))._memory(group, SHAPE, [], 1) == GIB // 4
    assert cluster(node(gpus=1), device="cuda")._memory(group, SHAPE, [], 1) == GPU_PROCESS + MEMORY_STEP


def test_the_images_count() -> None:
    (bytes_,), (floats,) = some(4), some(4, data={"normalize": "pca_whiten"})
    large = DataShape((3, 100, 100), 10, 50_000, 0, 10_000)
    images = 60_000 * 30_000
    assert (image_bytes(bytes_, large, CPU), image_bytes(floats, large, CPU)) == (images, 4 * images)
    asked = cluster(node())._memory(bytes_, large, [], 1)
    assert images <= asked - PROCESS - footprint(bytes_, large, CPU).of(4) < images + MEMORY_STEP
    gpu = cluster(node(gpus=1, free=2 * GIB), device="cuda")
    with_images = gpu.schedule((bytes_,), lambda group: large, [], begun=True)
    assert len(with_images) > len(gpu.schedule((bytes_,), lambda group: SHAPE, [], begun=True)) == 1


def test_a_process_that_has_seen_a_gpu_is_not_used_again() -> None:
    assert cluster(node(gpus=1), device="cuda", share=0.5)._gpu_share() == {"num_gpus": 0.5, "max_calls": 1}
    assert cluster(node())._gpu_share() == {}


def test_what_the_environment_says() -> None:
    engine = cluster(node("anna", cpus=4), node("bert", cpus=2))
    assert engine.place == "2 nodes (anna, bert) with 6 CPUs"
    facts = engine.facts()
    assert (facts["engine"], facts["device"], facts["cores"], facts["threads"]) == ("ray", "cpu", 6, 4)
    assert facts["device_name"] == "the model of anna, the model of bert"
    assert facts["nodes"] == [{"name": "anna", "cpus": 4, "gpus": 0}, {"name": "bert", "cpus": 2, "gpus": 0}]
    assert cluster(node(gpus=1), device="cuda").place == "1 node (anna) with 1 GPU"


def test_a_data_set_that_is_missing_is_said_with_the_machines_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "login-node")
    absent = some(data={"name": "image_folder", "root": str(tmp_path)})
    with pytest.raises(InputError, match=r"data\.root: .* \(on login-node, from where the nodes get their data\)$"):
        cluster(node()).load(absent)
