"""A run without training, that grows."""

from math import nan
from pathlib import Path

from bnexp.plan import trials
from bnexp.records import EpochRecord, Outcome
from bnexp.store.reader import RunRecord
from bnexp.store.writer import RunWriter
from tests.helpers import experiment, no_batches

STARTED = "2026-01-02T03:04:05.678+00:00"
RECORDS = 4
"""Of a trial that trains to its end; 7 steps lie between them."""


def make_run(path: Path, until: int = RECORDS, started: str = STARTED, **raw: object) -> RunRecord:
    """A run as far as some records: two arms, two rates and two seeds; it has ended once the last record is there.

    Trial 1 diverges and stops after its second record, trial 2 fails after its first, and trial 3 loses a number.
    """
    grid = {"train.lr": [0.1, 1]}
    config = experiment(**{"arms": ["none", "before"], "seeds": 2, "grid": grid, "question": "Why?"} | raw)
    planned = trials(config)
    writer = RunWriter.create(path, config, planned, {"started": started, "bnexp": "1.2.3"})
    for record in range(until):
        numbers = tuple(t.number for t in planned if not ((t.number == 1 and record > 1) or (t.number == 2 and record)))
        measures = {
            "train_loss": tuple(nan if (number, record) == (3, 1) else 2 - record / 8 for number in numbers),
            "test_accuracy": tuple(0.1 + number / 50 + record / 10 for number in numbers),
        }
        rates = (0.5,) * len(numbers)
        writer.append(
            EpochRecord(numbers, record, 7 * record, measures, rates, record * 0.25, *no_batches(len(numbers)))
        )
        if record == 1:
            writer.end([Outcome(1, "diverged", 9), Outcome(2, "failed", reason="a cable")])
    if until == RECORDS:
        writer.end(Outcome(number, "completed") for number in list(writer.unfinished))
    writer.close()
    return RunRecord(path)
