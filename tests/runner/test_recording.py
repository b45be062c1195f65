"""Several groups under way at once: each has its own newest state, wherever that lies, and a state that is gone costs
what came since the last checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from bnexp.engines import throttle
from bnexp.engines.messages import Event, Job
from bnexp.plan import TrialGroup
from bnexp.records import EpochRecord, Snapshot
from bnexp.runner.run import Recorder
from bnexp.training.loop import Progress
from tests.helpers import no_batches, rates_group

pytestmark = pytest.mark.usefixtures("unhurried")
GROUP = rates_group(4)


@dataclass
class Folder:
    """A run folder that only takes notes: stands for writer and checkpoints."""

    notes: list[str] = field(default_factory=list)
    files: dict[int, Snapshot] = field(default_factory=dict)

    def save(self, group: int, snapshot: Snapshot) -> None:
        self.files[group] = snapshot
        self.notes.append(f"saved {group} at {snapshot.step}")

    def load(self, group: int) -> Snapshot | None:
        return self.files.get(group)

    def log(self, text: str) -> None:
        self.notes.append(text)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def job(*trials: int) -> Job:
    return Job.new(TrialGroup(tuple(GROUP.trials[n] for n in trials)))


def snapshot(trials: tuple[int, ...], step: int) -> Snapshot:
    return Snapshot(trials, step, step, 0.0, {"network.w": np.full((len(trials), 1), step)})


def event(of: Job, step: int, *, lasting: bool = True, ended: tuple[int, ...] = ()) -> Event:
    trials = of.group.numbers
    record = EpochRecord(trials, step, step, {}, tuple(0.1 for _ in trials), 0.0, *no_batches(len(trials)))

    return Event(of, Progress(record, ended, lambda: snapshot(trials, step), (), 0.0, True, lasting))


def recorder(folder: Any, every: float = 1e9) -> Recorder:
    return Recorder(folder, folder, every)


@pytest.mark.parametrize("lasting", [False, True])
def test_every_group_has_a_newest_state_of_its_own_and_all_are_saved_at_the_end(
    monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    monkeypatch.setattr(throttle, "HELD_SHARE", 1e-12)  # so that no second copy is due, however fast the first was
    folder = Folder()
    keeps, one, two = recorder(folder), job(0, 1), job(2, 3)
    for each in (event(one, 1), event(two, 1), event(one, 2)):
        keeps(each if lasting else event(each.job, each.progress.record.step, lasting=False))  # type: ignore[union-attr]
    newest = keeps.latest(0), keeps.latest(2)
    assert [each and (each.trials, each.step) for each in newest] == [((0, 1), 2 if lasting else 1), ((2, 3), 1)]
    keeps.stop("interrupted")
    assert folder.notes == [f"saved 0 at {2 if lasting else 1}", "saved 2 at 1", "interrupted"]


def test_a_group_of_which_nothing_is_held_goes_on_from_its_checkpoint() -> None:
    folder = Folder()
    recorder(folder, every=0)(event(job(0, 1), 1))
    assert folder.notes == ["saved 0 at 1"]
    latest = recorder(folder).latest(0)
    assert latest
    assert latest.step == 1
    assert recorder(folder).latest(7) is None


def test_of_a_group_that_some_trials_have_left_the_others_are_kept() -> None:
    keeps = recorder(Folder())
    keeps(event(job(0, 1), 1, ended=(0,)))
    latest = keeps.latest(0)
    assert latest
    assert (latest.trials, latest.arrays["network.w"].shape) == ((1,), (1, 1))


def test_what_people_should_know_of_a_training_is_written_into_the_log() -> None:
    folder, one = Folder(), event(job(0, 1), 1)
    recorder(folder)(replace(one, progress=replace(one.progress, notes=("launched kernel by kernel",))))
    assert folder.notes == ["trials 0, 1: launched kernel by kernel"]


def test_an_event_for_people_changes_nothing() -> None:
    folder = Folder()
    recorder(folder)(Event(job(0, 1), activity="no node is left"))
    assert folder.notes == []
