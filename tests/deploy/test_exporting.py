"""Exported trials: what they say where there is no bnexp, and which are refused."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from bnexp.config.data import DataSettings
from bnexp.data.dataset import load
from bnexp.data.raw import read
from bnexp.deploy import export as exporting
from bnexp.deploy.export import WEIGHTS, Exported, export_trial
from bnexp.errors import BnexpError, InputError, not_installed
from bnexp.runner.trained import trained_trials
from bnexp.store.reader import RunRecord
from bnexp.training.numerics import dtype_of
from tests.deploy.conftest import NUMBERS
from tests.helpers import EXACT_FLOAT32, EXACT_FLOAT64, assert_close

CPU = torch.device("cpu")
PLAIN = ("before", "layer", "whiten", "residual", "vgg_after", "resnet", "fixup", "scaled", "unit", "pca", "double_vgg")
FOLDED = ("after", "standardized", "whiten", "resnet", "double_vgg")
needs_onnx = pytest.mark.skipif(bool(not_installed("onnx")), reason="needs pip install '.[onnx]'")

PROGRAM = """
import sys
sys.modules["bnexp"] = None  # an import of it fails
from pathlib import Path
import numpy as np, runpy, torch
images = torch.from_numpy(np.load(sys.argv[1]))
assert images.dtype == torch.uint8
for folder in map(Path, sys.argv[2:]):
    network = runpy.run_path(folder / "model.py")["load"]()
    with torch.no_grad():
        np.save(folder / "logits.npy", network(images).numpy())
        assert torch.equal(network(images.float()), network(images))
"""


def images() -> np.ndarray:
    """Test images as they come: bytes."""
    return read(DataSettings(name="digits")).test.images_NCHW[:25]


def expected(record: RunRecord, arm: str) -> torch.Tensor:
    """What bnexp's own network says of them."""
    (found,) = trained_trials(record, [NUMBERS[arm]])
    settings = found.trial.settings
    data = load(settings.data, CPU, dtype_of(settings.train.precision))
    with torch.no_grad():
        logits_1NL: torch.Tensor = found.network(data.shape, CPU)(
            data.inputs(torch.from_numpy(images()).flatten(1))[None]
        )
    return logits_1NL[0]


@pytest.fixture(scope="module")
def exports(record: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Trials of all kinds, and some of them folded."""
    to = tmp_path_factory.mktemp("exports")
    plain = {arm: export_trial(record, NUMBERS[arm], to / arm) for arm in PLAIN}
    folded = {f"{arm} folded": export_trial(record, NUMBERS[arm], to / f"{arm}-folded", fold=True) for arm in FOLDED}
    return plain | folded


@pytest.fixture(scope="module")
def logits(exports: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What a program without bnexp gets from each of them."""
    file = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(file, images())
    folders = {name: each.paths[0].parent for name, each in exports.items()}
    command = [sys.executable, "-I", "-c", PROGRAM, str(file), *map(str, folders.values())]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return {name: np.load(folder / "logits.npy") for name, folder in folders.items()}


def test_without_bnexp_every_trial_answers_as_in_bnexp(record: RunRecord, logits: dict[str, np.ndarray]) -> None:
    assert set(logits) == {*PLAIN, *(f"{arm} folded" for arm in FOLDED)}
    for name, found in logits.items():
        wanted = expected(record, name.removesuffix(" folded"))
        assert found.dtype == wanted.numpy().dtype
        exact = EXACT_FLOAT64 if wanted.dtype == torch.float64 else 10 * EXACT_FLOAT32
        assert_close(found, wanted, exact)


def test_an_export_says_how_it_was_checked(exports: dict[str, Exported], record: RunRecord) -> None:
    recorded = dict(zip(record.trials["arm"], record.trials["final_test_accuracy"], strict=True))
    for name, each in exports.items():
        (check,) = each.checks
        assert (each.images, each.accuracy) == ("40 test images", recorded[each.trial.arm]), name
        assert check.accuracy == each.accuracy
        assert check.difference.relative <= 10 * EXACT_FLOAT32
        assert each.folded == name.endswith(" folded")


def test_the_weights_say_whose_they_are(exports: dict[str, Exported], record: RunRecord) -> None:
    with safe_open(exports["unit"].paths[1], "np") as file:
        about = file.metadata()
    assert (about["run"], about["arm"], about["normalize"]) == (record.path.name, "unit", "unit")
    assert {key: json.loads(about[key]) for key in ("trial", "image", "classes", "feature_scale", "folded")} == {
        "trial": NUMBERS["unit"],
        "image": [1, 8, 8],
        "classes": 10,
        "feature_scale": {"3": 2.5, "20": 0.0},
        "folded": False,
    }


def test_without_test_images_it_is_checked_on_training_images(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        exporting, "load", lambda settings, *where: load(settings.model_copy(update={"test_size": 0}), *where)
    )
    assert export_trial(record, NUMBERS["none"], tmp_path / "to").images == "120 training images"


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "fold"),
    [("double_vgg", True), ("pca", False), ("vgg_after", False), ("whiten", False), ("fixup", False)],
)
def test_onnx_answers_alike_for_batches_of_any_size(record: RunRecord, tmp_path: Path, arm: str, fold: bool) -> None:
    from onnxruntime import InferenceSession

    exported = export_trial(record, NUMBERS[arm], tmp_path, fold=fold, onnx=True)
    assert [check.path.name for check in exported.checks] == ["model.py", "model.onnx"]
    assert [path.name for path in exported.paths] == ["model.py", WEIGHTS, "model.onnx"]
    session = InferenceSession(exported.paths[2], providers=["CPUExecutionProvider"])
    for part in (images()[:1], images()):
        (found,) = session.run(["logits"], {"images": part.astype(np.float32)})
        assert_close(found, expected(record, arm)[: len(part)].numpy(), 10 * EXACT_FLOAT32)


