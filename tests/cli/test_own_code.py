"""Commands that import the user's code say so, and those that read results never do."""

import re
import sys
from pathlib import Path

import pytest

from tests.cli.command import Command

CODE = """\
print("the code runs")
from torch import nn

def net(width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10))
"""
EXPERIMENT = """\
data: {name: digits, train_size: 100}
model: {family: module, source: my_net.py:net}
arms: [none, as_written]
train: {steps: 2, batch_size: 50}
seeds: 1
"""
SAID = "bnexp: Your code: my_net.py\n"


@pytest.fixture
def command(cli: Command) -> Command:
    """The command, which has imported nobody's code yet."""

    def fresh(*words: object) -> object:
        for name in [name for name in sys.modules if name.startswith("bnexp_network_")]:
            del sys.modules[name]
        return cli(*words)

    return fresh  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def written(here: Path) -> None:
    """A network of one's own, and an experiment with it."""
    (here / "my_net.py").write_text(CODE)
    (here / "own.yaml").write_text(EXPERIMENT)


def test_commands_that_import_own_code_name_its_file_and_the_others_never_import_it(command: Command) -> None:
    for words in (
        ["show", "own.yaml"],
        ["run", "own.yaml", "--workers", 1],
        ["probe", "own", "--probe", "mode_gap"],
        ["fold", "own", "--no-timing"],
        ["export", "own", 1],
    ):
        result = command(*words)
        assert result.code == 0, result.err
        assert result.err.count(SAID) == 1
        assert "the code runs" in result.out
    for words in (["list"], ["compare"], ["compare", "--json"], ["report"]):
        result = command(*words)
        assert result.code == 0, result.err
        assert "code" not in result.out + result.err


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_scripts_are_not_told(command: Command, option: str) -> None:
    assert SAID not in command("show", "own.yaml", option).err


def test_an_argument_is_overridden_and_swept_on_the_command_line(command: Command) -> None:
    found = command("show", "own.yaml", "model.arguments.width=6", "arms.wide={model.arguments.width: 8}").out
    (widths,) = (re.split(" {2,}", line)[2:5] for line in found.splitlines() if line.startswith("2  "))
    assert widths == ["-", "•BatchNorm1d(6)", "•BatchNorm1d(8)"]
    found = command("show", "own.yaml", "grid.model.arguments.width=[5, 7]").out
    assert "model.arguments.width=5" in found
    assert "•BatchNorm1d(7)" in found


def test_show_names_the_line_of_own_code_that_fails_with_a_whole_batch(command: Command, here: Path) -> None:
    (here / "my_net.py").write_text("""\
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 10))

    def forward(self, images):
        if len(images) > 2:
            raise ValueError("a cable")
        return super().forward(images)
""")
    found = command("show", "own.yaml", "model.source=my_net.py:Net")
    assert (found.code, found.out) == (2, "")
    assert found.err.endswith("bnexp: command line: model.source: my_net.py:9: in forward: ValueError: a cable\n")
