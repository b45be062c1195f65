"""The forged run of the benchmark of large studies is one that the readers take for a real one."""

from pathlib import Path

from benchmarks.large import RECORDS, forge
from bnexp.store.reader import RunRecord

SMALL = ["grid={train.lr: [0.1, 1]}", "seeds=30", "train.epochs=2"]


def test_a_forged_run_is_whole(tmp_path: Path) -> None:
    run = RunRecord(forge(tmp_path, SMALL))
    assert (len(run.trials), len(run.curves), run.complete, run.warnings) == (120, 360, True, ())
    assert (run.trials["outcome"] == "diverged").sum() == 1


def test_one_without_its_last_records_is_unfinished(tmp_path: Path) -> None:
    run = RunRecord(forge(tmp_path, SMALL, last=RECORDS - 98))
    assert (len(run.unfinished), len(run.curves), run.warnings) == (20, 340, ())
