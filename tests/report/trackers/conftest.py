"""Every tracker, with its real package where that is installed and with a stand-in: handed over to, and read back."""

import json
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bnexp.report.trackers.registry import TRACKERS
from bnexp.report.trackers.tracked import TrackedRun
from tests.report.trackers import stand_ins

ALONE = {
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
}
"""With these no package talks to anyone."""


@dataclass(frozen=True)
class ReadBack:
    """One run as a tracker has it."""

    name: str
    series: dict[str, list[tuple[int, float]]]
    """Steps and values of everything, in the order in which they were written."""
    about: dict[str, Any]
    """Settings, tags and final numbers under their own names."""


@dataclass(frozen=True)
class Tracker:
    """A project of a tracker."""

    hand_over: Callable[[list[TrackedRun]], str]
    read: Callable[[], list[ReadBack]]
    real: bool


CASES = ["mlflow", "wandb", "trackio", "mlflow stand-in", "wandb stand-in", "wandb online stand-in", "trackio stand-in"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the real packages write; they read these variables once in a process."""
    folder = tmp_path_factory.mktemp("trackers")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ALONE | {"WANDB_DIR": str(folder), "TRACKIO_DIR": str(folder / "trackio")}).items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(params=CASES)
def tracker(request: pytest.FixtureRequest, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """A project without runs."""
    name, *case = request.param.split()
    if not case and find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install '.[{name}]'")
    folder = home
    if case:
        folder = tmp_path / "wandb"
        made: dict[str, Callable[[], dict[str, Any]]] = {
            "mlflow": stand_ins.mlflow,
            "wandb": partial(stand_ins.wandb, folder, "online" if "online" in case else "offline"),
            "trackio": stand_ins.trackio,
        }
        for module, content in made[name]().items():
            monkeypatch.setitem(sys.modules, module, content)
    project, target = tmp_path.name, f"sqlite:///{folder}/mlflow.db" if name == "mlflow" else ""
    read: dict[str, Callable[[str], list[ReadBack]]] = {
        "mlflow": partial(_mlflow, target),
        "wandb": partial(_wandb, folder, bool(case)),
        "trackio": _trackio,
    }
    return Tracker(lambda runs: TRACKERS[name](runs, project, target), partial(read[name], project), not case)


def _mlflow(target: str, project: str) -> list[ReadBack]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=target)
    experiment, found, token = client.get_experiment_by_name(project).experiment_id, [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            series = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
            steps = {key: sorted((each.step, each.value) for each in own) for key, own in series.items()}
            finals = {key: steps.pop(key)[-1][1] for key, own in series.items() if key.startswith("final/")}
            tags = {key.removeprefix("bnexp."): text for key, text in run.data.tags.items()}
            about = {**run.data.params, **tags, **finals, "state": run.info.status.lower()}
            found.append(ReadBack(run.info.run_name, steps, about))
        if not (token := page.token):
            return found


def _trackio(project: str) -> list[ReadBack]:
    import trackio

    return [
        _of_rows(run.name.partition(": ")[2], _trackio_rows(run), run.config) for run in trackio.Api().runs(project)
    ]


def _trackio_rows(run: Any) -> list[tuple[int, dict[str, Any]]]:
    if hasattr(run, "rows"):  # the stand-in's
        return list(run.rows)
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs(run.project, run.name, run_id=run.id)
    return [
        (row["step"], {key: value for key, value in row.items() if key not in ("step", "timestamp")}) for row in logs
    ]


def _wandb(folder: Path, stand_in: bool, project: str) -> list[ReadBack]:
    files = sorted(folder.rglob("run.json" if stand_in else "run-*.wandb"))
    found = [json.loads(path.read_text()) if stand_in else _wandb_file(path) for path in files]
    return [
        _of_rows(
            run["about"]["name"],
            [(row["_step"], {key: x for key, x in row.items() if not key.startswith("_")}) for row in run["rows"]],
            run["about"]["config"] | run["summary"] | {"tags": list(run["about"]["tags"])},
        )
        for run in found
        if run["about"]["project"] == project
    ]


def _wandb_file(path: Path) -> dict[str, Any]:
    """Read a file that W&B wrote offline: records in the log format of LevelDB, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, part = path.read_bytes(), 7, b""
    about, rows, summary = dict[str, Any](), list[dict[str, Any]](), dict[str, Any]()
    while at + 7 <= len(data):
        if (left := 2**15 - at % 2**15) < 7:  # no header begins so late in a block
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part, at = part + data[at + 7 : at + 7 + length], at + 7 + length
        if kind not in (1, 4):  # whole, or the last part
            continue
        record, part = Record.FromString(part), b""
        if record.HasField("run"):
            config = {each.key: json.loads(each.value_json) for each in record.run.config.update}
            about = {"name": record.run.display_name, "project": record.run.project, "tags": record.run.tags}
            about["config"] = {key: value for key, value in config.items() if key != "_wandb"}
        elif record.HasField("history"):
            rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
        elif record.HasField("summary"):
            summary |= {i.key: json.loads(i.value_json) for i in record.summary.update if i.key}
    return {"about": about, "rows": rows, "summary": summary}


def _of_rows(name: str, rows: list[tuple[int, dict[str, Any]]], about: dict[str, Any]) -> ReadBack:
    series: dict[str, list[tuple[int, float]]] = {}
    for step, values in rows:
        for key, value in values.items():
            series.setdefault(key, []).append((step, value))
    finals = {key: series.pop(key)[-1][1] for key in list(series) if key.startswith("final/")}
    return ReadBack(name, series, about | finals)
