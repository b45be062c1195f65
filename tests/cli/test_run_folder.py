"""One real run from end to end, and every file that it leaves read back."""

import json
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors import safe_open

import bnexp
from bnexp.config.load import load
from bnexp.plan import run_name, trials
from bnexp.store.files import FORMAT_VERSION
from bnexp.store.reader import RunRecord
from tests.cli.command import Trained

TRIALS, EPOCHS, STEPS = 8, 2, 4
SUMMARY = (
    *("metric", "train.lr", "arm", "baseline", "n", "mean", "low", "high"),
    *("difference", "difference_low", "difference_high", "p", "diverged"),
)
"""Columns that summary.csv has at least."""


def test_the_command_ends_well_and_prints_progress_comparison_and_files(trained: Trained) -> None:
    assert (trained.result.code, trained.result.err) == (0, "")
    lines, about = trained.result.out.splitlines(), json.loads((trained.path / "environment.json").read_text())
    assert lines[0] == f"{trained.path.name}: 8 trials (none, before) in 2 groups on {about['device']}"
    assert lines[1] == "  data: digits, 10 classes, 1×8×8, 200 training, 143 validation, 360 test images"
    assert lines[2].startswith("  4/8 trials  epoch 2  validation accuracy: before 0.")
    assert lines[3].startswith("  8/8 trials  epoch 2  validation accuracy: none 0.")
    assert "Does a tiny network learn the digits?" in lines
    assert lines[-2:] == [
        f"runs/{trained.path.name}: summary.md, summary.csv, curves.png, trials.csv, curves.csv",
        f"Next: bnexp report {trained.path.name} draws pictures and writes a page",
    ]


def test_the_folder_holds_what_the_contract_names_and_nothing_half_written(trained: Trained) -> None:
    assert {path.name for path in trained.path.iterdir()} - {".lock", ".owner.json"} == {
        "config.yaml",
        "environment.json",
        "trials.csv",
        "curves.csv",
        "summary.csv",
        "summary.md",
        "curves.png",
        "log.txt",
        "checksums.txt",
        "checkpoints",
    }
    assert {path.name for path in trained.folder.iterdir()} == {"exp.yaml", "runs"}


def test_config_yaml_reloads_to_the_same_configuration(trained: Trained) -> None:
    config = load(trained.folder / "exp.yaml")
    assert trained.path.name == run_name(config)
    assert load(trained.path / "config.yaml") == config
    assert RunRecord(trained.path).config == config


def test_environment_json_says_what_it_ran_on(trained: Trained) -> None:
    about = json.loads((trained.path / "environment.json").read_text())
    assert about["format"] == FORMAT_VERSION
    assert about["bnexp"] == bnexp.__version__
    assert about["engine"] == "local"
    assert about["command"][1:] == ["run", "exp.yaml"]
    assert {"torch", "numpy", "python", "device", "device_name", "threads", "commit"} <= set(about)
    assert datetime.fromisoformat(about["started"]) < datetime.fromisoformat(about["ended"])


def test_trials_csv_has_a_row_a_trial_in_the_order_of_the_plan(trained: Trained) -> None:
    rows = trained.table("trials.csv")
    assert ",".join(rows.columns) == (
        "trial,arm,seed,train.lr,outcome,diverged_step,highest_batch_loss,highest_batch_loss_step,reason,"
        "final_train_loss,final_train_accuracy,final_val_accuracy,final_test_accuracy,best_val_accuracy,test_accuracy_at_best_val,seconds"
    )
    planned = trials(load(trained.folder / "exp.yaml"))
    assert [(t.number, t.arm, t.seed, t.point["train.lr"]) for t in planned] == list(
        rows[["trial", "arm", "seed", "train.lr"]].itertuples(index=False, name=None)
    )
    assert set(rows["outcome"]) == {"completed"}
    assert rows[["diverged_step", "reason"]].isna().all(axis=None)
    assert rows["highest_batch_loss"].between(1, 10).all()
    assert rows["highest_batch_loss_step"].between(1, EPOCHS * STEPS).all()
    assert (rows["seconds"] > 0).all()


