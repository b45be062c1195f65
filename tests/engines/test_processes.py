"""Groups that train side by side in worker processes give the numbers and keep the promises of one process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.yaml import to_yaml
from bnexp.data.catalog import DataShape
from bnexp.engines import local
from bnexp.engines import throttle as pace
from bnexp.engines.dispatch import dispatch
from bnexp.engines.forked import side_by_side
from bnexp.engines.local import CPU, Local
from bnexp.engines.messages import Event, Job
from bnexp.engines.processes import Place, ProcessPool, TrainingOn
from bnexp.errors import BnexpError, InputError
from bnexp.plan import TrialGroup, groups, trials
from bnexp.records import EpochRecord, Snapshot
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.reader import RunRecord
from bnexp.training.estimate import footprint
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import Progress
from bnexp.training.work import training_cost
from tests.helpers import experiment, leave_out_report, rates_group, torch_threads
from tests.runner.test_run import results

GROUPS = 3


def config(**train: Any) -> ExperimentConfig:
    """Three groups of two trials each, which differ in their depth."""
    return experiment(
        name="beside",
        data={"name": "digits", "train_size": 160, "val_size": 40, "test_size": 40},
        model={"width": 8, "activation": "relu", "dropout": 0.2},
        train={"epochs": 6, "batch_size": 32, "checkpoint_every": 1e-9} | train,
        grid={"model.depth": [1, 2, 3]},
        seeds=2,
        probes=["drift"],
    )


def engine(workers: int, cores: int = 2) -> Local:
    return Local((CPU,), cores, workers)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every copy and checkpoint, and leave out the pictures."""
    for share in ("HELD_SHARE", "SAVED_SHARE"):
        monkeypatch.setattr(pace, share, float("inf"))
    leave_out_report(monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """The run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_report(patch)
        return run(prepare(config(), tmp_path_factory.mktemp("here"), engine(1)))


Children = Callable[[], list[psutil.Process]]


@pytest.fixture
def children() -> Children:
    """The workers of this test; other tests, and multiprocessing itself, may have processes here too."""
    before = psutil.Process().children(recursive=True)

    def workers() -> list[psutil.Process]:
        found = [child for child in psutil.Process().children(recursive=True) if child not in before]
        return [child for child in found if "resource_tracker" not in str(child.as_dict(["cmdline"]))]

    return workers


def kept(record: RunRecord) -> dict[str, Any]:
    """All that two runs should share; rows of curves come in the order in which groups got to them."""
    found = results(record)
    ordered = sorted(found["curves"], key=lambda row: (int(row["trial"]), int(row["step"])))
    return found | {"curves": ordered, "probes": sorted(map(repr, found["probes"]))}


def test_the_numbers_are_those_of_one_process_bit_for_bit(
    tmp_path: Path, undisturbed: RunRecord, children: Children
) -> None:
    seen: list[Event] = []
    record = run(prepare(config(), tmp_path, engine(2)), seen.append)
    assert kept(record) == kept(undisturbed)
    assert "2 groups training" in {event.activity for event in seen}
    assert record.environment["workers"] == 2
    assert not children()


@pytest.mark.parametrize("workers", [1, 2])
def test_how_far_groups_are_between_two_records_is_told(
    tmp_path: Path, undisturbed: RunRecord, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "HEARTBEAT", 0.0)
    seen: list[Event] = []
    record = run(prepare(config(), tmp_path, engine(workers)), seen.append)
    assert kept(record) == kept(undisturbed)
    per_epoch, told = 5, [event for event in seen if event.step is not None]
    assert {event.step for event in told} == {step for step in range(6 * per_epoch) if step % per_epoch or step == 0}
    assert not any(event.notable for event in told)


@pytest.mark.slow
def test_workers_that_are_spawned_give_the_same_numbers(
    tmp_path: Path, undisturbed: RunRecord, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Place, "forks", property(lambda self: False))
    record = run(prepare(config(), tmp_path, engine(2)))
    assert kept(record) == kept(undisturbed)
    assert not children()


UNGUARDED = """
import bnexp
from bnexp.engines.processes import Place
from torch import nn

Place.forks = property(lambda self: False)

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))

