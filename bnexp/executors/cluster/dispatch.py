"""The driver's side: jobs are handed out, and what workers say of them becomes events, whatever dies on the way."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bnexp.executors.cluster.messages import Begun, Broke, Finished, Lost, Message, Moment, Moments, State
from bnexp.executors.jobs import TOO_LARGE, Event, Job, Latest, StateLostError, broken
from bnexp.records import Snapshot
from bnexp.training.loop import Progress
from bnexp.words import counted

ATTEMPTS = 3
"""Times that a group is begun without getting further before it counts as failed."""


class Crew(Protocol):
    """Workers that jobs are handed to."""

    def start(self, job: Job) -> None:
        """Let somebody train a job as soon as somebody is free."""

    def heard(self) -> Iterator[tuple[int, Message]]:
        """Wait for messages, and yield them with the numbers of the jobs that they are about."""

    def name(self, node: str) -> str:
        """Name a machine for people."""

    def manned(self) -> bool:
        """Whether any machine is left that could train."""

    def stop(self) -> None:
        """Let nobody train any further."""


def dispatch(jobs: Sequence[Job], crew: Crew, latest: Latest) -> Generator[Event, None, None]:
    """Hand jobs out and yield what happens to them, until nothing is under way.

    A job whose worker dies, or that breaks, begins again from its newest state, on whichever machine is free; after
    three times without getting further it has failed. A job that is too large for the memory is cut in two.

    Args:
        jobs: in the order in which they should begin.
        crew: who trains them.
        latest: finds the newest state of a job.
    """
    desk = _Desk(crew, latest)
    try:
        for job in jobs:
            desk.hand_out(_Flight(job))
        while desk.flights:
            heard = list(crew.heard())
            for number, message in heard:
                for event in desk.events(number, message):
                    yield replace(event, crew=desk.at_work())
            if not heard:
                yield from desk.silence()
    finally:
        crew.stop()


@dataclass
class _Flight:
    """A job that was handed out."""

    job: Job
    left: set[int] = field(init=False)
    """Numbers of its trials that have not ended."""
    node: str = ""
    """Where it is trained; empty while it waits."""
    step: int = -1
    """The latest step that was heard of."""
    furthest: int = -1
    """The latest step that was heard of before it last broke."""
    failures: int = 0
    """Times that it broke since it last got further than ever."""
    state: State | None = None
    """The newest state that was heard of."""
    lost: bool = False
    """Whether trials ended in a state that is gone: they are trained again from before that, and all with them."""

    def __post_init__(self) -> None:
        self.left = set(self.job.group.numbers)

    def replace(self, state: State | None) -> None:
        """Let go of what a newer state, or the end, stands in for."""
        if self.state:
            self.state.discard()
        self.state = state

    @property
    def place(self) -> str:
        """Where it is trained, for people."""
        return f"on {self.node}" if self.node else "before they began"


class _Desk:
    """Keeps account of what is under way."""

    def __init__(self, crew: Crew, latest: Latest):
        self._crew, self._latest = crew, latest
        self.flights: dict[int, _Flight] = {}
        self._manned = True

    def hand_out(self, flight: _Flight) -> None:
        """Let somebody train a job."""
        self.flights[flight.job.number] = flight
        self._crew.start(flight.job)

    def at_work(self) -> str:
        """Say how much is under way where."""
        nodes = [flight.node for flight in self.flights.values() if flight.node]
        return f"{counted(len(nodes), 'group')} on {counted(len(set(nodes)), 'node')}"

    def silence(self) -> Iterator[Event]:
        """Say it once where nothing is heard because nobody is left."""
        manned, self._manned = self._manned, self._crew.manned()
        if manned and not self._manned:
            first = next(iter(self.flights.values()))
            yield Event(first.job, crew="no node is left that could train: waiting for one")

    def events(self, number: int, message: Message) -> Iterator[Event]:
        """Yield what a message comes to."""
        flight = self.flights[number]
        match message:
            case Begun(node):
                flight.node = self._crew.name(node)
            case Moments(moments):
                if not flight.lost:
                    yield from self._records(flight, moments)
            case Finished() | Broke() | Lost() if not flight.left:  # the worker's end is of no account any more
                flight.replace(None)
                del self.flights[number]
            case Broke(failure, blameless=True) if len(flight.left) == 1:
                yield from self._again(flight, f"{failure}\n{TOO_LARGE}")
            case Broke(failure, full=True):
                yield from self._over(flight, broken(flight.job, flight.left, failure, full=True, latest=self._latest))
            case Broke(failure) | Lost(failure):
                yield from self._again(flight, failure)
            case Finished():
                yield from self._again(flight, "its last state was lost")

    def _records(self, flight: _Flight, moments: Sequence[Moment]) -> Iterator[Event]:
        for moment in moments:
            try:
                progress = _progress(moment)
            except StateLostError:
                flight.lost = True
                return
            flight.step = max(flight.step, moment.record.step)
            flight.left -= set(moment.ended)
            yield Event(flight.job, progress)
            if moment.state:
                flight.replace(moment.state)

    def _again(self, flight: _Flight, failure: str) -> Iterator[Event]:
        """Yield what becomes of a job that broke where it was trained."""
        job, last = flight.job, failure.strip().splitlines()[-1]
        failures = 1 if flight.step > flight.furthest else flight.failures + 1
        if failures == ATTEMPTS:
            times = f"failed {ATTEMPTS} times without getting further, the last time {flight.place}"
            yield from self._over(flight, Event(job, failure=f"{times}\n{failure}"))
            return
        resume = self._latest(job.number) or job.resume
        # A checkpoint may hold trials that another job has: a process may have stopped while it cut the group.
        resume = resume and resume.only(job.group.numbers)
        again = Job(job.number, job.group.only(resume.trials) if resume else job.group, resume)
        event = Event(job, parts=(again,), reason=f"broke off {flight.place} ({last})")
        yield from self._over(flight, event, max(flight.furthest, flight.step), failures)

    def _over(self, flight: _Flight, event: Event, furthest: int = -1, failures: int = 0) -> Iterator[Event]:
        """Yield the last event of a job, and hand out what goes on in its place."""
        del self.flights[flight.job.number]
        yield event
        flight.replace(None)  # not before: while the event is under way, this state may be all there is
        for part in event.parts:
            self.hand_out(_Flight(part, furthest=furthest, failures=failures))


def _progress(moment: Moment) -> Progress:
    """Return a moment as the loop would have said it; the state that trials ended with is fetched at once."""
    state = moment.state
    if moment.ended and state:
        last = state()
        return _said(moment, lambda: last)
    return _said(moment, state)


def _said(moment: Moment, state: Callable[[], Snapshot] | None) -> Progress:
    def gone() -> Snapshot:
        raise StateLostError("no copy was due")

    return Progress(
        moment.record,
        moment.ended,
        state or gone,
        moment.probes,
        moment.probing,
        resumable=moment.resumable and state is not None,
        lasting=True,
    )
