"""`bnexp report`: the page, the pictures and the event files, in a run's folder or beside several."""

import json
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from bnexp.report import summary
from bnexp.store import following
from tests.cli.command import Command, tree
from tests.helpers import rewrite
from tests.report.trackers import stand_ins

NAMES = ("curves", "time", "over_lr", "differences", "ranges", "misclassified")
PICTURES = {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg", "pdf")}
SMALL = ("model.depth=1", "model.width=8", "train.epochs=1", "data.train_size=100", "grid={}", "seeds=1")


@pytest.fixture
def run(runs: Path) -> Path:
    (path,) = runs.iterdir()
    return path


@pytest.mark.usefixtures("whole_pictures")
def test_a_runs_report_lies_in_its_folder_and_replaces_the_one_before(runs: Path, cli: Command, run: Path) -> None:
    before = set(tree(run))
    done = cli("report")
    assert (done.code, done.err) == (0, "")
    assert set(tree(run)) - before == {"report.html", *PICTURES} - {"curves.png"}
    assert {Path(line).name for line in done.out.splitlines()} == {"report.html", *PICTURES}
    assert all(Path(line).is_file() for line in done.out.splitlines())
    assert "Does a tiny network learn the digits?" in (run / "report.html").read_text()
    # Again, it replaces what it wrote.
    once = tree(run)
    assert cli("report", "tiny", "--json").json() == done.out.splitlines()
    again = tree(run)
    assert set(again) == set(once)
    assert [name for name in once if name.endswith(("png", "svg", "pdf")) and once[name] != again[name]] == []


def test_several_runs_have_one_page_beside_them(runs: Path, cli: Command, run: Path) -> None:
    shutil.copytree(run, runs / "other-00000000")
    rewrite(runs / "other-00000000" / "config.yaml", (run / "config.yaml").read_text().replace("tiny", "other"))
    assert cli("report", "tiny", "other").code == 0
    assert (runs / "report.html").is_file()
    assert {path.name for path in (runs / "report").iterdir()} == PICTURES
    assert not (run / "report.html").exists()
    assert [row["run"] for row in cli("list", "--json").json()] == ["other-00000000", run.name]


def test_a_filter_and_a_metric_hold_in_the_report(runs: Path, cli: Command, run: Path) -> None:
    assert cli("report", "--filter", "lr<0.5", "--metric", "final_train_accuracy", "--quiet").code == 0
    page = (run / "report.html").read_text()
    assert "final train accuracy" in page
    refused = cli("report", "--filter", "rl<0.5")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("bnexp: --filter rl<0.5: rl: no such column")


@pytest.mark.parametrize("command", [["report"], ["run", "exp.yaml"]])
def test_tensorboard_writes_a_folder_per_trial(runs: Path, cli: Command, run: Path, command: list[str]) -> None:
    assert cli(*command, "--tensorboard", "--quiet").code == 0
    folders = sorted(path.name for path in (run / "tensorboard").iterdir())
    assert len(folders) == 9
    assert (folders[0], folders[4]) == ("before_lr=0.1_seed=0_trial=2", "comparison")
    assert all(len(list((run / "tensorboard" / name).iterdir())) == 1 for name in folders)


@pytest.mark.parametrize("command", [["report"], ["run", "exp.yaml", "train.lr=0.3", *SMALL]])
def test_without_tensorboard_nothing_is_begun(
    runs: Path, cli: Command, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    before = tree(runs)
    refused = cli(*command, "--tensorboard")
    assert refused.code == 2
    assert refused.err == "bnexp: tensorboard is not installed: pip install '.[tensorboard]' in the clone of bnexp\n"
    assert tree(runs) == before


TRACKERS = {"mlflow": ("--mlflow", "sqlite:///m.db"), "wandb": ("--wandb",), "trackio": ("--trackio",)}


@pytest.mark.parametrize("name", TRACKERS)
def test_without_a_trackers_package_nothing_is_begun(
    runs: Path, cli: Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    before = tree(runs)
    refused = cli("report", *TRACKERS[name])
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"bnexp: {name} is not installed: pip install '.[{name}]' in the clone of bnexp\n"
    assert tree(runs) == before


def test_a_run_is_handed_over_to_several_trackers_at_once(
    runs: Path, cli: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stand_ins.mlflow() | stand_ins.wandb(runs / "wandb", "offline") | stand_ins.trackio()
    for name, module in made.items():
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(summary, "write_report", lambda *report: [run / "report.html"])
    words = ["report", run.name, *(word for words in TRACKERS.values() for word in words)]
    said = [
        "sqlite:///m.db: 12 runs in experiment tiny, {} of them new or changed",
        f"{runs}/wandb: 12 runs of project tiny, {{}} of them new or changed; wandb sync uploads them",
        "Trackio: 12 runs in project tiny, {} of them new or changed",
    ]
    assert cli(*words).out.splitlines()[-3:] == [line.format(12) for line in said]
    assert cli(*words).out.splitlines()[-3:] == [line.format(0) for line in said]
    assert "project mine" in cli(*words, "--project", "mine").out
    assert cli(*words, "--json").json() == [str(run / "report.html")]


def test_a_project_without_a_tracker_is_a_slip(runs: Path, cli: Command) -> None:
    refused = cli("report", "--project", "mine")
    assert (refused.code, refused.err) == (2, "bnexp: --project: needs --mlflow, --wandb or --trackio\n")


def test_a_run_without_a_result_has_a_report_too(runs: Path, cli: Command, run: Path) -> None:
    rows = (run / "trials.csv").read_text().splitlines()
    blank = [",".join([*line.split(",")[:4], *[""] * (line.count(",") - 3)]) for line in rows[1:]]
    (run / "trials.csv").write_text("\n".join([rows[0], *blank]) + "\n")
    (run / "curves.csv").write_text((run / "curves.csv").read_text().splitlines()[0] + "\n")
    done = cli("report")
    assert done.code == 0
    assert done.err == (
        "bnexp: left out: curves and time: nothing is recorded after the start of training\n"
        "bnexp: left out: over_lr, differences and ranges: no trial has ended\n"
        f"bnexp: {run.name}: 0 of 8 trials have ended so far\n"
    )
    assert done.out == f"{Path('runs') / run.name / 'report.html'}\n"


def test_without_pictures_there_is_the_page_alone(runs: Path, cli: Command, run: Path) -> None:
    before = set(tree(runs))
    done = cli("report", "tiny", "--no-pictures")
    assert (done.code, done.out, done.err) == (0, f"runs/{run.name}/report.html\n", "")
    assert {path for path in tree(runs) if path not in before} == {f"{run.name}/report.html"}


def test_what_cannot_be_written_is_said_with_a_way_out(
    runs: Path, cli: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(path: Path, content: str) -> None:
        raise PermissionError(13, "Permission denied", f"{path}.123")

    monkeypatch.setattr(summary, "replace", replace)
    refused = cli("report", "tiny")
    assert refused.code == 2
    assert refused.err == f"bnexp: runs/{run.name}: can't be written (Permission denied); report on a copy of it\n"


def test_following_writes_the_page_after_each_change_and_pictures_when_the_run_has_ended(
    runs: Path, cli: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[Path | None, int | None]] = []

    def write_report(study: object, comparison: object, page: Path, pictures: Path | None, reload: int | None) -> Any:
        written.append((pictures, reload))
        return [page, pictures / "curves.png"] if pictures else [page]

    monkeypatch.setattr(summary, "write_report", write_report)
    monkeypatch.setattr(following, "changes", lambda runs, every: iter([False, False, True]))
    done = cli("report", "tiny", "--follow")
    assert (done.code, written) == (0, [(None, 10), (None, 10), (Path("runs") / run.name, None)])
    files = [f"runs/{run.name}/{name}" for name in ("report.html", "curves.png")]
    assert (done.out.splitlines(), done.err) == (files, f"bnexp: {run.name}: ended\n")
    listed = cli("report", "tiny", "--follow", "--json").out.splitlines()
    assert [json.loads(line) for line in listed] == [files[:1], files[1:]]
