"""What docs/reproducibility.md tells its readers to do works as it stands there."""

import re
from pathlib import Path

import pytest
import yaml

from bnexp.config.load import resolve
from bnexp.config.train import SCHEDULE_OPTIONS
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run

DOCUMENT = (Path(__file__).parents[1] / "docs" / "reproducibility.md").read_text()
SMALLER = {
    "data": {"name": "digits", "train_size": 60, "val_size": 20, "test_size": 20},
    "model": {"depth": 2, "width": 8},
    "train": {"epochs": 20, "batch_size": 20},
}


def block(kind: str) -> str:
    """The first example of a language."""
    found = re.search(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return found[1]


def test_the_example_of_a_sensitive_trial_is_a_configuration() -> None:
    assert resolve(yaml.safe_load(block("yaml")), "sensitive.yaml").name == "sensitive"


@pytest.mark.usefixtures("without_report")
def test_the_comparison_of_two_groups_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = yaml.safe_load(block("yaml")) | SMALLER | {"seeds": [0, 1]}
    monkeypatch.chdir(tmp_path)
    for folder, rates in (("together", [0.05, 0.1]), ("alone", [0.1])):
        run(prepare(resolve(raw | {"grid": {"train.lr": rates}}, "sensitive.yaml"), Path(folder), "cpu"))
    exec(block("python"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["arm", "before", "none", "before", "none"]
    found = {int(line.split()[0]): [float(number) for number in line.split()[1:]] for line in lines[3:]}
    assert list(found) == [0, 1, 2, 5, 20]
    assert max(max(row) for row in found.values()) < 0.01


def test_every_schedule_has_its_formula() -> None:
    rows = {name for line in DOCUMENT.splitlines() if line.startswith("| `") for name in line.split("|")[1].split(", ")}
    assert {f"`{name}`" for name in SCHEDULE_OPTIONS} <= {name.strip() for name in rows}
