"""Fixtures of the command tests: an empty folder, the command in this process or its own, and one trained run."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bnexp.cli.main import main
from bnexp.report.figures import frame
from tests.cli.command import Command, Result, Trained
from tests.helpers import torch_threads

EXPERIMENT = """\
name: tiny
question: Does a tiny network learn the digits?
data: {name: digits, train_size: 200}
model: {depth: 2, width: 16}
arms: [none, before]
train: {epochs: 2, batch_size: 50}
grid:
  train.lr: [0.1, 1]
seeds: 2
"""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two threads, above all on a machine that does other things too."""
    with torch_threads(1):
        yield


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; no test sees or writes the user's own data or runs."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path / "data"))
    return folder


@pytest.fixture(autouse=True)
def coarse_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embed fonts in PDF files as drawings: to cut the fonts themselves takes a third of the time of a report."""
    monkeypatch.setitem(frame._FILES, "pdf.fonttype", 3)


@pytest.fixture
def experiment(here: Path) -> Path:
    """exp.yaml in the working directory: 2 arms × 2 rates × 2 seeds, 2 epochs of 200 digits."""
    path = here / "exp.yaml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, which is fast because torch is loaded once; an uncaught error fails the test."""

    def command(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["bnexp", *map(str, words)])
        monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return command


def in_a_process(folder: Path, *words: object) -> Result:
    """Run `python -m bnexp` in a folder."""
    command = [sys.executable, "-m", "bnexp", *map(str, words)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env=env)
    return Result(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`bnexp run exp.yaml`, once for all tests; they must leave it as it is."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "exp.yaml").write_text(EXPERIMENT)
    result = in_a_process(folder, "run", "exp.yaml")
    (path,) = (folder / "runs").iterdir()
    return Trained(folder, path, result)


@pytest.fixture
def runs(trained: Trained, here: Path) -> Path:
    """A copy of the trained run's runs/ in the working directory, with exp.yaml beside it."""
    shutil.copytree(trained.folder, here, dirs_exist_ok=True)
    return here / "runs"
