"""The front door: what a notebook and a script call."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import bnexp
from bnexp.config.yaml import to_yaml
from bnexp.report.listings import list_runs

TINY: dict[str, Any] = {
    "name": "tiny",
    "question": "Does a tiny network learn the digits?",
    "data": {"name": "digits", "train_size": 200},
    "model": {"depth": 2, "width": 16},
    "arms": ["none", "before"],
    "train": {"epochs": 2, "batch_size": 50},
    "grid": {"train.lr": [0.1, 1]},
    "probes": ["gradient_norm"],
    "seeds": 2,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bnexp.Run:
    return bnexp.run(TINY, runs=tmp_path_factory.mktemp("runs"), device="cpu")


def test_importing_it_is_quick_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, time\nstarted = time.perf_counter()\nimport bnexp\nspent = time.perf_counter() - started\n"
        "assert spent < 0.1, spent\nassert not {'torch', 'pandas', 'pydantic'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_every_name_of_the_front_door_is_there() -> None:
    assert all(getattr(bnexp, name) for name in bnexp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bnexp.nothing  # type: ignore[attr-defined]


def test_reading_a_run_and_comparing_takes_no_torch(trained: bnexp.Run) -> None:
    script = (
        f"import bnexp, sys\nbnexp.load_run({str(trained.path)!r}).compare().equal\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


# Configurations


def test_an_experiment_can_be_named_written_and_passed(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(to_yaml(TINY))
    config = bnexp.load_config(TINY)
    assert bnexp.load_config(path) == bnexp.load_config(str(path)) == bnexp.load_config(config) == config
    assert bnexp.load_config("quickstart").name == "quickstart"


@pytest.mark.parametrize("what", ["quickstart", bnexp.load_config("quickstart")])
def test_overrides_are_values_by_dotted_key(what: Any) -> None:
    config = bnexp.load_config(what, {"seeds": 6, "train.lr": 0.1, "arms.wide": {"model.width": 9}})
    assert (config.seeds, config.train.lr, config.arms["wide"]) == ((0, 1, 2, 3, 4, 5), 0.1, {"model.width": 9})


@pytest.mark.parametrize("tuned", [False, True])
def test_a_run_says_what_was_overridden_whichever_way(tuned: bool, tmp_path: Path) -> None:
    config = bnexp.load_config(TINY, {"seeds": 3, "train.epochs": 1, "name": "small"})
    changes = {"tune": {"grid": {"train.momentum": [0.0, 0.5]}, "seeds": 1}} if tuned else {}
    run = bnexp.run(config, {"seeds": 1, "grid": {}, **changes}, runs=tmp_path)
    overrides = [
        "seeds=1",
        "train.epochs=1",
        "grid={}",
        *(["tune={grid: {train.momentum: [0.0, 0.5]}, seeds: 1}"] * tuned),
    ]
    assert json.loads((run.path / "environment.json").read_text())["overrides"] == overrides
    assert f"{TINY['question']} ({', '.join(overrides)})" in (run.path / "summary.md").read_text()
    assert f"    {', '.join(overrides)}" in list_runs(tmp_path)[-1].lines(None)


def test_a_mistake_is_said_as_on_the_command_line() -> None:
    with pytest.raises(bnexp.ConfigError) as refused:
        bnexp.load_config(TINY | {"epochs": 3}, {"train.lr": "fast", "sed": 3})
    assert str(refused.value).splitlines() == [
        "overrides: sed: unknown key (nearest: seeds)",
        'overrides: train.lr: "fast": expected a number',
        "epochs: unknown key (nearest: train.epochs)",
    ]
    with pytest.raises(bnexp.InputError, match=r"quickstrt: no such file, nor a shipped .* \(nearest: quickstart\)"):
        bnexp.run("quickstrt")


def test_a_description_is_what_show_prints() -> None:
    shown = bnexp.describe(TINY, {"seeds": 1}, device="cpu")
    assert "4 trials in 2 groups" in str(shown)
    assert "hidden.1.linear" in str(shown)
    assert "<table>" in shown._repr_html_()


# Runs


def test_tables_are_data_frames_with_arm_seed_and_swept_settings(trained: bnexp.Run) -> None:
    assert len(trained.trials) == 8
    assert set(trained.trials["outcome"]) == {"completed"}
    for table in (trained.curves, trained.probes, trained.predictions):
        assert list(table.columns[:4]) == ["trial", "arm", "seed", "train.lr"]
        assert len(table.groupby(["arm", "seed", "train.lr"])) == 8
    assert trained.config.question == TINY["question"]


def test_predictions_are_those_that_the_final_test_accuracy_counts(
    trained: bnexp.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trained.predictions
    assert list(found["image"]) == [*range(360)] * 8
    right = (found["label"] == found["predicted"]).groupby(found["trial"]).mean()
    assert right.tolist() == trained.trials["final_test_accuracy"].tolist()
    again = bnexp.load_run(trained.path)
    monkeypatch.setitem(vars(again.record), "images", None)  # as long as the run hasn't ended
    assert again.predictions["label"].isna().all()
    assert again.predictions["predicted"].equals(found["predicted"])
    earlier = bnexp.load_run(trained.path)
    monkeypatch.setitem(vars(earlier.record), "predictions", {})
    assert list(earlier.predictions.columns) == list(found.columns)
    assert earlier.predictions.empty


def test_rates_are_recorded_as_they_were_given(trained: bnexp.Run) -> None:
    assert set(trained.curves["lr"]) == {0.1, 1.0}
    assert (trained.path / "curves.csv").read_text().splitlines()[1].split(",")[-2] == "0.1"


def test_the_same_call_shows_what_is_done(trained: bnexp.Run, capsys: pytest.CaptureFixture[str]) -> None:
    again = bnexp.run(TINY, runs=trained.path.parent, progress=True)
    assert again.path == trained.path
    assert again.curves.equals(trained.curves)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["tiny", "the folder", "its name"])
def test_a_run_is_found_by_name_and_folder(trained: bnexp.Run, name: str) -> None:
    meant = {"the folder": trained.path, "its name": trained.name}.get(name, name)
    assert bnexp.load_run(meant, runs=trained.path.parent).path == trained.path


def test_an_experiment_that_tunes_is_measured_with_what_its_arms_chose(tmp_path: Path) -> None:
    tuned = TINY | {"grid": {}, "tune": {"grid": {"train.lr": [0.001, 1]}, "seeds": 1}}
    run = bnexp.run(tuned, runs=tmp_path, device="cpu")
    assert {each.arm: each.values["train.lr"] for each in run.config.tuned}["before"] == 1
    assert len(list(tmp_path.iterdir())) == 2
    curve = run.compare().tuning
    assert [*zip(curve["tries"], curve["arm"], strict=True)] == [(n, arm) for n in (1, 2) for arm in ("none", "before")]
    assert isinstance(run.plot("tuning"), Figure)


# Comparisons


def test_a_comparison_is_tables_of_numbers(trained: bnexp.Run) -> None:
    found = trained.compare()
    assert list(found.equal.columns[:6]) == ["train.lr", "arm", "baseline", "n", "mean", "low"]
    assert list(found.equal["arm"]) == ["none", "before"] * 2
    means = trained.trials.groupby(["train.lr", "arm"], sort=False)["final_test_accuracy"].mean()
    assert found.equal["mean"].to_numpy() == pytest.approx(means.to_numpy())
    assert [len(table) for table in (found.overall, found.best, found.robustness, found.time)] == [2, 2, 2, 4]
    assert found.diverged.empty
    assert all(pd.api.types.is_numeric_dtype(found.time[name]) for name in found.time.columns.drop("arm"))
    assert any(line.startswith("few seeds") for line in found.warnings)


def test_a_comparison_shows_itself_as_the_command_does(trained: bnexp.Run) -> None:
    found = trained.compare(metric="final_val_accuracy", baseline="before", filter="lr>0.5")
    assert "difference to before" in str(found)
    assert "final val accuracy" in found._repr_html_()
    assert set(found.equal["train.lr"]) == {1}


def test_several_runs_are_joined(trained: bnexp.Run) -> None:
    other = bnexp.run(TINY, {"train.epochs": 1}, runs=trained.path.parent, device="cpu")
    joined = bnexp.compare([trained, other.path])
    assert set(joined.equal["train.epochs"]) == {1, 2}


# Pictures and networks


def test_pictures_are_figures(trained: bnexp.Run) -> None:
    assert isinstance(trained.plot("curves"), Figure)
    assert isinstance(trained.plot("gradient_norms"), Figure)
    with pytest.raises(bnexp.InputError, match=r"curve: no such picture .*\(nearest: curves\); there are curves, time"):
        trained.plot("curve")


def test_a_network_is_a_plain_module_with_the_trained_weights(trained: bnexp.Run) -> None:
    from bnexp.data.raw import read

    trial = trained.trials.iloc[-1]
    network = trained.network(int(trial["trial"]))
    assert not network.training
    raw = read(trained.config.data)
    x_BCHW, labels_B = torch.from_numpy(raw.test.images_NCHW), torch.from_numpy(raw.test.labels_N)
    with torch.no_grad():
        accuracy = (network(x_BCHW).argmax(1) == labels_B).double().mean()
    assert float(accuracy) == pytest.approx(trial["final_test_accuracy"])
    with pytest.raises(bnexp.InputError, match="no trial 99"):
        trained.network(99)


# Your own arrays


def test_arrays_are_trained_on_found_again_and_not_needed_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path / "data"))
    x = np.random.default_rng(0).normal(3, 100, (120, 5))
    y = np.where(x[:, 0] > x[:, 1], "more", "less")
    raw = {"name": "own", "model": {"depth": 1, "width": 8}, "train": {"epochs": 2, "batch_size": 10}, "seeds": 1}
    made = bnexp.run(raw, data=(x[:90], y[:90], x[90:], y[90:]), runs=tmp_path, device="cpu")
    assert bnexp.run(raw, data=(torch.tensor(x[:90]), y[:90], x[90:], y[90:]), runs=tmp_path).path == made.path
    assert bnexp.run(raw, data=(x, y), runs=tmp_path, device="cpu").path != made.path
    logits = made.network(1)(torch.tensor(x[90:]))
    accuracy = (logits.argmax(1) == torch.tensor(y[90:] == "more")).double().mean()
    assert float(accuracy) == pytest.approx(made.trials.final_test_accuracy[1])
    assert bnexp.describe(made.config).data[0][1].train == 81
    shutil.rmtree(tmp_path / "data")
    assert bnexp.compare([bnexp.load_run("own", runs=tmp_path)]).metric == "final_test_accuracy"
    assert [each.state for each in list_runs(tmp_path)] == ["complete", "complete"]
    with pytest.raises(bnexp.InputError, match=r"call bnexp\.run with the same data= again"):
        made.network(1)