def test_without_onnx_nothing_is_written_and_the_command_is_named(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bnexp.errors.find_spec", lambda name: None if name == "onnxruntime" else object())
    expected = r"^onnxruntime is not installed: pip install '.\[onnx\]' in the clone of bnexp$"
    with pytest.raises(InputError, match=expected):
        export_trial(record, 0, tmp_path / "to", onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_folded_is_refused_before_anything_is_written(record: RunRecord, tmp_path: Path) -> None:
    number = NUMBERS["layer"]
    with pytest.raises(InputError, match=f"trial {number} can't be folded: hidden.0.norm: its statistics are"):
        export_trial(record, number, tmp_path / "to", fold=True)
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_diverged_is_refused(record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = trained_trials(record, [0])
    arrays = found.weights.arrays | {"output.bias": np.full((1, 10), np.nan, np.float32)}
    diverged = replace(found, weights=replace(found.weights, arrays=arrays))
    monkeypatch.setattr(exporting, "trained_trials", lambda run, wanted: [diverged])
    with pytest.raises(InputError, match="trial 0 diverged: the weights are not finite"):
        export_trial(record, 0, tmp_path / "to")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_answers_differently_is_not_kept(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = exporting.to_torch

    def wrong(network: Any) -> Any:
        made = right(network)
        made[-1].bias.data[0] += 1  # type: ignore[operator]
        return made

    monkeypatch.setattr(exporting, "to_torch", wrong)
    with pytest.raises(
        BnexpError,
        match=r"^model.py was not written: it gives logits that differ from those in training by 1.0e\+00, of up to",
    ):
        export_trial(record, 0, tmp_path / "to")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def failing_onnx(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Exports to ONNX that break, or that answer something else, without any of ONNX's packages."""

    def write(network: Any, image: Any, path: Path) -> None:
        if request.param == "breaks":
            raise RuntimeError("no such operator\nand a hundred lines more")
        path.write_bytes(b"something else")

    monkeypatch.setattr(exporting, "check_installed", lambda extra: None)
    monkeypatch.setattr(exporting, "write_onnx", write)
    monkeypatch.setattr(exporting, "answers", lambda path, x_BCHW: torch.zeros(len(x_BCHW), 10))


REASONS = {
    "breaks": r"^model\.onnx could not be written \(RuntimeError: no such operator\)$",
    "differs": r"^model\.onnx was not written: it gives logits that differ from those in training by \d\.\de[+-]\d\d, "
    r"of up to \d\.\de[+-]\d\d$",
}


@pytest.mark.parametrize(("failing_onnx", "reason"), REASONS.items(), indirect=["failing_onnx"])
@pytest.mark.usefixtures("failing_onnx")
def test_where_onnx_fails_the_other_files_are_kept_and_the_reason_is_said(
    record: RunRecord, tmp_path: Path, reason: str
) -> None:
    (tmp_path / "model.onnx").write_text("of an earlier export")
    (tmp_path / "model.py").write_text(exporting.MARK)
    exported = export_trial(record, NUMBERS["before"], tmp_path, onnx=True)
    assert [path.name for path in exported.paths] == ["model.py", WEIGHTS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py", WEIGHTS]
    assert [check.path.name for check in exported.checks] == ["model.py"]
    assert re.match(reason, exported.failed)
    assert exported.as_json()["failed"] == exported.failed


def test_an_export_may_be_written_again_but_nothing_else_is_overwritten(record: RunRecord, tmp_path: Path) -> None:
    export_trial(record, NUMBERS["before"], tmp_path)
    (tmp_path / "model.onnx").write_text("of an earlier export")
    export_trial(record, NUMBERS["resnet"], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py", WEIGHTS]
    assert f"Trial {NUMBERS['resnet']} of" in (tmp_path / "model.py").read_text()
    own = tmp_path / "own"
    own.mkdir()
    (own / WEIGHTS).write_text("my own work")
    with pytest.raises(InputError, match=f"has a {WEIGHTS} that bnexp export didn't write; choose another folder"):
        export_trial(record, 0, own)
    assert (own / WEIGHTS).read_text() == "my own work"
