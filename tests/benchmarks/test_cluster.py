"""Workers that only pretend to train say what real ones say, so that a driver is timed at its real work."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

from benchmarks import cluster, cluster_worker
from benchmarks.cluster_worker import Pretence
from bnexp.config.load import resolve
from bnexp.engines.messages import Finished, Job, ProgressBatch, ProgressItem, messages
from bnexp.plan import TrialGroup, trials
from bnexp.records import MEASURES, Snapshot

TRIALS = trials(resolve({"name": "many", "seeds": 6, "arms": ["before"]}, "test"))


def said(job: Job, pretence: Pretence) -> list[ProgressItem]:
    """What a worker says of a group, but for the last word."""
    *before, last = messages(job, pretence.training, lambda error: False)
    assert isinstance(last, Finished)
    return [item for message in before if isinstance(message, ProgressBatch) for item in message.items]


def test_a_pretended_group_records_all_trials_and_ends_with_a_state_of_each() -> None:
    job = Job.new(TrialGroup(TRIALS[3:6]))
    moments = said(job, Pretence(records=4, numbers=7))
    assert [moment.record.step for moment in moments] == [1, 2, 3, 4, 5]
    assert [moment.ended for moment in moments] == [(), (), (), (), (3, 4, 5)]
    rows = [row for moment in moments for row in moment.record.rows()]
    assert [row["trial"] for row in rows] == [3, 4, 5] * 5
    assert len({row[name] for row in rows for name in MEASURES}) == len(rows) * len(MEASURES)
    state = moments[-1].state
    assert state
    assert state.trials == (3, 4, 5)
    assert state.arrays["network.weight"].shape == (3, 7)


def test_a_pretended_group_goes_on_from_a_state() -> None:
    job = Job(0, TrialGroup(TRIALS[:2]), Snapshot((0, 1), 3, 3, 0.0, {}))
    assert [moment.record.step for moment in said(job, Pretence(records=4))] == [4, 5]


def test_groups_record_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(cluster_worker, "_sleep_until", slept.append)
    begin = time.time() + 1000
    said(
        Job.new(TrialGroup(TRIALS[3:6])),
        Pretence(records=2, every=8, begin=begin, others=2, rest=1),
    )
    # The second group of two: half an interval after the first, and the last record when all are through.
    assert [moment - begin for moment in slept] == [4, 12, 17]


def test_a_pretending_worker_needs_no_torch() -> None:
    code = "import sys, benchmarks.cluster_worker; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("part", cluster.PARTS)
def test_every_part_of_the_loop_is_there(part: str) -> None:
    place, name = cluster.PARTS[part]
    assert callable(getattr(place, name))
