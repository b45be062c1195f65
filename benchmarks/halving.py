"""What successive halving saves: the same random search with all draws trained to the end, and with tune.halve."""

import os
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.timing import Timed, in_turn
from bnexp.config.experiment import searches
from bnexp.config.load import resolve
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run as train

EPOCHS, DRAWS = 27, 32
EXPERIMENT: dict[str, Any] = {
    "name": "halving",
    "data": {"name": "digits"},
    "model": {"depth": 3, "width": 100, "activation": "relu", "init": "he"},
    "arms": ["none", "before"],
    "train": {"epochs": EPOCHS, "batch_size": 64},
}
SAMPLE = {"train.lr": {"loguniform": [0.001, 10]}, "model.dropout": {"uniform": [0, 0.5]}}


def run(rounds: int = 2) -> str:
    """Return a table: per search the epochs that each arm trains, and the time of the whole run on clock and cores."""
    names, plans, on_cores = count(), {}, dict[str, list[float]]()
    with tempfile.TemporaryDirectory() as folder:
        for halve in (None, 3):
            tune = {"sample": SAMPLE, "trials": DRAWS, "seeds": 2, "halve": halve}
            (plans[f"halve: {halve or 'null'}"],) = searches(resolve(EXPERIMENT | {"tune": tune}, "halving"))

        def search(name: str) -> None:
            before = _cpu_seconds()
            train(prepare(plans[name], Path(folder) / str(next(names)), "cpu"))
            on_cores.setdefault(name, []).append(_cpu_seconds() - before)

        times = in_turn({name: partial(search, name) for name in plans}, rounds)
    lines = ["| search | epochs of each arm | seconds, median (least to most) | CPU seconds |", "|---|---|---|---|"]
    for name, stage in plans.items():
        epochs = 2 * (stage.halving.epochs(DRAWS, EPOCHS) if stage.halving else DRAWS * EPOCHS)
        lines.append(f"| {name} | {epochs:,} | {times[name]} | {Timed(tuple(on_cores[name]))} |")
    return "\n".join(lines)


def _cpu_seconds() -> float:
    """Return the seconds that cores have worked for this process and the workers of it that have ended."""
    return sum(os.times()[:4])
