"""`bnexp fold` and `bnexp export`: what they print, for people and for scripts, and how they end."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from bnexp.deploy import export as exporting
from bnexp.deploy import folding
from tests.cli.command import Command, Trained, tree


@pytest.fixture
def name(trained: Trained) -> str:
    return trained.path.name


def with_bn(cli: Command) -> list[int]:
    """The trials with BN."""
    return [each["trial"] for each in cli("fold", "tiny", "--no-timing", "--json").json()["trials"] if each["folded"]]


def test_fold_prints_a_row_for_every_trial_and_why_some_are_not_folded(runs: Path, cli: Command, name: str) -> None:
    before = tree(runs)
    result = cli("fold", "tiny", "--no-timing")
    assert (result.code, result.err, tree(runs) == before) == (0, "", True)
    lines = result.out.splitlines()
    assert lines[0] == f"{name}: norm layers folded into the weights beside them"
    assert lines[2].split("  ")[0] == "trial"
    rows = [line.split() for line in lines[3:11]]
    assert [row[0] for row in rows] == [str(number) for number in range(8)]
    folded = {int(row[0]) for row in rows if "yes" in row}
    assert folded == {int(row[0]) for row in rows if "before" in row}
    assert len(folded) == 4
    left = ", ".join(str(number) for number in range(8) if number not in folded)
    assert lines[-2:] == [
        "error: the largest difference between logits before and after, over 360 test images.",
        f"not folded: trials {left}: there is no norm layer.",
    ]


def test_fold_json_holds_every_number(runs: Path, cli: Command, name: str, trained: Trained) -> None:
    found = cli("fold", "tiny", "--no-timing", "--json").json()
    assert (found["run"], found["device"], found["timings"]) == (name, "cpu", [])
    table = trained.table("trials.csv").set_index("trial")
    assert [each["trial"] for each in found["trials"]] == list(table.index)
    for each in found["trials"]:
        assert each["arm"] == table.loc[each["trial"], "arm"]
        assert each["folded"] == (each["arm"] == "before") == (each["reason"] is None)
        if each["folded"]:
            assert 0 < each["max_error_float64"] < each["max_error_float32"]
            assert each["relative_error_float64"] < 1e-12
            assert each["accuracy_before"] == table.loc[each["trial"], "final_test_accuracy"]
            assert (each["same_predictions"], each["images"], each["split"]) == (1.0, 360, "test")
            assert each["parameters_before"] - each["parameters_after"] == 2 * 3 * 16
        else:
            assert each["max_error_float64"] is each["accuracy_after"] is each["parameters_after"] is None


def test_both_are_quiet_when_asked_to_be(runs: Path, cli: Command) -> None:
    for words in (["fold", "tiny", "--no-timing"], ["export", "tiny", "0"]):
        result = cli(*words, "--quiet")
        assert (result.code, result.out, result.err) == (0, "", "")


def test_what_rounding_does_not_explain_ends_with_1(
    runs: Path, cli: Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = folding.folded

    def wrong(network: nn.Module) -> nn.Sequential:
        made = right(network)
        made[-1].get_parameter("bias").data += 1e-3
        return made

    monkeypatch.setattr(folding, "folded", wrong)
    words = [word for number in with_bn(cli) for word in ("--trial", number)]
    result = cli("fold", "tiny", "--no-timing", *words)
    assert result.code == 1
    assert "1.0e-03" in result.out
    assert result.err.startswith(f"bnexp: runs/{name}: trials {', '.join(map(str, with_bn(cli)))}: the logits differ")
    assert "a fault of bnexp" in result.err


def test_export_writes_into_the_run_folder_and_says_what(runs: Path, cli: Command, name: str) -> None:
    result = cli("export", "tiny", "3")
    assert (result.code, result.err) == (0, "")
    folder = Path("runs") / name / "export" / "trial-003"
    module, weights, check = result.out.splitlines()
    assert [module, weights] == [str(folder / "model.py"), str(folder / "weights.safetensors")]
    assert Path(module).is_file()
    assert Path(weights).is_file()
    assert check.startswith("model.py: over 360 test images the logits, up to ")


def test_a_folded_export_leaves_the_unfolded_one_alone(runs: Path, cli: Command, name: str) -> None:
    number = with_bn(cli)[0]
    for folded in ([], ["--folded"]):
        assert cli("export", "tiny", number, *folded).code == 0
    folders = Path("runs") / name / "export"
    assert "BatchNorm" in (folders / f"trial-{number:03}" / "model.py").read_text()
    assert "BatchNorm" not in (folders / f"trial-{number:03}-folded" / "model.py").read_text()


def test_export_json_gives_paths_and_differences(runs: Path, cli: Command, name: str) -> None:
    number = with_bn(cli)[0]
    found = cli("export", "tiny", number, "--folded", "--to", "away/here", "--json").json()
    assert (found["run"], found["trial"], found["arm"], found["folded"]) == (name, number, "before", True)
    assert found["paths"] == ["away/here/model.py", "away/here/weights.safetensors"]
    (check,) = found["checks"]
    assert check["path"] == "away/here/model.py"
    assert 0 < check["max_difference"] < 1e-4
    assert check["accuracy"] == found["accuracy"]
    assert "BatchNorm" not in Path("away/here/model.py").read_text()


def test_an_export_without_its_onnx_says_what_was_written_and_why_not_all(
    runs: Path, cli: Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_onnx(network: nn.Module, image: tuple[int, int, int], path: Path) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(exporting, "check_installed", lambda extra: None)
    monkeypatch.setattr(exporting, "write_onnx", write_onnx)
    result = cli("export", "tiny", "3", "--onnx")
    folder = Path("runs") / name / "export" / "trial-003"
    assert result.code == 1
    assert result.out.splitlines()[:2] == [str(folder / "model.py"), str(folder / "weights.safetensors")]
    assert result.err == "bnexp: model.onnx could not be written (RuntimeError: no such operator)\n"


def test_an_exported_trial_leaves_the_run_readable(runs: Path, cli: Command) -> None:
    before, listed = cli("compare").out, cli("list").out
    assert cli("export", "tiny", 0).code == 0
    assert cli("compare").out == before
    # The size of the folder has grown.
    assert cli("list").out.splitlines()[1:] == listed.splitlines()[1:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fold", "tinny"], "tinny: no such run in {here}/runs (nearest: tiny); there are {name}"),
        (["export", "tinny", "0"], "tinny: no such run in {here}/runs (nearest: tiny); there are {name}"),
        (["fold", "tiny", "--trial", "8"], "runs/{name}: no trial 8; there are 0 to 7, see trials.csv"),
        (["export", "tiny", "8"], "runs/{name}: no trial 8; there are 0 to 7, see trials.csv"),
        (["fold", "tiny", "--device", "gpu"], "--device gpu: expected auto, cpu, cuda, cuda:i or mps"),
        (["export", "tiny", "0", "--folded"], "runs/{name}: trial 0 can't be folded: there is no norm layer"),
        (["export", "tiny", "0", "--to", "exp.yaml"], "exp.yaml: can't be made a folder (File exists); choose another "
         "with --to"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_refused_with_2(
    runs: Path, cli: Command, here: Path, name: str, words: list[str], message: str
) -> None:
    before = tree(here)
    result = cli(*words)
    assert (result.code, result.out, result.err) == (2, "", f"bnexp: {message.format(name=name, here=here)}\n")
    assert tree(here) == before


def test_data_that_are_gone_are_named_with_the_run(here: Path, cli: Command) -> None:
    x, y = np.zeros((8, 3), np.float32), np.arange(8) % 2
    np.savez(here / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    arms = "arms: [none]\nseeds: 1\n"
    (here / "exp.yaml").write_text(f"data: {{name: arrays, root: a.npz}}\n{arms}train: {{steps: 1, batch_size: 4}}\n")
    assert cli("run", "exp.yaml").code == 0
    (here / "a.npz").unlink()
    (run,) = (here / "runs").iterdir()
    message = f"bnexp: runs/{run.name}/config.yaml: data.root: {here}/a.npz is not there; put it back\n"
    for command in (["probe", "--probe", "default"], ["fold"], ["export", "0"]):
        assert cli(command[0], run.name, *command[1:]).err.endswith(message)