config = {
    "name": "script",
    "data": {"name": "digits", "train_size": 64},
    "arms": ["none", "as_written"],
    "train": {"epochs": 1, "batch_size": 32},
}
run = bnexp.run(config, network=Net, workers=2, runs="runs")
print(*run.trials["outcome"], len(run.predictions))
"""
"""It doesn't ask for its name, and trains a network that is written in it."""


def test_a_script_without_a_guard_runs_once_though_workers_are_spawned_and_import_its_network(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, "script.py"]
    here = os.environ | {"PYTHONPATH": os.getcwd()}
    ended = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=120)
    assert ended.stdout == f"{' '.join(['completed'] * 6)} {6 * 360}\n", ended.stderr
    (run_folder,) = (tmp_path / "runs").iterdir()
    assert "2 groups" in (run_folder / "log.txt").read_text()
    for words, code, said in ((("show",), 0, ""), (("export", "0"), 2, "script.py trains the network when it is imp")):
        command = [sys.executable, "-m", "bnexp", words[0], str(run_folder), *words[1:]]
        ended = subprocess.run(command, cwd="/", env=here, capture_output=True, text=True, timeout=120)
        assert ended.returncode == code, ended.stderr
        assert said in ended.stderr
        assert "completed" not in ended.stdout


def test_a_worker_that_dies_loses_nothing(tmp_path: Path, undisturbed: RunRecord, children: Children) -> None:
    killed: list[int] = []

    def kill(event: Event) -> None:
        if event.progress and event.progress.record.epoch == 1 and not killed:
            killed.extend(child.pid for child in children())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    record = run(prepare(config(epochs=6), tmp_path, engine(2)), kill)
    assert len(killed) == 2
    assert kept(record) == kept(undisturbed)
    # A worker may be through with its group when it is killed, and then the next group breaks off before it begins.
    assert "(the worker process ended with SIGKILL)" in (record.path / "log.txt").read_text()


def test_a_run_that_is_interrupted_leaves_no_process_and_continues_with_any_number_of_workers(
    tmp_path: Path, undisturbed: RunRecord, children: Children
) -> None:
    def interrupt(event: Event) -> None:
        if event.progress and event.progress.record.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(prepare(config(), tmp_path, engine(2)), interrupt)
    assert not children()
    begun = prepare(config(), tmp_path, engine(6, cores=6))
    assert [len(group.trials) for group in begun.groups] == [2, 2, 2]
    assert kept(run(begun)) == kept(undisturbed)


def test_a_group_that_breaks_fails_at_once_and_one_that_runs_out_of_memory_goes_on_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = GroupTrainState.update

    def troubled(self: GroupTrainState, batch_SB: torch.Tensor, rate_K1: torch.Tensor, step: torch.Tensor) -> None:
        if self.group.settings.model.layers == 2:
            raise RuntimeError("two layers are too many")
        if len(self.group.trials) > 1 and self.group.settings.model.layers == 3 and step > 7:
            torch.empty(2**60)
        update(self, batch_SB, rate_K1, step)

    monkeypatch.setattr(GroupTrainState, "update", troubled)
    record = run(prepare(config(), tmp_path, engine(2)))
    assert record.trials["outcome"].tolist() == ["completed"] * 2 + ["failed"] * 2 + ["completed"] * 2
    assert set(record.trials["reason"].dropna()) == {"RuntimeError: two layers are too many"}
    log = (record.path / "log.txt").read_text()
    assert "2 trials ran out of memory together; going on with 1, 1 from" in log


SCRIPT = "import sys\nfrom bnexp.cli.main import main\nmain()"


