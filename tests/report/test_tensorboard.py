"""What TensorBoard's own readers find in the event files is what curves.csv and trials.csv say."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from bnexp.analysis.runs import compare_run
from bnexp.errors import InputError
from bnexp.plan import trials
from bnexp.records import EpochRecord, Outcome
from bnexp.report.summary import summary_markdown
from bnexp.report.tensorboard import COMPARISON, FINAL, trial_name, write_events
from bnexp.store.reader import RunRecord
from bnexp.store.writer import RunWriter
from tests.helpers import experiment, no_batches

MEASURED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
ARMS = {"none": None, "before": None, "wide.5": {"model.width": 50}}
STATUSES = (api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING)


def make_run(path: Path, records: int = 4, ended: bool = True, **raw: Any) -> RunRecord:
    """A run without training: three arms, two rates, two seeds; trial 1 diverges, trial 2 fails, nothing is validated.

    Its losses are not finite in places, and in one place no float32.
    """
    config = experiment(**{"arms": ARMS, "seeds": 2, "grid": {"train.lr": [0.1, 1 / 3]}} | raw)
    planned = trials(config)
    writer = RunWriter.create(path, config, planned, {})
    rng, numbers = np.random.default_rng(3), tuple(trial.number for trial in planned)
    for epoch in range(records):
        measures = {name: tuple(rng.random(len(numbers))) for name in MEASURED}
        if epoch == records - 1:
            measures["train_loss"] = (1e39, math.nan, math.inf, *measures["train_loss"][3:])
        rates = tuple(float(np.float32(rate)) for rate in rng.random(len(numbers)))
        writer.append(EpochRecord(numbers, epoch, 7 * epoch, measures, rates, epoch * 0.37, *no_batches(len(numbers))))
    special = {1: Outcome(1, "diverged", 15), 2: Outcome(2, "failed", reason="a cable")}
    if ended:
        writer.end(special.get(number, Outcome(number, "completed")) for number in numbers)
    writer.close()
    return RunRecord(path)


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return make_run(tmp_path / "run")


def subfolders(folder: Path) -> dict[int, Path]:
    """The folders of the trials, by the number at the end of their name."""
    return {int(path.name.rpartition("=")[2]): path for path in sorted(folder.iterdir()) if path.name != COMPARISON}


def read(path: Path) -> EventAccumulator:
    return EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()


def scalars(path: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Step, wall time and value of every scalar in a trial's folder."""
    found = read(path)
    return {tag: [(e.step, e.wall_time, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def expected_scalars(run: RunRecord, trial: int) -> dict[str, list[tuple[int, float, float]]]:
    """The same worked out from curves.csv, cell by cell."""
    start = pd.Timestamp(run.environment["started"]).timestamp()
    found: dict[str, list[tuple[int, float, float]]] = {}
    for row in run.curves[run.curves["trial"] == trial].sort_values("step").to_dict("records"):
        for name in (*MEASURED, "val_loss", "val_accuracy", "lr"):
            with np.errstate(over="ignore"):
                value = float(np.float32(row[name]))
            if math.isfinite(value):
                found.setdefault(name, []).append((row["step"], start + row["seconds"], value))
    return found


def table(folder: Path) -> dict[int, Any]:
    """The rows of TensorBoard's HPARAMS tab, worked out by TensorBoard, by the trial's number."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder))
    runs.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(runs, str(folder)), logdir=str(folder)))
    request = api_pb2.ListSessionGroupsRequest(slice_size=1000, allowed_statuses=STATUSES)
    groups = Handler(RequestContext(), context, "", request).run().session_groups
    return {int(group.name.rpartition("=")[2]): group for group in groups}


def value(setting: Any) -> Any:
    return getattr(setting, setting.WhichOneof("kind"))


def test_every_scalar_is_that_of_curves_csv(run: RunRecord, tmp_path: Path) -> None:
    assert write_events(run, tmp_path / "events") == 12
    found = subfolders(tmp_path / "events")
    assert sorted(found) == list(range(12))
    for trial, path in found.items():
        curves = {tag: events for tag, events in scalars(path).items() if not tag.startswith("final/")}
        assert curves == expected_scalars(run, trial)
        assert len(curves["train_loss"]) == (3 if trial < 3 else 4)
        assert len(curves["test_accuracy"]) == len(curves["lr"]) == 4
        assert "val_loss" not in curves


def test_the_final_numbers_are_those_of_trials_csv(run: RunRecord, tmp_path: Path) -> None:
    write_events(run, tmp_path / "events")
    for trial, path in subfolders(tmp_path / "events").items():
        (row,) = run.trials[run.trials["trial"] == trial].to_dict("records")
        with np.errstate(over="ignore"):
            numbers = {name.removeprefix("final_"): float(np.float32(row[name])) for name in FINAL}
        found = {tag: events for tag, events in scalars(path).items() if tag.startswith("final/")}
        assert {tag.removeprefix("final/"): events[0][2] for tag, events in found.items()} == {
            name: number for name, number in numbers.items() if math.isfinite(number)
        }
        assert {(len(events), events[0][0]) for events in found.values()} == {(1, 21)}
        assert ("final/diverged_step" in found) == (trial == 1)
        assert ("final/train_loss" in found) == (trial > 2)


def test_the_hparams_tab_shows_trials_csv(run: RunRecord, tmp_path: Path) -> None:
    write_events(run, tmp_path / "events")
    rows = table(tmp_path / "events")
    start = pd.Timestamp(run.environment["started"]).timestamp()
    for row in run.trials.to_dict("records"):
        group = rows.pop(row["trial"])
        settings = {name: value(setting) for name, setting in group.hparams.items()}
        assert settings == {name: row[name] for name in ("arm", "seed", "train.lr")}
        (session,) = group.sessions
        assert session.status == (api_pb2.STATUS_FAILURE if row["trial"] == 2 else api_pb2.STATUS_SUCCESS)
        assert (session.start_time_secs, session.end_time_secs) == (start, start + row["seconds"])
        metrics = {metric.name.tag: metric.value for metric in session.metric_values}
        assert metrics["final/test_accuracy"] == float(np.float32(row["final_test_accuracy"]))
    assert not rows


def test_settings_that_are_no_numbers_become_text(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run",
        arms=["none"],
        grid={"train.clip.value": [None, 0.5], "model.activation": ["relu", "tanh"], "train.nesterov": [False]},
        train={"momentum": 0.9},
    )
    write_events(run, tmp_path / "events")
    rows = table(tmp_path / "events")
    found = [{name: value(setting) for name, setting in rows[trial].hparams.items()} for trial in sorted(rows)]
    assert [row["train.clip.value"] for row in found] == ["null"] * 4 + [0.5] * 4
    assert [row["model.activation"] for row in found] == (["relu"] * 2 + ["tanh"] * 2) * 2
    assert {row["train.nesterov"] for row in found} == {False}
    assert {type(row["train.nesterov"]) for row in found} == {bool}


def test_a_run_in_progress_shows_what_there_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", records=2, ended=False)
    assert write_events(run, tmp_path / "events") == 12
    path = subfolders(tmp_path / "events")[3]
    assert scalars(path) == expected_scalars(run, 3)
    content = read(path).PluginTagToContent("hparams")
    assert list(content) == [metadata.SESSION_START_INFO_TAG]
    assert table(tmp_path / "events")[3].sessions[0].status == api_pb2.STATUS_UNKNOWN


def test_a_trial_that_has_not_begun_is_left_out(tmp_path: Path) -> None:
    assert write_events(make_run(tmp_path / "run", records=0, ended=False), tmp_path / "events") == 0
    assert list((tmp_path / "events").iterdir()) == []
    failed = make_run(tmp_path / "failed", records=0, ended=True)
    assert write_events(failed, tmp_path / "events") == 12
    assert scalars(subfolders(tmp_path / "events")[2]) == {}
    assert table(tmp_path / "events")[2].sessions[0].status == api_pb2.STATUS_FAILURE


def test_the_comparison_is_a_text_with_its_warnings(run: RunRecord, tmp_path: Path) -> None:
    write_events(run, tmp_path / "events")
    found = read(tmp_path / "events" / COMPARISON)
    (text,) = found.Tensors(COMPARISON)
    (markdown,) = text.tensor_proto.string_val
    comparison = compare_run(run)
    assert markdown.decode() == summary_markdown(comparison, run.path.name, run.config.question)
    assert f"- Careful: {comparison.warnings[0]}." in markdown.decode()


def test_later_files_only_add_to_earlier_ones(tmp_path: Path) -> None:
    # Or a TensorBoard that is watching would draw curves twice.
    run, folder = make_run(tmp_path / "run", ended=False), tmp_path / "events"
    write_events(run, folder)
    early = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*tfevents*")}
    writer = RunWriter.restore(run.path, run.config, trials(run.config), {})
    writer.end(Outcome(number, "completed") for number in range(12))
    writer.close()
    write_events(RunRecord(run.path), folder)
    late = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*tfevents*")}
    assert {path.parent.name for path in late.keys() - early.keys()} == {COMPARISON}
    assert all(late[path].startswith(early[path]) and len(late[path]) > len(early[path]) for path in early)


def test_writing_twice_changes_nothing_and_leaves_nothing_beside(run: RunRecord, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "events"
    contents = []
    for _ in range(2):
        write_events(run, folder)
        contents.append({path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 26
    assert [path.name for path in folder.parent.iterdir()] == ["events"]


@pytest.mark.parametrize("stranger", ["notes.txt", "deep/down/events.out.tfevents.1.host"])
def test_a_folder_with_other_files_is_refused_and_kept(run: RunRecord, tmp_path: Path, stranger: str) -> None:
    path = tmp_path / "events" / stranger
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="holds other files than event files of bnexp"):
        write_events(run, tmp_path / "events")
    assert path.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "run"]


def test_a_file_in_the_way_is_refused_and_kept(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        write_events(run, tmp_path / "events")
    with pytest.raises(InputError, match="events/below: can't be written \\(Not a directory\\)"):
        write_events(run, tmp_path / "events" / "below")
    assert (tmp_path / "events").read_text() == "mine"


def test_events_survive_a_failed_replacement(run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "events"
    write_events(run, folder)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.endswith(".new"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match="No space left on device"):
        write_events(run, folder)
    assert len(subfolders(folder)) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "run"]


def test_names_of_trials_are_readable() -> None:
    assert trial_name(12, {"arm": "before", "seed": 3, "train.lr": 0.1}) == "before_lr=0.1_seed=3_trial=12"
    assert trial_name(0, {"arm": "none", "seed": 0}) == "none_seed=0_trial=0"
    point = {"model.init.scale": 0.000184785, "train.lr": "null", "data.batch_size": -1}
    assert (
        trial_name(7, {"arm": "none", "seed": 0, **point})
        == "none_init.scale=0.0001848_lr=null_batch_size=-1_seed=0_trial=7"
    )


@pytest.mark.parametrize(
    ("arm", "expected"),
    [("$x$", "x"), ("日本", "arm"), ("con.x", "con-x"), ("..", "arm"), ("a/b\\c:d*e", "a-b-c-d-e"), ("-rf", "rf")],
)
def test_names_of_trials_are_allowed_on_any_system(arm: str, expected: str) -> None:
    assert trial_name(1, {"arm": arm, "seed": 0}) == f"{expected}_seed=0_trial=1"
    value = trial_name(1, {"arm": "none", "seed": 0, "data.root": arm})
    assert set('<>:"/\\|?*$ ').isdisjoint(value)
    assert value.isascii()


def test_without_tensorboard_the_message_says_what_to_install(
    run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError) as refused:
        write_events(run, tmp_path / "events")
    assert str(refused.value) == "TensorBoard is not installed: pip install 'bnexp[tensorboard]'"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


PROGRAM = """
import sys
from pathlib import Path
from bnexp.report import tensorboard
from bnexp.report.summary import summary_markdown
from bnexp.store.reader import RunRecord
print(sorted({"tensorboard"} & set(sys.modules)))
tensorboard.write_events(RunRecord(Path(sys.argv[1])), Path(sys.argv[2]))
print(sorted({"tensorboard", "tensorflow", "torch"} & set(sys.modules)))
"""


def test_neither_torch_nor_tensorflow_is_imported_even_if_there(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "tensorflow.py").write_text("")  # what is importable would be imported
    command = [sys.executable, "-c", PROGRAM, str(run.path), str(tmp_path / "events")]
    env = os.environ | {"PYTHONPATH": str(tmp_path / "fakes")}
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=env)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == ["[]", "['tensorboard']"]
    assert len(subfolders(tmp_path / "events")) == 12
