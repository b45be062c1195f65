"""The driver's side: jobs are handed out, what dies begins again where it was, and nothing is lost or done for ever."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest

from bnexp.engines import messages as passing
from bnexp.engines.devices import out_of_memory
from bnexp.engines.dispatch import dispatch
from bnexp.engines.messages import (
    TOO_LARGE,
    Event,
    Failed,
    Finished,
    Job,
    Lost,
    Message,
    ProgressBatch,
    ProgressItem,
    Started,
    Working,
    messages,
)
from bnexp.records import EpochRecord, ProbeRecord, Snapshot
from bnexp.training.loop import Progress, train
from tests.helpers import crossed, experiment, finished, made_up_data, no_batches, only_group, rates_group

GONE = Lost("the machine is gone")
FULL = Failed("Traceback:\nMemoryError\n", out_of_memory=True)


@dataclass
class Scripted:
    """Workers that say what is written down: by a job's number, what the first to get it says, the second, …"""

    says: dict[int, list[list[Message]]]
    retries_errors: bool = True
    started: list[Job] = field(default_factory=list)
    stops: int = 0
    silent: int = 0
    """Times that nothing is heard at first."""
    nobody: int = 0
    """Times that nobody is there at first."""
    talking: list[tuple[int, Iterator[Message]]] = field(default_factory=list)

    def start(self, job: Job) -> None:
        self.started.append(job)
        self.talking.append((job.number, iter(self.says[job.number].pop(0))))

    def poll(self) -> Iterator[tuple[int, Message]]:
        if self.silent:
            self.silent -= 1
            self.nobody = max(0, self.nobody - 1)
            return
        for each in list(self.talking):
            message = next(each[1])
            if message.last:
                self.talking.remove(each)
            yield each[0], message

    def name(self, node: str) -> str:
        return f"node-{node}"

    def activity(self, nodes: Sequence[str]) -> str:
        return f"{len(nodes)} groups on {len(set(nodes))} nodes"

    def has_workers(self) -> bool:
        return self.nobody == 0

    def stop(self) -> None:
        self.stops += 1


