"""Fixtures of the command tests: an empty folder, the command in this process, and one trained run."""

import gc
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bnexp.report import summary
from bnexp.report.figures import frame, pictures
from bnexp.report.figures.curves import curves_figure
from bnexp.report.figures.frame import figure_bytes, svg_uri
from bnexp.report.html import pictures as page_pictures
from bnexp.report.summary import curves_png
from tests.cli.command import Command, Result, Trained, in_this_process
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
def usual_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no command change how garbage is collected in this process, which goes on after it."""
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *counts: None)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; no test sees or writes the user's own data or runs."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path / "data"))
    return folder


DRAWING = [name for name in vars(pictures) if re.fullmatch(r"[a-z]\w*_figure", name)]
"""The functions that draw pictures of results."""


def blank(*args: object, **more: object) -> Figure:
    return Figure()


@pytest.fixture(autouse=True)
def cheap_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing in a report, which is made in this process; its files hold their kind alone."""
    for name in DRAWING:
        monkeypatch.setattr(pictures, name, blank)
    monkeypatch.setattr(summary, "side_by_side", lambda work, items, workers: map(work, items))
    monkeypatch.setattr(pictures, "figure_bytes", lambda figure, kind: kind.encode())
    monkeypatch.setattr(page_pictures, "svg_uri", lambda figure: "")


@pytest.fixture
def whole_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill the files of a report, and draw its curves; fonts are drawings in PDF, since to cut them takes long."""
    monkeypatch.setattr(pictures, "curves_figure", curves_figure)
    monkeypatch.setattr(pictures, "figure_bytes", figure_bytes)
    monkeypatch.setattr(page_pictures, "svg_uri", svg_uri)
    monkeypatch.setitem(frame._FILES, "pdf.fonttype", 3)


@pytest.fixture
def experiment(here: Path) -> Path:
    """exp.yaml in the working directory: 2 arms × 2 rates × 2 seeds, 2 epochs of 200 digits."""
    path = here / "exp.yaml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process."""

    def command(*words: object) -> Result:
        capsys.readouterr()
        code = in_this_process(monkeypatch, *words)
        return Result(code, *capsys.readouterr())

    return command


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`bnexp run exp.yaml`, once for all tests; they must leave it as it is."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "exp.yaml").write_text(EXPERIMENT)
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "curves_png", curves_png)
        result = Result(in_this_process(patch, "run", "exp.yaml"), out.getvalue(), err.getvalue())
    (path,) = (folder / "runs").iterdir()
    return Trained(folder, path, result)


@pytest.fixture
def runs(trained: Trained, here: Path) -> Path:
    """A copy of the trained run's runs/ in the working directory, with exp.yaml beside it."""
    shutil.copytree(trained.folder, here, dirs_exist_ok=True)
    return here / "runs"