def test_curves_csv_has_every_epoch_of_every_trial_beginning_before_training(trained: Trained) -> None:
    curves = trained.table("curves.csv")
    assert ",".join(curves.columns) == (
        "trial,epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,test_loss,test_accuracy,lr,seconds"
    )
    assert len(curves) == TRIALS * (EPOCHS + 1)
    losses = curves[["train_loss", "val_loss", "test_loss"]]
    assert np.isfinite(losses.to_numpy()).all()
    assert losses[curves["epoch"] == 0].to_numpy().mean() == pytest.approx(np.log(10), abs=0.5)
    for _, rows in curves.groupby("trial"):
        assert rows["epoch"].tolist() == [0, 1, 2]
        assert rows["step"].tolist() == [0, STEPS, 2 * STEPS]
        assert rows["seconds"].is_monotonic_increasing
    assert set(curves["trial"]) == set(range(TRIALS))
    rate = curves["trial"].map(trained.table("trials.csv")["train.lr"])
    assert curves["lr"].to_numpy() == pytest.approx(rate.to_numpy())


@pytest.mark.parametrize(("split", "images"), [("train", 200), ("val", 143), ("test", 360)])
def test_accuracies_are_counts_of_right_answers_over_images(trained: Trained, split: str, images: int) -> None:
    accuracy = trained.table("curves.csv")[f"{split}_accuracy"]
    assert accuracy.between(0, 1).all()
    assert (accuracy * images).to_numpy() == pytest.approx((accuracy * images).round().to_numpy(), abs=1e-6)
    assert accuracy.nunique() > TRIALS // 2


def test_final_and_best_numbers_are_those_of_the_curves(trained: Trained) -> None:
    rows, curves = trained.table("trials.csv").set_index("trial"), trained.table("curves.csv")
    last = curves[curves["epoch"] == EPOCHS].set_index("trial").sort_index()
    for name in ("train_loss", "train_accuracy", "val_accuracy", "test_accuracy"):
        pd.testing.assert_series_equal(rows[f"final_{name}"], last[name], check_names=False, check_exact=True)
    best = curves.loc[curves.groupby("trial")["val_accuracy"].idxmax()].set_index("trial")
    pd.testing.assert_series_equal(rows["best_val_accuracy"], best["val_accuracy"], check_names=False)
    pd.testing.assert_series_equal(rows["test_accuracy_at_best_val"], best["test_accuracy"], check_names=False)


def test_the_weights_of_every_trial_are_kept_as_safetensors(trained: Trained) -> None:
    seen: list[int] = []
    for path in (trained.path / "checkpoints").glob("weights-*"):
        assert path.suffix == ".safetensors"
        with safe_open(path, framework="np") as file:
            about = file.metadata()
            numbers = json.loads(about["trials"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        assert (int(about["epoch"]), int(about["step"])) == (EPOCHS, EPOCHS * STEPS)
        assert {array.shape[0] for array in arrays.values()} == {len(numbers)}
        assert {(16, 64), (16, 16), (10, 16)} <= {array.shape[1:] for array in arrays.values()}
        assert all(np.isfinite(array).all() for array in arrays.values())
        seen += numbers
    assert sorted(seen) == list(range(TRIALS))


def test_curves_png_is_a_picture(trained: Trained) -> None:
    assert (trained.path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(trained.path / "curves.png") as image:
        image.load()
        assert min(image.size) > 200
        assert len(set(image.convert("L").tobytes())) > 10


def test_summary_csv_has_the_columns_of_the_contract_and_the_means_of_the_trials(trained: Trained) -> None:
    summary, rows = trained.table("summary.csv"), trained.table("trials.csv")
    assert set(SUMMARY) <= set(summary.columns)
    means = rows.groupby(["train.lr", "arm"], sort=False)["final_test_accuracy"].mean()
    assert summary[["train.lr", "arm"]].apply(tuple, axis=1).tolist() == list(means.index)
    assert summary["mean"].to_numpy() == pytest.approx(means.to_numpy())
    assert (summary["metric"] == "final_test_accuracy").all()
    assert (summary["baseline"] == "none").all()
    assert (summary["n"] == 2).all()
    assert (summary["diverged"] == 0).all()
    paired = means.xs("before", level="arm") - means.xs("none", level="arm")
    assert summary.loc[summary["arm"] == "before", "difference"].to_numpy() == pytest.approx(paired.to_numpy())
    assert summary.loc[summary["arm"] == "none", "difference"].isna().all()


def test_summary_md_has_title_question_and_a_row_per_arm_and_point(trained: Trained) -> None:
    lines = (trained.path / "summary.md").read_text().splitlines()
    assert lines[:3] == ["# tiny", "", "Does a tiny network learn the digits?"]
    assert sum(line.startswith(("| 0.1 | ", "| 1 | ")) for line in lines) == 4