def snapshot(trials: Sequence[int], step: int) -> Snapshot:
    return Snapshot(tuple(trials), step // 6, step, 0.0, {})


def moment(trials: Sequence[int], step: int, ended: Sequence[int] = ()) -> ProgressItem:
    count = len(trials)
    record = EpochRecord(tuple(trials), step // 6, step, {}, (0.1,) * count, float(step), *no_batches(count))
    probes = (ProbeRecord(tuple(trials), 0, step, {("fc1", "mean"): (0.5,) * count}),)
    return ProgressItem(record, tuple(ended), probes, step / 8, resumable=True, state=snapshot(trials, step))


def at(trials: Sequence[int], *steps: int) -> ProgressBatch:
    """Moments at which nothing ends."""
    return ProgressBatch(tuple(moment(trials, step) for step in steps))


def whole(trials: Sequence[int]) -> list[Message]:
    """What a worker says that has no trouble."""
    return [Started("anna"), at(trials, 0, 6), ProgressBatch((moment(trials, 12, trials),)), Finished()]


def job(*numbers: int, resume: Snapshot | None = None) -> Job:
    return Job.new(rates_group(6).only(numbers), resume)


def nothing(number: int) -> Snapshot | None:
    """There is no checkpoint."""
    return None


def events_of(pool: Scripted, *jobs: Job, latest: Callable[[int], Snapshot | None] = nothing) -> list[Event]:
    """What happened; events that only say how far a job is are left out."""
    return [event for event in dispatch(jobs, pool, latest) if event.step is None]


def steps(events: Sequence[Event]) -> list[tuple[int, int]]:
    """The records' jobs and steps."""
    return [(event.job.number, event.progress.record.step) for event in events if event.progress]


# Jobs and records


def test_jobs_are_handed_out_in_their_order_before_anything_is_reported() -> None:
    jobs = [job(4, 5), job(0, 1), job(2, 3)]
    pool = Scripted({each.number: [whole(each.group.numbers)] for each in jobs})
    with closing(dispatch(jobs, pool, nothing)) as events:
        next(events)
        assert pool.started == jobs
        assert pool.stops == 0
    assert pool.stops == 1  # also where nobody listens any more


def test_records_become_events_of_their_jobs() -> None:
    says = {0: [whole((0, 1))], 2: [whole((2, 3))]}
    said = [message for (messages,) in says.values() for message in messages if isinstance(message, ProgressBatch)]
    pool = Scripted(dict(says))
    events = events_of(pool, job(0, 1), job(2, 3))
    assert steps(events) == [(0, 0), (0, 6), (2, 0), (2, 6), (0, 12), (2, 12)]
    said_of = {(item.record.trials, item.record.step): item for message in said for item in message.items}
    for progress in [event.progress for event in events if event.progress]:
        item = said_of.pop((progress.record.trials, progress.record.step))
        assert (progress.record, progress.ended, progress.probes) == (item.record, item.ended, item.probes)
        assert (progress.probing, progress.snapshot()) == (item.probing, item.state)
        assert progress.resumable
        assert progress.lasting
    assert not said_of
    assert {(event.failure, event.parts, event.reason) for event in events} == {("", (), "")}
    assert pool.stops == 1
    assert events_of(Scripted({})) == []


@pytest.mark.parametrize("resumed", [0, 2])
def test_how_far_a_job_is_at_its_start_and_between_two_records_is_an_event_for_display(resumed: int) -> None:
    begins, *goes_on = whole((0, 1))
    pool = Scripted({0: [[begins, Working(3), *goes_on]]})
    given = job(0, 1, resume=snapshot((0, 1), resumed) if resumed else None)
    events = list(dispatch([given], pool, nothing))
    assert [(event.step, event.notable) for event in events] == [(resumed, False), (3, False), *[(None, False)] * 3]
    assert {event.activity for event in events[:2]} == {"1 groups on 1 nodes"}


def test_only_a_moment_that_has_a_state_can_be_gone_on_from() -> None:
    said = [
        replace(moment((0,), 6), resumable=resumable, state=state)
        for resumable in (True, False)
        for state in (None, snapshot((0,), 6))
    ]
    events = events_of(Scripted({0: [[Started("anna"), ProgressBatch(tuple(said)), *whole((0,))[2:]]]}), job(0))
    assert [event.progress and event.progress.resumable for event in events] == [False, True, False, False, True]


def test_who_is_at_work_is_said_with_every_event() -> None:
    ending = [ProgressBatch((moment((0,), 12, (0,)),)), Finished()]
    says: dict[int, list[list[Message]]] = {
        0: [[Started("anna"), at((0,), 0), GONE], [Started("bert"), at((0,), 0), *ending]],
        1: [[Started("anna"), *(at((1,), step) for step in (0, 6, 7, 8, 9)), GONE], whole((1,))],
        2: [[Started("bert"), at((2,), 0), at((2,), 6), FULL]],
    }
    events = events_of(Scripted(says), job(0), job(1), job(2))
    three, two = "3 groups on 2 nodes", "2 groups on 2 nodes"
    assert [(event.job.number, event.activity) for event in events[:8]] == [
        *((0, three), (1, three), (2, three)),
        *((0, two), (1, two), (2, two)),  # the first is lost
        *((1, two), (2, "1 groups on 1 nodes")),  # it waits, and the third fails
    ]


@pytest.mark.parametrize(("silent", "nobody", "times"), [(5, 4, 1), (3, 0, 0)])
def test_it_is_said_once_that_nobody_is_left(silent: int, nobody: int, times: int) -> None:
    pool = Scripted({0: [whole((0,))]}, silent=silent, nobody=nobody)
    lonely = [event for event in events_of(pool, job(0)) if not (event.progress or event.parts or event.failure)]
    assert [event.activity for event in lonely] == times * ["no node is left that could train: waiting for one"]


def test_the_workers_are_stopped_when_something_raises() -> None:
    def unreadable(number: int) -> Snapshot | None:
        raise OSError("no such device")

    pool = Scripted({0: [[GONE]]})
    with pytest.raises(OSError, match="no such device"):
        events_of(pool, job(0), latest=unreadable)
    assert pool.stops == 1


# Workers that are lost


@pytest.mark.parametrize(
    ("begun", "newest", "goes_on"),
    [
        (None, snapshot((1, 2), 12), job(1, 2, resume=snapshot((1, 2), 12))),
        (None, None, job(0, 1, 2)),
        (snapshot((0, 1, 2), 6), None, job(0, 1, 2, resume=snapshot((0, 1, 2), 6))),
        (snapshot((0, 1, 2), 0), snapshot((0, 1, 2), 6), job(0, 1, 2, resume=snapshot((0, 1, 2), 6))),
        # A state may hold trials that another job has.
        (None, snapshot((0, 1, 2, 3), 6), job(0, 1, 2, resume=snapshot((0, 1, 2), 6))),
    ],
)
def test_a_lost_job_goes_on_from_the_newest_state_with_the_trials_in_it(
    begun: Snapshot | None, newest: Snapshot | None, goes_on: Job
) -> None:
    some, again = job(0, 1, 2, resume=begun), replace(goes_on, number=0)
    pool = Scripted({0: [[GONE], whole(again.group.numbers)]})
    first, *rest = events_of(pool, some, latest=lambda number: newest)
    assert pool.started == [some, again]
    assert (first.job, first.parts, first.failure) == (some, (again,), "")
    assert steps(rest) == [(0, 0), (0, 6), (0, 12)]


def test_the_place_is_that_of_the_worker_that_was_lost_and_the_last_line_of_an_error_its_reason() -> None:
    says = [
        [Started("anna"), GONE],
        [Failed("Traceback:\nRuntimeError: no\n", out_of_memory=False)],
        [Started("cleo"), Failed("File\nagain", out_of_memory=False)],
    ]
    *gone, failed = events_of(Scripted({0: says}), job(0))
    assert [event.reason for event in gone] == [
        "broke off on node-anna (the machine is gone)",
        "broke off before they began (RuntimeError: no)",
    ]
    assert failed.failure == "failed 3 times without getting further, the last time on node-cleo\nFile\nagain"


def test_an_error_that_is_not_worth_another_attempt_is_a_failure_at_once() -> None:
    pool = Scripted(
        {0: [[Started("anna"), Failed("Traceback\nRuntimeError: no", out_of_memory=False)]]}, retries_errors=False
    )
    (event,) = events_of(pool, job(0, 1))
    assert event.failure == "Traceback\nRuntimeError: no"


@pytest.mark.parametrize(
    ("breaks", "begun", "failed"),
    [
        ((6, 6), 3, False),
        ((6, 6, 6), 3, True),
        ((-1, -1, -1), 3, True),
        ((-1, -1, 0, 0), 5, False),
        # A step more is further.
        ((6, 6, 7, 7, 8, 8, 9, 9), 9, False),
        ((6, 6, 7, 7, 7), 5, True),
        # Further than ever, not than the last time.
        ((12, 6, 7), 3, True),
        ((12, 6, 13, 12, 12), 5, True),
    ],
)
def test_only_three_breaks_without_getting_further_are_a_failure(
    breaks: tuple[int, ...], begun: int, failed: bool
) -> None:
    """A job breaks at one step after the other (-1: before the first record), then trains to the end."""
    gone = [[Started("anna"), *([at((0,), *range(step + 1))] if step >= 0 else []), GONE] for step in breaks]
    pool = Scripted({0: [*gone, whole((0,))]})
    events = events_of(pool, job(0))
    assert (len(pool.started), bool(events[-1].failure)) == (begun, failed)


def test_the_others_go_on_whatever_breaks() -> None:
    long = [Started("anna"), *(at((2, 3), step) for step in range(5)), *whole((2, 3))[2:]]
    pool = Scripted({0: [[Started("anna"), GONE]] * 3, 2: [long], 4: [[FULL]]})
    events = events_of(pool, job(0, 1), job(2, 3), job(4))
    assert [number for number, _ in steps(events)] == [2] * 6
    assert {event.job.number for event in events if event.failure} == {0, 4}
    assert events[-1].progress
    assert events[-1].progress.ended == (2, 3)


@pytest.mark.parametrize("says_last", [GONE, Failed("RuntimeError: too late", out_of_memory=False), FULL])
def test_a_worker_that_dies_after_its_last_record_is_not_missed(says_last: Message) -> None:
    pool = Scripted({0: [[*whole((0, 1))[:-1], says_last]]})
    assert steps(events_of(pool, job(0, 1))) == [(0, 0), (0, 6), (0, 12)]
    assert len(pool.started) == 1


# Too little memory


def test_a_job_that_is_too_large_is_cut_in_two_that_go_on_from_its_newest_state() -> None:
    some, newest = job(0, 1, 2, 3, 4), snapshot((1, 2, 3, 4), 6)
    left = ProgressBatch((moment((0, 1, 2, 3, 4), 6, (0,)),))
    pool = Scripted({0: [[Started("anna"), left, FULL]], 1: [whole((1, 2))], 3: [whole((3, 4))]})
    events = events_of(pool, some, latest={0: newest}.get)
    (cut,) = (event for event in events if event.parts)
    assert cut.parts == (job(1, 2, resume=snapshot((1, 2), 6)), job(3, 4, resume=snapshot((3, 4), 6)))
    assert (cut.job, cut.reason) == (some, "ran out of memory together")
    assert pool.started == [some, *cut.parts]
    assert not any(event.failure for event in events)


def test_halves_that_are_too_large_are_cut_further_and_one_trial_alone_has_failed() -> None:
    pool = Scripted({0: [[FULL], [FULL], whole((0,))], 1: [[FULL]], 2: [whole((2, 3))]})
    events = events_of(pool, job(0, 1, 2, 3, resume=snapshot((0, 1, 2, 3), 6)))
    assert [each.group.numbers for each in pool.started] == [(0, 1, 2, 3), (0, 1), (2, 3), (0,), (1,)]
    assert {each.resume and each.resume.step for each in pool.started} == {6}
    (failed,) = (event for event in events if event.failure)
    assert failed.job.group.numbers == (1,)
    assert failed.failure == f"Traceback:\nMemoryError\n{TOO_LARGE}"
    assert {number for event in events if event.progress for number in event.progress.ended} == {0, 2, 3}


def test_one_trial_that_had_to_go_because_a_machine_was_full_is_tried_again() -> None:
    gone: list[Message] = [Failed("OutOfMemoryError: the node ran low", out_of_memory=True, preempted=True)]
    *again, last = events_of(Scripted({0: [gone, gone, gone]}), job(0))
    assert [event.parts[0].group.numbers for event in again] == [(0,), (0,)]
    assert last.failure.splitlines()[-1] == TOO_LARGE
    halves = events_of(Scripted({0: [gone, whole((0,))], 1: [whole((1,))]}), job(0, 1))
    assert [len(event.parts) for event in halves if event.parts] == [2]


def test_halves_begin_their_attempts_anew() -> None:
    gone: list[Message] = [Started("anna"), at((0, 1), 6), GONE]
    pool = Scripted({0: [gone, gone, [FULL], [GONE], [GONE], whole((0,))], 1: [[GONE], [GONE], whole((1,))]})
    assert not any(event.failure for event in events_of(pool, job(0, 1)))
    assert len(pool.started) == 9


# With real trainings


class Mortal(Scripted):
    """Workers that train in this process, and that die after so many messages, each after its own number."""

    def __init__(self, deaths: list[int]):
        super().__init__({})
        self.deaths = deaths

    def start(self, job: Job) -> None:
        self.started.append(job)
        self.talking.append((job.number, self.life(job, self.deaths.pop(0) if self.deaths else 1000)))

    def life(self, job: Job, said: int) -> Iterator[Message]:
        def training(job: Job) -> Generator[Progress, None, None]:
            return train(job.group, made_up_data(job.group), job.resume)

        for count, message in enumerate(messages(job, training, out_of_memory, float("inf"))):
            if count == said:
                yield GONE
                return
            yield message


class Memory:
    """What a recorder remembers of groups, as far as dispatch asks for it."""

    def __init__(self) -> None:
        self.newest: dict[int, Snapshot] = {}
        self.records: dict[tuple[int, int], str] = {}
        self.ended: set[int] = set()

    def take(self, event: Event) -> None:
        for part in event.parts:
            assert part.resume == self.newest.get(part.number)
        if not (progress := event.progress):
            return
        record = progress.record
        for k, trial in enumerate(record.trials):
            row = repr([row[k] for row in record.measures.values()])  # in which nan equals nan
            assert self.records.setdefault((trial, record.step), row) == row
        self.ended |= set(progress.ended)
        if progress.resumable and (left := set(record.trials) - set(progress.ended)):
            self.newest[event.job.number] = progress.snapshot().only(left)


@pytest.mark.parametrize(("first", "second"), crossed([0, 1, 2, 3], [0, 1, 2, 3], fast=4))
def test_whatever_dies_the_records_are_those_of_a_training_without_trouble(
    monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    # A message for every record, with its state: what dies after three of them has one to come.
    monkeypatch.setattr(passing, "INTERVAL", 0)
    group = only_group(
        experiment(
            model={"depth": 1, "width": 8, "activation": "relu", "dropout": 0.2},
            arms=["none"],
            train={"epochs": 3, "batch_size": 16, "stop_diverged": True},
            grid={"train.lr": [1e30, 0.1, 0.2]},  # the first trial leaves after an epoch
        )
    )
    pool, memory, undisturbed = Mortal([first, second]), Memory(), Memory()
    for event in dispatch([Job.new(group)], pool, memory.newest.get):
        assert not event.failure
        memory.take(event)
    for progress in finished(group):
        undisturbed.take(Event(Job.new(group), replace(progress, resumable=False)))
    assert memory.records == undisturbed.records
    assert memory.ended == set(group.numbers)
    assert [each.resume.step if each.resume else None for each in pool.started[:2]] == [None, [None, 0, 6, 12][first]]
    left = 4 - first  # messages of the second worker
    assert len(pool.started) == (3 if second < left else 2)
