"""`bnexp doctor` as a user sees it, and a training on a device that it would not trust."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from bnexp.config.data import DATASETS
from bnexp.config.probes import ProbeSettings
from bnexp.doctor.examination import CHECKS, faults
from bnexp.doctor.facts import _driver
from bnexp.doctor.rounding import PRECISIONS
from bnexp.engines import devices
from bnexp.engines.local import Local
from bnexp.errors import InputError
from tests.cli.command import Command, tree

conv2d, baddbmm = F.conv2d, torch.baddbmm
REFUSED = "bnexp: --device {}: it doesn't compute what it should; use --device cpu"


@pytest.fixture(autouse=True)
def untried() -> None:
    faults.cache_clear()


def test_one_screen_says_what_is_there_and_that_nothing_is_wrong(
    cli: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    absent = {"ray", "mlflow", "wandb", "trackio"}
    monkeypatch.setattr("bnexp.errors.find_spec", lambda package: None if package in absent else object())
    monkeypatch.setenv("BNEXP_DATA", "/data")
    result = cli("doctor", "--device", "cpu")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    for label in ("versions     bnexp ", "cpu          ", "data         digits: bundled", "onnx         1."):
        assert any(line.startswith(label) for line in lines), label
    assert "ray          ray is not installed: pip install '.[ray]' in the clone of bnexp" in lines
    sets = ", ".join(name for name, spec in DATASETS.items() if spec.torchvision)
    assert f"{sets}: not in /data, downloaded on first use" in " ".join(result.out.split())
    assert "\ndevice  in    batch  running  layer  group  conv  product  repeats  graph\ncpu     fp32  " in result.out
    assert lines[-1] == "graph and eager: not on this device (cpu)"


def test_data_sets_are_found_where_their_files_are(cli: Command, tmp_path: Path) -> None:
    folder = tmp_path / "data/cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / name).touch()
    assert cli("doctor", "--json").json()["data"]["cifar100"] is None
    (folder / "meta").touch()
    assert cli("doctor", "--json").json()["data"]["cifar100"] == str(folder)


def test_json_has_everything(cli: Command) -> None:
    found = cli("doctor", "--json").json()
    assert list(found) == ["versions", "cores", "threads", "devices", "data", "data_folder", "extras", "checks"]
    assert list(found["versions"]) == ["bnexp", "python", "torch", "numpy", "cuda", "cudnn", "driver"]
    assert list(found["devices"][0]) == ["device", "name", "bytes", "free"]
    assert {each["device"] for each in found["checks"]} == {each["device"] for each in found["devices"]}
    on_cpu = [each for each in found["checks"] if each.pop("device") == "cpu"]
    assert [(each["precision"], each["check"]) for each in on_cpu] == [(p, c.name) for p in PRECISIONS for c in CHECKS]
    assert all(each["share"] is None or 0 <= each["share"] <= 1 for each in on_cpu)


@pytest.mark.parametrize("options", [[], ["--json"], ["--quiet"]])
def test_what_is_wrong_is_named_and_the_exit_code_is_1(
    cli: Command, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(torch, "baddbmm", lambda *args: baddbmm(*args).bfloat16().float())
    result = cli("doctor", "--device", "cpu", *options)
    assert result.code == 1
    named = result.err.removeprefix("bnexp: ").splitlines()
    assert [line.partition(": ")[0] for line in named] == ["cpu, fp32, product", "cpu, tf32, product"]
    if options == ["--json"]:
        assert [each["wrong"] for each in result.json()["checks"] if each["wrong"]] == named
    else:
        assert result.out.count("wrong\n") + result.out.count("wrong  ") == (0 if options else 2)


def test_a_device_that_is_not_there_is_refused(cli: Command) -> None:
    result = cli("doctor", "--device", "mps")
    expected = "bnexp: --device mps: this machine has no Apple GPU that torch can use; use --device cpu or auto\n"
    assert (result.code, result.err) == (2, expected)


@pytest.fixture
def mps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch say that there is an Apple GPU; nothing can be computed there."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: None)


def test_training_on_a_device_that_fails_is_refused_in_the_doctor_s_words(
    cli: Command, experiment: Path, mps: None
) -> None:
    before = tree(experiment.parent)
    result = cli("run", "exp.yaml", "--device", "mps")
    assert result.code == 2
    assert result.err.startswith(REFUSED.format("mps") + "\nmps, fp32, batch norm: can't be computed: ")
    assert tree(experiment.parent) == before


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["run", "exp.yaml", "train.precision=fp64"], "train.precision=fp64 needs"),
        (["run", "exp.yaml", "data.normalize=zca_whiten"], "the scaling of digits (zca_whiten) needs"),
        (["probe", "tiny", "--probe", "sharpness"], "bnexp probe needs"),
        (["fold", "tiny"], "bnexp fold needs"),
    ],
)
def test_what_needs_float64_is_refused_where_there_is_none(
    cli: Command, runs: Path, mps: None, monkeypatch: pytest.MonkeyPatch, words: list[str], what: str
) -> None:
    monkeypatch.setattr(devices, "TRIED_FIRST", ())
    before = tree(runs.parent)
    result = cli(*words, "--device", "mps")
    assert result.code == 2
    assert result.err.startswith(f"bnexp: --device mps: it has no float64, which {what}")
    assert tree(runs.parent) == before


def test_probes_are_refused_where_there_is_no_float64() -> None:
    with pytest.raises(InputError, match="--device mps: it has no float64, which probe sharpness needs; use"):
        Local((torch.device("mps"),), 1).schedule(
            [], lambda group: None, [ProbeSettings(name="sharpness")], begun=False
        )


def test_the_driver_is_asked_of_nvidias_own_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _driver() is None
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 580.95.05\necho 580.95.05\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert _driver() == "580.95.05"


@pytest.fixture
def tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU stand in for a device that is tried before it trains."""
    monkeypatch.setattr(devices, "TRIED_FIRST", ("cpu",))


def test_a_device_that_passes_is_trained_on(cli: Command, experiment: Path, tried_first: None) -> None:
    assert cli("run", "exp.yaml", "train.epochs=1", "seeds=1", "grid={}").code == 0


def test_only_the_precisions_of_the_experiment_are_tried(
    cli: Command, experiment: Path, tried_first: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, "conv2d", lambda *args, **more: 1.001 * conv2d(*args, **more))
    result = cli("run", "exp.yaml", "arms={a: {train.precision: bf16}, b: {}}")
    assert result.code == 2
    assert result.err.startswith(REFUSED.format("cpu") + "\ncpu, fp32, convolution: ")
    assert cli("run", "exp.yaml", "train.precision=bf16", "train.epochs=1", "seeds=1", "grid={}").code == 0