def test_nothing_is_left_behind_when_the_parent_is_killed(tmp_path: Path, undisturbed: RunRecord) -> None:
    (tmp_path / "exp.yaml").write_text(to_yaml(config(epochs=2000).model_dump(mode="json")))
    command = [sys.executable, "-c", SCRIPT, "run", "exp.yaml", "--device", "cpu", "--workers", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    parent = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    until(lambda: any(path.read_bytes().count(b"\n") > 20 for path in tmp_path.glob("runs/*/curves.csv")))
    workers = psutil.Process(parent.pid).children()
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
    pids = {str(each.pid) for each in (parent, *workers)}  # type: ignore[attr-defined]
    assert not [name for name in os.listdir("/dev/shm") if pids & set(name.split("_"))]


def until(reached: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


# Who trains where


SHAPE = DataShape((1, 28, 28), 10, 10_000, 1_000, 1_000)


def planned(engine: Local, rates: int = 8, width: int = 100, seeds: int = 1, **train: Any) -> list[int]:
    """Sizes of the groups of a sweep over rates."""
    return [
        len(group.trials) for group in engine.schedule(swept(rates, width, seeds, **train), shape_of, [], begun=False)
    ]


def swept(rates: int, width: int, seeds: int = 1, **train: Any) -> tuple[TrialGroup, ...]:
    return groups(
        trials(
            experiment(
                model={"depth": 4, "width": width},
                train={"batch_size": 100, "epochs": 20} | train,
                grid={"train.lr": [0.1 / (1 + i) for i in range(rates)]},
                seeds=seeds,
            )
        )
    )


def shape_of(group: TrialGroup) -> DataShape:
    return SHAPE


def places(engine: Local, some: tuple[TrialGroup, ...]) -> list[Place]:
    return engine.places(some, shape_of, [], sum(len(group.trials) for group in some))


def test_a_large_group_is_cut_so_that_all_cores_have_work_and_whole_seeds_stay_together() -> None:
    assert planned(Local((CPU,), 2), rates=8) == [4, 4]
    assert planned(Local((CPU,), 4), rates=8) == [2, 2, 2, 2]
    assert planned(Local((CPU,), 2), rates=4, seeds=2) == [4, 4]
    assert planned(Local((CPU,), 1), rates=8) == [8]


def test_short_runs_stay_in_one_process() -> None:
    short = swept(8, width=20, epochs=None, steps=5)
    assert planned(Local((CPU,), 16), width=20, epochs=None, steps=5) == [8]
    assert places(Local((CPU,), 16), short) == [Place(CPU, 1)]
    assert places(Local((CPU,), 16, 4), short * 4) == [Place(CPU, 1)] * 4  # asked for


def test_one_group_alone_starts_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "ProcessPool", None)
    one = experiment(data={"name": "digits", "train_size": 200}, train={"epochs": 1, "batch_size": 32})
    assert run(prepare(one, tmp_path, Local((CPU,), 16))).complete
    assert run(prepare(config(epochs=1), tmp_path, engine(1))).complete


def test_threads_are_for_cores_that_no_trial_needs() -> None:
    with torch_threads(16):
        assert places(Local((CPU,), 16), swept(32, 100)) == [Place(CPU, 1)]
        (single,) = swept(1, 1000)
        assert places(Local((CPU,), 16), (single,)) == [Place(CPU, 16)]
        two = (single, single)
        assert Local((CPU,), 16).places(two, shape_of, [], trials=2) == [Place(CPU, 8)] * 2
        # The last group of a run with many trials computes as it did beside the others.
        assert Local((CPU,), 16).places((single,), shape_of, [], trials=32) == [Place(CPU, 1)]
    with torch_threads(1):
        assert places(Local((CPU,), 16), (single,)) == [Place(CPU, 1)]


def test_all_workers_together_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    some = swept(8, 1000)
    one = footprint(some[0], SHAPE, CPU)
    four = Local((CPU,), 4)
    monkeypatch.setattr(local, "free_memory", lambda device: int(2.5 * one.of(1) / 0.85))
    # Two trials fit side by side, and nothing more.
    assert planned(four, width=1000) == [1] * 8
    singles = tuple(part for part in four.schedule(some, shape_of, [], begun=False))
    assert len(places(four, singles)) == 2
    monkeypatch.setattr(local, "free_memory", lambda device: int(0.5 * one.of(1) / 0.85))
    with pytest.raises(InputError, match=r"one trial \(before\) takes about"):
        planned(four, width=1000)


def test_gpus_have_a_worker_each() -> None:
    cuda = tuple(torch.device("cuda", index) for index in range(2))
    box = Local(cuda, cores=16)
    assert not Place(cuda[0]).forks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "free_memory", lambda device: 2**36)
        some = (rates_group(1), rates_group(2), rates_group(3))
        assert [place.device for place in box.places(some, shape_of, [], trials=6)] == list(cuda)
        assert [place.device for place in box.places(some[:1], shape_of, [], trials=1)] == [cuda[0]]


