"""Running one experiment from its plan to the finished run folder; `bnexp run` and scripts both call this."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bnexp.errors import BnexpError
from bnexp.executors.jobs import Event
from bnexp.interrupts import Interrupts
from bnexp.opening import Opened, opened
from bnexp.pace import Pace
from bnexp.preparing import Plan
from bnexp.recording import Recorder
from bnexp.report.folder import write_report_files
from bnexp.store.files import refusal
from bnexp.store.reader import DamagedRunError, RunRecord, finished_run

DRAWN_EVERY, DRAWN_SHARE = 30.0, 0.01
"""While trials train, tables and picture are renewed at most once in so many seconds and in this share of the time."""
Watch = Callable[[Event], None]
"""Called with everything that happens, to draw progress; it must not touch the training."""
Begin = Callable[[Opened], None]
"""Called once, with what is left to train and why."""


def run(plan: Plan, watch: Watch = lambda event: None, begin: Begin = lambda opened: None) -> RunRecord:
    """Train what is left of a plan and return its finished run folder.

    A folder that is complete already is returned as it is. Whatever stops it, the folder keeps every trial that has
    ended, every record and the checkpoints, and the same call continues from there.

    Raises:
        InputError: another process has the run, or its folder can't be made.
        BnexpError: the folder can't be written, or a trial failed and the plan says to stop then.
        KeyboardInterrupt: SIGINT or SIGTERM came; how far training got is saved.
    """
    if done := finished(plan):
        return done
    with _said(plan.path), Interrupts() as interrupts, opened(plan) as folder:
        begin(folder)
        writer = folder.writer
        recorder = Recorder(writer, folder.checkpoints, plan.config.train.checkpoint_every)
        drawing = Pace(DRAWN_EVERY, DRAWN_SHARE)
        try:
            with closing(_events(plan, folder, recorder)) as events:
                for event in events:
                    with interrupts.held_off():
                        recorder(event)
                        if event.ended and writer.unfinished and drawing.due():
                            writer.sync()
                            drawing.timed(lambda: write_report_files(RunRecord(plan.path)))
                    watch(event)
                    if event.failure and plan.options.fail_fast:
                        with interrupts.held_off():
                            recorder.stop("stopped at the first failure")
                        raise BnexpError(_stopped(plan, event))
                    interrupts.deliver()
        except KeyboardInterrupt:
            with interrupts.held_off():
                recorder.stop("interrupted")
            raise
        writer.arrange()
        write_report_files(RunRecord(plan.path))
        # Last: a run counts as finished from here on, its tables and picture included.
        writer.finish()
    return RunRecord(plan.path)


def finished(plan: Plan) -> RunRecord | None:
    """Return the run of a plan if there is nothing left to do."""
    done = None if plan.options.rerun else finished_run(plan.path)
    again = done and plan.options.retry_failed and (done.trials["outcome"] == "failed").any()
    return None if again else done


def _events(plan: Plan, folder: Opened, recorder: Recorder) -> Generator[Event, None, None]:
    trials = sum(len(group.trials) for group in plan.groups)
    return plan.engine.execute(folder.jobs, plan.datasets, recorder.latest, plan.config.probes, trials)


def _stopped(plan: Plan, event: Event) -> str:
    return (
        f"{plan.path}: {event.failure.strip().splitlines()[-1]}; stopped at the first failure, as --fail-fast says; "
        "the same command goes on with the other trials, with --retry-failed with these too"
    )


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say in one line what the machine refused."""
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads the output any more: not the folder's fault
    except (OSError, DamagedRunError) as error:
        refused = error if isinstance(error, OSError) else error.refused
        if not refused:  # files went missing while training wrote them
            raise BnexpError(f"{error}; the same command restores what it can") from error
        raise refusal(path, refused) from error
    except MemoryError as error:
        raise BnexpError(f"{path}: too little memory to save it; the same command continues with more") from error
