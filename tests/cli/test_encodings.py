"""Output in any encoding: what it lacks is written in ASCII, JSON loses nothing, and files are always UTF-8."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bnexp.cli.main import main
from bnexp.cli.output import print_table, write_everywhere
from bnexp.config.load import shipped
from bnexp.report.table import plain_table
from tests.cli.conftest import EXPERIMENT

ENCODINGS = ["ascii", "cp437", "cp1252"]
ONE_FAST = [ENCODINGS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in ENCODINGS[1:])]
"""The poorest in every run of the tests; the others take as long and say less."""
QUESTION = "Помогает ли × нормализация γ → β? Ça va…"
IN_ASCII = "???????? ?? x ???????????? gamma -> beta? Ca va..."
SMALL = ["model.width=8", "train.epochs=1", "seeds=1", "grid={}"]

Told = Callable[..., tuple[int, str, str]]


class Screen(io.TextIOWrapper):
    """A stream in an encoding, perhaps a terminal's."""

    def __init__(self, encoding: str, *, terminal: bool):
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def shown(self) -> str:
        """All that was written, which must be in the encoding."""
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode(self.encoding)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """A function from an encoding and the words of a command to its exit code, output and errors."""

    def tell(encoding: str, *words: str, terminal: bool = False) -> tuple[int, str, str]:
        out, err = (Screen(encoding, terminal=terminal) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["bnexp", *words])
            patch.setattr(logging.root.manager, "disable", logging.NOTSET)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as ended:
                main()
        return int(ended.value.code or 0), out.shown(), err.shown()

    return tell


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run whose question no encoding but UTF-8 has."""
    folder = tmp_path_factory.mktemp("encodings")
    text = EXPERIMENT.replace("Does a tiny network learn the digits?", json.dumps(QUESTION, ensure_ascii=False))
    (folder / "exp.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def trained(folder: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    assert told("utf-8", "run", "exp.yaml", "--quiet") == (0, "", "")
    return folder


@pytest.mark.parametrize("encoding", ONE_FAST)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_training_is_watched_and_its_result_shown(
    folder: Path, told: Told, monkeypatch: pytest.MonkeyPatch, encoding: str, terminal: bool
) -> None:
    monkeypatch.chdir(folder)
    code, out, err = told(encoding, "run", "exp.yaml", *SMALL, "--runs", f"{encoding}{terminal}", terminal=terminal)
    assert (code, err) == (0, "")
    assert "final test accuracy" in out or terminal
    assert QUESTION not in out
    assert "?? x ?" in out or encoding != "ascii"


@pytest.mark.parametrize("encoding", ONE_FAST)
@pytest.mark.parametrize(
    "words",
    [
        "compare tiny --plot",
        "compare tiny --format csv",
        "compare tiny --format latex",
        "report tiny",
        "show exp.yaml",
        "list",
        "list configs",
        "probe tiny --probe rank --trial 0",
        "fold tiny --no-timing --trial 2",
        "export tiny 2 --folded --to EXPORT",
        f"claims show {next(iter(shipped('claims')))} --all",
        "papers show udacity",
        "run --help",
    ],
)
def test_every_command_can_write_what_it_has_to_say(
    trained: Path, told: Told, tmp_path: Path, encoding: str, words: str
) -> None:
    code, out, err = told(encoding, *words.replace("EXPORT", str(tmp_path / "to")).split())
    assert code == 0, err
    assert out
    assert "Traceback" not in out + err


@pytest.mark.parametrize("encoding", ONE_FAST)
@pytest.mark.parametrize("words", ["run exp.yaml", "compare tiny --plot", "list"])
def test_so_it_can_in_a_terminal(trained: Path, told: Told, encoding: str, words: str) -> None:
    code, out, err = told(encoding, *words.split(), terminal=True)
    assert (code, err) == (0, "")
    assert out


def test_what_an_encoding_lacks_is_readable(trained: Path, told: Told) -> None:
    assert told("utf-8", "run", "exp.yaml")[1].startswith(f"{QUESTION}\n")
    assert told("ascii", "run", "exp.yaml")[1].startswith(f"{IN_ASCII}\n")
    assert told("cp1252", "run", "exp.yaml")[1].startswith("???????? ?? × ???????????? gamma -> beta? Ça va…\n")


def test_columns_stay_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen("ascii", terminal=False)
    write_everywhere()
    monkeypatch.setattr(sys, "stdout", screen)
    print_table(plain_table(("γ", "b"), (("→ …", "1"), ("½", "2"))))
    assert screen.shown().splitlines() == ["gamma   b", "-> ...  1", "1/2     2"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_loses_nothing(trained: Path, told: Told, encoding: str) -> None:
    code, out, _ = told(encoding, "show", "exp.yaml", "--json")
    assert (code, json.loads(out)["config"]["question"]) == (0, QUESTION)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_errors_that_quote_a_question(trained: Path, told: Told, encoding: str) -> None:
    code, out, err = told(encoding, "run", "exp.yaml", "question=[Помогает ли]")
    assert (code, out) == (2, "")
    assert err == 'bnexp: command line: question: ["???????? ??"]: expected a string\n'


@pytest.mark.parametrize("encoding", ENCODINGS[:1])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--nope", "No such option: --nope"),
        ("run --ночь", "No such option: --????"),
        ("ночь", "No such command '????'."),
        ("run", "Missing argument 'CONFIG... [KEY=VALUE]...'."),
        ("run exp.yaml --quiet=1", "Option '--quiet' does not take a value."),
        ("export tiny β", "Invalid value for 'TRIAL': expected a whole number"),
        ("run exp.yaml --workers 0", "Invalid value for '--workers': expected a number greater than or equal to 1"),
        (
            "compare --format xml",
            "Invalid value for '--format': 'xml' is not one of 'table', 'md', 'csv', 'json', 'latex'.",
        ),
    ],
)
def test_a_command_that_is_not_understood(told: Told, encoding: str, words: str, message: str) -> None:
    code, out, err = told(encoding, *words.split(), terminal=True)
    assert (code, out) == (2, "")
    assert max(map(len, err.splitlines())) <= 80
    assert " ".join(err.split()).endswith(f"Error: {message}")  # broken between words only


@pytest.mark.parametrize("command", ["", "run", "compare", "claims run"])
def test_help_is_in_ascii(told: Told, command: str) -> None:
    code, out, err = told("ascii", *command.split(), "--help")
    assert (code, err, out.split(":")[0]) == (0, "", "Usage")


SCRIPT = """
import sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="bnexp")
from bnexp.cli.output import write_everywhere
from bnexp.cli.main import main
from bnexp.cli.output import print_table
from bnexp.report.figures import pictures
pictures.writers = lambda *study: []  # of bytes, whatever the locale
for words in sys.stdin.read().splitlines():
    sys.argv = ["bnexp", *words.split()]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
"""
COMMANDS = """\
run exp.yaml --runs locale train.epochs=1 seeds=1
report tiny --runs locale
export tiny 0 --runs locale
compare tiny --runs locale --plot
"""


def test_files_are_utf8_whatever_the_locale(folder: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-X", "warn_default_encoding", "-c", SCRIPT]
    ended = subprocess.run(
        command, cwd=folder, env=os.environ | plain, input=COMMANDS.encode(), capture_output=True, timeout=240
    )
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")
    (run,) = (folder / "locale").iterdir()
    for name in ("config.yaml", "report.html"):
        assert QUESTION in (run / name).read_text(encoding="utf-8")
