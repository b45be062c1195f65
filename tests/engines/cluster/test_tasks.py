"""What a worker says where it can't begin: the data set didn't come, or its programs are others. No Ray runs here."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'bnexp[ray]'")

import ray

from bnexp.engines.cluster import nodes as tasks
from bnexp.engines.cluster.nodes import Assignment, train_group, versions
from bnexp.engines.cluster.states import FETCH_SECONDS, ObjectStore, received
from bnexp.engines.devices import data_key
from bnexp.engines.messages import Begun, Broke, Finished, Following, Job, Moments, StateLostError
from bnexp.records import Snapshot
from tests.helpers import made_up_data, rates_group

GROUP = rates_group(2)


@pytest.fixture(autouse=True)
def on_cleo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker on the machine cleo, whose object store holds what it is asked for."""
    monkeypatch.setattr(tasks.socket, "gethostname", lambda: "cleo")
    context = SimpleNamespace(get_node_id=lambda: "c1e0")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "get", lambda held, timeout: held)


def said(**changed: Any) -> list[Any]:
    data: Any = {data_key(GROUP): made_up_data(GROUP)}
    assignment = Assignment("cpu", data, (), ObjectStore(), 1.0, changed.get("versions", versions()))
    return list(train_group(Job.new(GROUP), assignment, 1))


def test_a_worker_says_where_it_is_then_how_it_goes_then_that_it_is_done() -> None:
    first, *heard, last = said()
    assert (first, last) == (Begun("c1e0"), Finished())
    assert [moment.record.step for message in heard if isinstance(message, Moments) for moment in message.moments] == [
        0,
        6,
        12,
    ]


def test_a_state_travels_behind_its_message_and_is_put_into_it_again() -> None:
    _, message, behind, *rest = said()
    assert isinstance(message.moments[0].state, Following)
    assert isinstance(behind, Snapshot)
    with pytest.raises(StateLostError, match="its worker ended before it came"):
        message.moments[0].state()
    again, error = received(message, iter([behind]))
    assert again.moments[0].state().step == behind.step == 0  # type: ignore[union-attr]
    assert error is None
    last = rest[-2]
    assert last.moments[-1].ended == (0, 1)
    assert last.moments[-1].state().step == 12
    assert received(last, iter([])) == (last, None)


def test_a_worker_that_ends_before_a_state_came_leaves_the_moment_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, message, *_ = said()
    for behind, kind in (([], StopIteration), (["error"], ray.exceptions.WorkerCrashedError)):

        def get(held: object, timeout: float) -> None:
            raise ray.exceptions.WorkerCrashedError

        monkeypatch.setattr(ray, "get", get)
        left, error = received(message, iter(behind))  # type: ignore[arg-type]
        assert [moment.state for moment in left.moments] == [None]  # type: ignore[union-attr]
        assert [moment.record for moment in left.moments] == [moment.record for moment in message.moments]  # type: ignore[union-attr]
        assert type(error) is kind


def test_a_state_that_lies_elsewhere_is_not_fetched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, message, behind, *_ = said()
    waited = []

    def get(held: Snapshot, timeout: float) -> Snapshot:
        waited.append(timeout)
        if timeout == 0:
            raise ray.exceptions.GetTimeoutError
        return held

    monkeypatch.setattr(ray, "get", get)
    again, error = received(message, iter([behind]))
    assert error is None
    assert again.moments[0].state() is behind  # type: ignore[union-attr]
    assert waited == [0, FETCH_SECONDS]


def test_a_node_that_the_data_set_does_not_reach_says_so_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(held: object, timeout: float) -> None:
        raise ray.exceptions.GetTimeoutError("nothing came")

    monkeypatch.setattr(ray, "get", lost)
    first, last = said()
    assert first == Begun("c1e0")
    assert isinstance(last, Broke)
    assert last.failure.splitlines()[-1] == "RuntimeError: mnist did not reach cleo: nothing came"
    assert not last.full


def test_a_node_with_other_programs_refuses_a_group() -> None:
    first, last = said(versions=versions() | {"torch": "1.0"})
    assert first == Begun("c1e0")
    assert last == Broke(f"cleo has torch {versions()['torch']} in place of 1.0; install the same", full=False)