# How much of the cores' time is used


def napping(seconds_of: Callable[[TrialGroup], float]) -> TrainingOn:
    """Return training that is a nap of known length."""

    def training(device: torch.device, job: Job) -> Generator[Progress, None, None]:
        time.sleep(seconds_of(job.group))
        numbers = job.group.numbers
        nothing = (0.0,) * len(numbers)
        never = (None,) * len(numbers)
        record = EpochRecord(numbers, 1, 1, {}, nothing, 0.0, never, never, never)
        yield Progress(record, numbers, lambda: Snapshot(numbers, 1, 1, 0.0, {}), (), 0.0, resumable=True)

    return training


@pytest.mark.slow
def test_sixteen_cores_are_busy_for_nine_tenths_of_the_time() -> None:
    # Two arms of sixteen settings with ten seeds each: all naps together take 80 seconds.
    shared = Local((CPU,), 16).schedule(swept(32, 100, seeds=10), shape_of, [], begun=False)
    costs = {group.numbers: training_cost(group, SHAPE, CPU).of(len(group.trials)) for group in shared}
    nap = napping(lambda group: 80 * costs[group.numbers] / sum(costs.values()))
    started = time.monotonic()
    list(dispatch([Job.new(group) for group in shared], ProcessPool([Place(CPU)] * 16, nap), lambda number: None))
    assert 80 / (16 * (time.monotonic() - started)) >= 0.9


def where(item: int) -> tuple[int, int, int]:
    time.sleep(0.05 * (3 - item))  # the first takes the longest
    return item, os.getpid(), torch.get_num_threads()


def test_results_of_independent_work_come_in_order_from_workers_with_one_thread() -> None:
    found = list(side_by_side(where, range(3), 3))
    assert [item for item, _, _ in found] == [0, 1, 2]
    assert len({process for _, process, _ in found} - {os.getpid()}) > 1
    assert {threads for _, _, threads in found} == {1}


def test_workers_inherit_the_data_of_their_work() -> None:
    # Sent, they would have to fit into the shared memory, which is small in containers.
    data_N = torch.arange(4)
    assert list(side_by_side(lambda item: int(data_N[item]), range(4), 2)) == [0, 1, 2, 3]
    assert not data_N.is_shared()


def test_one_worker_is_this_process() -> None:
    assert {process for _, process, _ in side_by_side(where, range(2), 1)} == {os.getpid()}


def fail(item: int) -> None:
    if item == 0:
        raise InputError("a bad item")
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_an_item_raises_is_raised_and_a_killed_worker_is_said() -> None:
    with pytest.raises(InputError, match=r"^a bad item$"):
        list(side_by_side(fail, [0, 0], 2))
    with pytest.raises(BnexpError, match=r"a worker process was killed, mostly for lack of memory; .* --workers 1"):
        list(side_by_side(fail, [1, 1], 2))


def test_work_that_nobody_waits_for_any_more_is_dropped() -> None:
    before = psutil.Process().children(recursive=True)
    results = side_by_side(where, [0] * 100, 2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert set(psutil.Process().children(recursive=True)) <= set(before)
