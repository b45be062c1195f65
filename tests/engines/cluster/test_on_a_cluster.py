"""Runs on a real Ray cluster of several nodes on this machine: the same numbers as here, whatever dies on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp import __version__
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.yaml import to_yaml
from bnexp.engines import throttle as pace
from bnexp.engines.devices import data_key
from bnexp.engines.messages import Event
from bnexp.errors import InputError
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.reader import RunRecord
from tests.helpers import FLOAT32, assert_close, experiment, torch_threads
from tests.reliability.faults import Stopped, results

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

from ray.cluster_utils import Cluster

from bnexp.engines.cluster import session as looking
from bnexp.engines.cluster.session import ray_cluster

pytestmark = [
    pytest.mark.filterwarnings("default"),  # of Ray's own, which differ from version to version
    pytest.mark.usefixtures("without_report"),
]

SETTINGS = {
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
    "worker_niceness": 0,
}
"""Ray's settings by which a node that is gone is noticed early, and one that is busy isn't taken for it; and by which
workers compute as often as other tests do, where Ray's own 15 leaves them next to nothing."""


def config(epochs: int = 3, trials: int = 2, **raw: Any) -> ExperimentConfig:
    """Two groups, none and before; a hundred epochs take about three seconds."""
    return experiment(
        **{
            "name": "spread",
            "data": {"name": "digits", "train_size": 400, "val_size": 40, "test_size": 40},
            "model": {"depth": 4, "width": 32, "activation": "relu", "dropout": 0.2},
            "arms": ["none", "before"],
            "train": {"epochs": epochs, "batch_size": 40, "momentum": 0.9, "checkpoint_every": 1e-9},
            "grid": {"train.lr": [0.1 / (1 + i) for i in range(trials)]},
        }
        | raw
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads as the nodes have CPUs."""
    with torch_threads(1):
        yield


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take checkpoints often."""
    monkeypatch.setattr(pace, "SAVED_SHARE", 0.2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that trains nothing, and a node named anna with one CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": SETTINGS})
        made.add_node(num_cpus=1, node_name="anna")
        yield made
        made.shutdown()


class Node:
    """One more node with one CPU, which comes and goes."""

    def __init__(self, cluster: Cluster, name: str):
        self._cluster, self._name, self._node = cluster, name, None
        self.there = self.dead = False

    def add(self) -> None:
        """Let it join."""
        self._node = self._cluster.add_node(num_cpus=1, node_name=self._name)
        self.there = True

    def kill(self) -> None:
        """Pull the plug."""
        self._cluster.remove_node(self._node, allow_graceful=False)
        self.dead = True


@contextmanager
def also(cluster: Cluster, name: str, *, later: bool = False) -> Iterator[Node]:
    """One more node, from now on or later."""
    node = Node(cluster, name)
    if not later:
        node.add()
    try:
        yield node
    finally:
        if node.there and not node.dead:
            node.kill()


def trained(
    cluster: Cluster,
    what: ExperimentConfig,
    runs: Path,
    watch: Callable[[Event], None] = lambda event: None,
) -> RunRecord:
    """`bnexp run --engine ray --address …`, in this process; workers copy their state at every record."""
    with ray_cluster("cpu", cluster.address, 1) as engine:
        return run(prepare(what, runs, replace(engine, held_share=float("inf"))), watch)


def alone(what: ExperimentConfig, runs: Path) -> RunRecord:
    """`bnexp run`, in this process."""
    return run(prepare(what, runs, "cpu"))


def moments(record: RunRecord) -> list[tuple[int, int]]:
    """Trial and step of every row of curves.csv."""
    return [(row.trial, row.step) for row in record.curves.itertuples()]  # type: ignore[misc]


def test_the_numbers_are_those_of_one_process_bit_for_bit(cluster: Cluster, tmp_path: Path) -> None:
    what = config(probes=["drift"])
    seen: list[Event] = []
    there = trained(cluster, what, tmp_path / "there", seen.append)
    here = alone(what, tmp_path / "here")
    assert results(there.path) == results(here.path)
    assert (there.path / "probes.csv").read_bytes() == (here.path / "probes.csv").read_bytes()
    facts = there.environment
    assert (facts["engine"], facts["threads"]) == ("ray", 1)
    assert facts["nodes"] == [{"name": "anna", "cpus": 1, "gpus": 0}]
    assert here.environment["engine"] == "local"
    # The second group may report before the end of the first is handled.
    assert {"1 group on 1 node"} <= {event.activity for event in seen} <= {"1 group on 1 node", "2 groups on 1 node"}


@pytest.mark.slow
def test_a_node_that_is_added_gets_work_and_one_that_dies_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    what = config(epochs=60, arms={"long": {"train.epochs": 200}, "short": {}})
    seen: list[Event] = []
    with also(cluster, "bert", later=True) as bert:

        def watch(event: Event) -> None:
            seen.append(event)
            if not bert.there:
                bert.add()
            elif event.job.number != seen[0].job.number and not bert.dead:
                (path,) = (tmp_path / "there").iterdir()
                saved = Checkpoints(path).load(event.job.number)
                if saved and saved.step:
                    bert.kill()

        there = trained(cluster, what, tmp_path / "there", watch)
        assert bert.dead
    activities = dict.fromkeys(event.activity for event in seen)
    assert list(activities)[:2] == ["1 group on 1 node", "2 groups on 2 nodes"]
    assert results(there.path) == results(alone(what, tmp_path / "here").path)
    assert len(moments(there)) == len(set(moments(there))) == 2 * (201 + 61)
    (line,) = [line for line in (there.path / "log.txt").read_text().splitlines() if "broke off" in line]
    assert "2 trials broke off on bert (NodeDiedError: " in line
    assert "going on with 2 from step " in line, "from the start, though there was a checkpoint"


@pytest.mark.slow
def test_one_large_group_is_cut_so_that_all_nodes_have_work(cluster: Cluster, tmp_path: Path) -> None:
    # Layers so wide that half of the trials take half the time: narrow ones take as long, and stay together.
    what = config(trials=4, arms=["before"], model={"depth": 2, "width": 512, "activation": "relu", "dropout": 0.2})
    with also(cluster, "bert"):
        there = trained(cluster, what, tmp_path / "there")
    here = alone(what, tmp_path / "here")
    assert [len(group.split()) for group in there.environment["groups"]] == [2, 2]
    assert [len(group.split()) for group in here.environment["groups"]] == [4]
    one, other = (each.curves.sort_values(["trial", "step"]) for each in (there, here))
    assert len(one) == 4 * (1 + 3)
    for name in ("trial", "step", "train_loss", "test_accuracy"):
        assert_close(one[name], other[name], FLOAT32)


@pytest.mark.slow
def test_states_outlive_their_node_without_a_checkpoint(cluster: Cluster, tmp_path: Path) -> None:
    what = config(train={"epochs": 60, "batch_size": 40, "checkpoint_every": 1e9})
    with also(cluster, "bert") as bert:

        def watch(event: Event) -> None:
            halfway = event.progress and event.progress.record.epoch >= 15
            if halfway and event.activity == "2 groups on 2 nodes" and not bert.dead:
                bert.kill()

        there = trained(cluster, what, tmp_path / "there", watch)
    assert results(there.path) == results(alone(what, tmp_path / "here").path)
    (line,) = [line for line in (there.path / "log.txt").read_text().splitlines() if "broke off" in line]
    assert "going on with 2 from step " in line, "from the start, though the driver had its state"


@pytest.mark.slow
def test_a_worker_that_dies_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    what = config(epochs=60)
    here = alone(what, tmp_path / "here")
    killed: list[int] = []

    def watch(event: Event) -> None:
        if not killed and event.progress and event.progress.record.epoch >= 15:
            killed.extend(workers())
            for worker in killed:
                os.kill(worker, signal.SIGKILL)

    there = trained(cluster, what, tmp_path / "there", watch)
    assert killed
    assert results(there.path) == results(here.path)
    assert "trials broke off on anna (" in (there.path / "log.txt").read_text()


def workers() -> list[int]:
    """Processes that train a group now: Ray gives them the name of what they do."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "ray::train_group" in line]


@pytest.mark.slow
def test_a_group_that_fails_three_times_has_failed_and_the_rest_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    with ray_cluster("cpu", cluster.address, 1) as engine:
        plan = prepare(config(arms={"bad": {"data.normalize": "unit"}, "good": {}}), tmp_path / "runs", engine)
        bad = next(data_key(group) for group in plan.groups if group.arms == ("bad",))
        spoilt: Any = copy(plan.datasets[bad])
        object.__setattr__(spoilt, "normalization", None)
        record = run(replace(plan, datasets={**plan.datasets, bad: spoilt}))
    assert {*zip(record.trials["arm"], record.trials["outcome"], strict=True)} == {
        ("bad", "failed"),
        ("good", "completed"),
    }
    log = (record.path / "log.txt").read_text()
    assert log.count("2 trials broke off on anna (AttributeError") == 2
    assert "failed 3 times without getting further, the last time on anna" in log
    assert "Traceback" in log


class Command:
    """`bnexp run --engine ray` in a process of its own."""

    def __init__(self, cluster: Cluster, what: ExperimentConfig, folder: Path):
        (folder / "exp.yaml").write_text(to_yaml(what.model_dump(mode="json")))
        words = ["run", "exp.yaml", "--engine", "ray", "--address", cluster.address, "--device", "cpu"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bnexp", *words],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._runs = folder / "runs"

    def until(self, rows: int) -> "Command":
        """Wait until so much is recorded."""
        end = time.monotonic() + 200
        while sum(path.read_bytes().count(b"\n") for path in self._runs.glob("*/curves.csv")) < rows:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        return self

    def ended(self) -> tuple[int, str, str]:
        """Exit code and what was said."""
        out, err = self.process.communicate(timeout=200)
        return self.process.returncode, out, err


@pytest.mark.parametrize("how", [Stopped, pytest.param(KeyboardInterrupt, marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_goes_on_with_the_same_call(
    cluster: Cluster, tmp_path: Path, how: type[BaseException]
) -> None:
    what = config(epochs=5)

    def stop(event: Event) -> None:
        if event.progress and event.progress.record.epoch == 2:
            raise how

    with pytest.raises(how):
        trained(cluster, what, tmp_path / "there", stop)
    there = trained(cluster, what, tmp_path / "there")
    here = alone(what, tmp_path / "here")
    assert results(there.path) == results(here.path)
    assert moments(there) == moments(here)
    assert "continued: 0 trials ended before, 4 to go" in (there.path / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_ends_goes_on_with_the_same_command(
    cluster: Cluster, tmp_path: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # a driver of its own writes its report, too
    what = config(epochs=60)
    first = Command(cluster, what, tmp_path).until(rows=60)
    first.process.send_signal(how)
    code, _, said = first.ended()
    (path,) = (tmp_path / "runs").iterdir()
    assert RunRecord(path).trials["outcome"].isna().any()
    if how != signal.SIGKILL:
        kept = f"{path.relative_to(tmp_path)} keeps what is done, the same command continues it"
        assert (code, said) == (130, f"bnexp: interrupted; {kept}\n")
        assert len(list((path / "checkpoints").glob("group-*"))) == 1
    code, out, said = Command(cluster, what, tmp_path).ended()
    assert (code, said) == (0, ""), said
    assert " to go\n" in out
    here = alone(what, tmp_path / "here")
    assert results(path) == results(here.path)
    assert moments(RunRecord(path)) == moments(here)


def test_nodes_with_other_programs_are_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "versions", lambda: {"bnexp": "9", "torch": "1.0"})
    with pytest.raises(InputError) as refused, ray_cluster("cpu", cluster.address, 1):
        pass
    assert str(refused.value).splitlines() == [
        f"node anna has bnexp {__version__} in place of 9; install the same",
        f"node anna has torch {torch.__version__.partition('+')[0]} in place of 1.0; install the same",
    ]


@pytest.mark.parametrize(
    ("device", "address", "said"),
    [
        ("cuda", None, "no node of the cluster has a GPU and a CPU; add one, or choose with --device"),
        ("cpu", "127.0.0.1:1", "--address 127.0.0.1:1: "),
    ],
)
def test_what_can_not_be_had_is_refused(cluster: Cluster, device: str, address: str | None, said: str) -> None:
    with pytest.raises(InputError) as refused, ray_cluster(device, address or cluster.address, 1.0):
        pass
    assert str(refused.value).startswith(said)
