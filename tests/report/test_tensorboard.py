"""What TensorBoard's own readers find in the event files is what curves.csv and trials.csv say."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

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
            measures["train_loss"] = (1e39, math.nan, math.inf, *measures["train_loss"][3:])[: len(numbers)]
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


def read(run: RunRecord, folder: Path) -> dict[int, EventAccumulator]:
    """Write a run, and return what TensorBoard reads of each trial, by the number at the end of its folder's name."""
    count = write_events(run, folder)
    found = {int(path.name.rpartition("=")[2]): loaded(path) for path in folder.iterdir() if path.name != COMPARISON}
    assert len(found) == count
    return found


def loaded(path: Path) -> EventAccumulator:
    return EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()


def scalars(events: EventAccumulator) -> dict[str, list[tuple[int, float, float]]]:
    """Step, wall time and value of every scalar of a trial."""
    return {tag: [(e.step, e.wall_time, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def expected_scalars(run: RunRecord, row: dict[str, Any]) -> dict[str, list[tuple[int, float, float]]]:
    """The same worked out from curves.csv and, once the trial has ended, trials.csv."""
    start = pd.Timestamp(run.environment["started"]).timestamp()
    found = []
    for record in run.curves[run.curves["trial"] == row["trial"]].sort_values("step").to_dict("records"):
        measures = (*MEASURED, "val_loss", "val_accuracy", "lr")
        found += [(name, (record["step"], start + record["seconds"], record[name])) for name in measures]
    if isinstance(row["outcome"], str):
        step, end = found[-1][1][:2]
        found += [(f"final/{name.removeprefix('final_')}", (step, end, row[name])) for name in FINAL]
    kept: dict[str, list[tuple[int, float, float]]] = {}
    with np.errstate(over="ignore"):
        for tag, (step, now, value) in found:
            if math.isfinite(np.float32(value)):
                kept.setdefault(tag, []).append((step, now, float(np.float32(value))))
    return kept


def hparams(events: EventAccumulator) -> dict[str, Any]:
    """What the HPARAMS tab reads of a trial: its start with its settings, and its end."""
    found = events.PluginTagToContent("hparams")
    return {
        tag: metadata.parse_session_start_info_plugin_data(content)
        if "start" in tag
        else metadata.parse_session_end_info_plugin_data(content)
        for tag, content in found.items()
    }


def settings(events: EventAccumulator) -> dict[str, Any]:
    found = hparams(events)[metadata.SESSION_START_INFO_TAG].hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


@pytest.mark.parametrize(("records", "ended"), [(4, True), (2, False)])
def test_every_scalar_is_that_of_the_run(tmp_path: Path, records: int, ended: bool) -> None:
    run = make_run(tmp_path / "run", records, ended)
    found = read(run, tmp_path / "events")
    assert sorted(found) == list(range(12))
    for row in run.trials.to_dict("records"):
        assert scalars(found[row["trial"]]) == expected_scalars(run, row)


def test_settings_and_how_trials_ended_are_hyperparameters(run: RunRecord, tmp_path: Path) -> None:
    found = read(run, tmp_path / "events")
    for row in run.trials.to_dict("records"):
        events = found[row["trial"]]
        assert settings(events) == {name: row[name] for name in ("arm", "seed", "train.lr")}
        status = hparams(events)[metadata.SESSION_END_INFO_TAG].status
        assert status == (api_pb2.STATUS_FAILURE if row["trial"] == 2 else api_pb2.STATUS_SUCCESS)


def test_settings_that_are_no_numbers_become_text(tmp_path: Path) -> None:
    grid = {"train.clip.value": [None, 0.5], "model.activation": ["relu"], "train.nesterov": [False]}
    run = make_run(tmp_path / "run", arms=["none"], seeds=1, grid=grid, train={"momentum": 0.9})
    found = [settings(events) for _, events in sorted(read(run, tmp_path / "events").items())]
    rest = {"arm": "none", "seed": 0.0, "model.activation": "relu", "train.nesterov": False}
    assert found == [rest | {"train.clip.value": value} for value in ("null", 0.5)]


def test_a_trial_that_has_not_begun_is_left_out(tmp_path: Path) -> None:
    assert read(make_run(tmp_path / "run", records=0, ended=False), tmp_path / "events") == {}
    failed = read(make_run(tmp_path / "failed", records=0), tmp_path / "events")
    assert scalars(failed[2]) == {}
    assert hparams(failed[2])[metadata.SESSION_END_INFO_TAG].status == api_pb2.STATUS_FAILURE


def test_the_comparison_is_a_text_with_its_warnings(run: RunRecord, tmp_path: Path) -> None:
    write_events(run, tmp_path / "events")
    (text,) = loaded(tmp_path / "events" / COMPARISON).Tensors(f"{COMPARISON}/text_summary")
    (markdown,) = text.tensor_proto.string_val
    assert markdown.decode() == summary_markdown(compare_run(run), run.path.name, run.question)


def test_a_file_keeps_its_name_when_it_is_written_again(run: RunRecord, tmp_path: Path) -> None:
    # Or a TensorBoard that is watching would draw curves twice.
    folder = tmp_path / "deep" / "events"
    names = []
    for _ in range(2):
        write_events(run, folder)
        names.append({path.relative_to(folder) for path in folder.rglob("*")})
    assert names[0] == names[1]
    assert len(names[0]) == 26
    assert [path.name for path in folder.parent.iterdir()] == ["events"]


@pytest.mark.parametrize("stranger", ["", "notes.txt", "deep/down/events.out.tfevents.1.host"])
def test_what_is_not_of_bnexp_is_refused_and_kept(run: RunRecord, tmp_path: Path, stranger: str) -> None:
    path = tmp_path / "events" / stranger
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="holds other files than event files of bnexp"):
        write_events(run, tmp_path / "events")
    assert path.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "run"]


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
    assert len(list(folder.iterdir())) == 13
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "run"]


@pytest.mark.parametrize(
    ("arm", "expected"),
    [("$x$", "x"), ("日本", "arm"), ("con.x", "con-x"), ("..", "arm"), ("a/b\\c:d*e", "a-b-c-d-e"), ("-rf", "rf")],
)
def test_names_of_trials_are_allowed_on_any_system(arm: str, expected: str) -> None:
    assert trial_name(1, {"arm": arm, "seed": 0}) == f"{expected}_seed=0_trial=1"
    name = trial_name(1, {"arm": "none", "seed": 0, "data.root": arm})
    assert set('<>:"/\\|?*$ ').isdisjoint(name)
    assert name.isascii()


def test_names_of_trials_are_readable() -> None:
    point = {"model.init.scale": 0.000184785, "train.lr": "null", "data.batch_size": -1}
    name = trial_name(7, {"arm": "none", "seed": 0, **point})
    assert name == "none_init.scale=0.0001848_lr=null_batch_size=-1_seed=0_trial=7"
