"""Reading run folders: one run as tables, or all runs of a `runs/` folder."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.reader import read_mapping
from bnexp.errors import InputError, nearest
from bnexp.store.files import whole_lines


@dataclass(frozen=True)
class RunRecord:
    """A run folder, read as it is at this moment; a run in progress has fewer outcomes and records."""

    path: Path

    @cached_property
    def config(self) -> ExperimentConfig:
        """The resolved configuration."""
        return resolve(read_mapping(self.path / "config.yaml"), str(self.path / "config.yaml"))

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, command line, start and end."""
        with _damaged(self.path / "environment.json"):
            found: dict[str, Any] = json.loads((self.path / "environment.json").read_text())
        return found

    @cached_property
    def trials(self) -> pd.DataFrame:
        """trials.csv: every planned trial; `outcome` is missing where it has not ended."""
        with _damaged(self.path / "trials.csv"):
            text = io.BytesIO(whole_lines(self.path / "trials.csv"))
            table = pd.read_csv(text, keep_default_na=False, na_values=_MISSING, dtype={"arm": str})
            return table.astype({"trial": int, "outcome": object})

    @cached_property
    def curves(self) -> pd.DataFrame:
        """curves.csv: every record of every trial so far."""
        with _damaged(self.path / "curves.csv"):
            table = pd.read_csv(io.BytesIO(whole_lines(self.path / "curves.csv")))
            return table.astype({"trial": int})

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether a folder holds a run."""
        return os.path.isfile(path / "config.yaml")  # unlike Path's own, never an error

    @property
    def unfinished(self) -> set[int]:
        """Numbers of the trials without an outcome."""
        return set(self.trials.loc[self.trials["outcome"].isna(), "trial"])

    @property
    def finished(self) -> int:
        """How many trials have an outcome."""
        return int(self.trials["outcome"].notna().sum())

    @property
    def complete(self) -> bool:
        """Whether every trial has an outcome."""
        return self.finished == len(self.trials)


# An arm named none or a swept value "null" is a name, not a gap.
_MISSING = ["", "nan"]


def finished_run(path: Path) -> RunRecord | None:
    """Return the run in a folder if every trial of it has ended and its tables are written."""
    run = RunRecord(path)
    return run if RunRecord.exists(path) and run.complete and run.environment["ended"] else None


def find_runs(runs: Path) -> list[RunRecord]:
    """Return the runs in a folder, oldest first."""
    folders = [path.parent for path in runs.glob("*/config.yaml")] if runs.is_dir() else []
    return [RunRecord(path) for path in sorted(folders, key=lambda path: (_started(path), path.name))]


def newest_runs(runs: Path) -> list[RunRecord]:
    """Return the newest run of every experiment, in the order of their names."""
    newest = {_experiment(run.path.name): run for run in find_runs(runs)}
    return [newest[name] for name in sorted(newest)]


def find_run(written: str, runs: Path) -> RunRecord:
    """Return the run meant by a folder's path, a folder's name in `runs`, or an experiment's name (the newest).

    Raises:
        InputError: no such run; the message says which there are.
    """
    for path in (Path(written), runs / written):
        if RunRecord.exists(path):
            return RunRecord(path)
    known = find_runs(runs)
    named = [run for run in known if _experiment(run.path.name) == written]
    if named:
        return named[-1]
    names = [run.path.name for run in known]
    there = f"there are {', '.join(names)}" if names else "there are none yet: train one with bnexp run"
    raise InputError(f"{written}: no such run in {runs}{nearest(written, names)}; {there}")


def find_some(written: Sequence[str], runs: Path) -> list[RunRecord]:
    """Return the runs asked for, or without any the newest run of every experiment.

    Raises:
        InputError: one is not there, or nothing was asked for and there is no run at all.
    """
    found = [find_run(name, runs) for name in written] if written else newest_runs(runs)
    if not found:
        raise InputError(f"{runs}: no runs here yet; train one with bnexp run configs/quickstart.yaml")
    return found


def find_together(written: Sequence[str], runs: Path) -> list[list[RunRecord]]:
    """Return what belongs into one comparison each: all runs asked for, or without any every experiment's newest.

    Raises:
        InputError: as find_some.
    """
    found = find_some(written, runs)
    return [found] if written else [[run] for run in found]


def _experiment(folder: str) -> str:
    return folder.rpartition("-")[0]


def _started(path: Path) -> str:
    try:
        return str(json.loads((path / "environment.json").read_text()).get("started", ""))
    except (OSError, ValueError):
        return ""


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: missing or damaged ({error})") from error
