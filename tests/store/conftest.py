"""Run folders written by hand, record by record, without training anything."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.experiment import ExperimentConfig
from bnexp.plan import Trial, run_name, trials
from bnexp.records import MEASURES, EpochRecord, Outcome
from bnexp.store.reader import RunRecord
from bnexp.store.writer import RunWriter
from tests.helpers import experiment, no_batches


@dataclass(frozen=True)
class MadeRun:
    """A run folder with its plan and the writer that is at work on it."""

    path: Path
    config: ExperimentConfig
    trials: tuple[Trial, ...]
    writer: RunWriter
    opened: list["MadeRun"] = field(default_factory=list)
    """Writers that must be closed."""

    def record(self, epoch: int, value: float = 0.5, numbers: tuple[int, ...] | None = None, **given: Any) -> None:
        """Append a record six steps an epoch; every measure of trial n is `value` + n/10."""
        at = tuple(trial.number for trial in self.trials) if numbers is None else numbers
        measures = {name: tuple(value + number / 10 for number in at) for name in MEASURES} | given
        record = EpochRecord(at, epoch, 6 * epoch, measures, (0.1,) * len(at), epoch / 3, *no_batches(len(at)))
        self.writer.append(record)

    def end(self, *numbers: int, **outcome: Any) -> None:
        """Enter how trials ended."""
        self.writer.end(Outcome(number, **{"kind": "completed", **outcome}) for number in numbers)

    def restored(self, **kept: Any) -> "MadeRun":
        """Continue with a new writer; keywords `t0=6` give the step that trial 0 goes on from, others are its own."""
        self.writer.close()
        steps = {int(name[1:]): step for name, step in kept.items() if name[1:].isdecimal()}
        more = {name: value for name, value in kept.items() if not name[1:].isdecimal()}
        writer = RunWriter.restore(self.path, self.config, self.trials, {"device": "cpu"}, **more)
        writer.go_back(dict.fromkeys(writer.unfinished, -1) | steps)
        made = MadeRun(self.path, self.config, self.trials, writer)
        self.opened.append(made)
        return made

    def text(self, file: str) -> str:
        """A file of the folder, as it is on disk."""
        return (self.path / file).read_text()

    def read(self) -> RunRecord:
        """The folder as a reader finds it now."""
        return RunRecord(self.path)


MakeRun = Callable[..., MadeRun]


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    """Return a function from an experiment's keywords to its new run folder below `runs`."""
    made: list[MadeRun] = []

    def make(**raw: Any) -> MadeRun:
        config = experiment(**{"arms": ["none", "before"]} | raw)
        path = tmp_path / "runs" / run_name(config)
        planned = trials(config)
        together = [trial.number for trial in planned]
        writer = RunWriter.create(path, config, planned, {"device": "cpu"}, [together])
        made.append(MadeRun(path, config, planned, writer))
        return made[-1]

    yield make
    for run in made:
        for each in (run, *run.opened):
            each.writer.close()
