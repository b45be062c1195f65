"""The benchmark of whole commands: it times processes, leaves out what training takes, and says where targets are."""

import json
from pathlib import Path
from subprocess import CalledProcessError

import pandas as pd
import pytest

from benchmarks.processes import TORCH, Command, Spent, spend, table, training_seconds
from bnexp.store.reader import RunRecord


def test_a_process_is_timed_with_what_it_waited_for() -> None:
    busy = "import time\nwhile time.process_time() < 0.1: pass"
    spent = spend(("-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"))
    assert spent.cpu > 0.1
    assert spent.wall > 0.1


def test_a_command_that_fails_is_not_timed() -> None:
    with pytest.raises(CalledProcessError):
        spend(("-c", "raise SystemExit(2)"))


def test_training_ends_with_the_last_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "environment.json").write_text(json.dumps({"format": 4, "groups": ["0 1", "2", "3"], "workers": 2}))
    monkeypatch.setattr(RunRecord, "trials", pd.DataFrame({"seconds": [1.5, 1.5, 2.0, 2.0]}))
    assert training_seconds(tmp_path) == 4.0


def test_targets_beyond_torch_are_shown_as_seconds_to_reach() -> None:
    commands = {TORCH: Command(()), "bnexp show": Command((), 0.8, beyond_torch=True), "bnexp report": Command((), 2.5)}
    *_, show, report = table(commands, {name: [Spent(2.0, 1.9)] for name in commands}).splitlines()
    assert show == "| `bnexp show` | 2.00 (2.00 to 2.00) | 1.90 (1.90 to 1.90) | 2.80 |"
    assert report.endswith("| 2.50 |")
