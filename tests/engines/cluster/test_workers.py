"""What a worker says where it can't begin: the data set didn't come, or its programs are others. No Ray runs here."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

import ray

from bnexp.engines.cluster import workers
from bnexp.engines.cluster.workers import Assignment, train_group, versions
from bnexp.engines.devices import data_key
from bnexp.engines.messages import Failed, Finished, Job, ProgressBatch, Started
from tests.helpers import made_up_data, rates_group

GROUP = rates_group(2)


@pytest.fixture(autouse=True)
def on_cleo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker on the machine cleo, whose object store holds what it is asked for."""
    monkeypatch.setattr(workers.socket, "gethostname", lambda: "cleo")
    context = SimpleNamespace(get_node_id=lambda: "c1e0")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "get", lambda held, timeout: held)


def said(**changed: Any) -> list[Any]:
    data: Any = {data_key(GROUP): made_up_data(GROUP)}
    assignment = Assignment("cpu", data, (), 1.0, changed.get("versions", versions()))
    return list(train_group(Job.new(GROUP), assignment, 1))


def test_a_worker_says_where_it_is_then_how_it_goes_then_that_it_is_done() -> None:
    first, *heard, last = said()
    assert (first, last) == (Started("c1e0"), Finished())
    assert [item.record.step for message in heard if isinstance(message, ProgressBatch) for item in message.items] == [
        0,
        6,
        12,
    ]


def test_a_node_that_the_data_set_does_not_reach_says_so_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(held: object, timeout: float) -> None:
        raise ray.exceptions.GetTimeoutError("nothing came")

    monkeypatch.setattr(ray, "get", lost)
    first, last = said()
    assert first == Started("c1e0")
    assert isinstance(last, Failed)
    assert last.failure.splitlines()[-1] == "RuntimeError: mnist did not reach cleo: nothing came"
    assert not last.out_of_memory


def test_a_node_with_other_programs_refuses_a_group() -> None:
    first, last = said(versions=versions() | {"torch": "1.0"})  # type: ignore[operator]
    assert first == Started("c1e0")
    assert last == Failed(
        f"cleo has torch {versions()['torch']} in place of 1.0; install the same", out_of_memory=False
    )
