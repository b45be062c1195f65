"""What trains nothing answers at once: without importing torch; and nothing imports more than it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import shlex, sys
from bnexp.cli.main import main
try:
    for words in sys.argv[1:]:
        sys.argv = ["bnexp", *shlex.split(words)]
        try:
            main()
        except SystemExit as ended:
            assert not ended.code, words
finally:
    heavy = {"torch", "torch._dynamo", "sympy", "torchvision", "matplotlib", "sklearn", "scipy.stats"}
    heavy &= set(sys.modules)
    print(*sorted(heavy), file=sys.stderr)
"""


def loaded(folder: Path, *commands: str, before: str = "") -> set[str]:
    """What is loaded after some commands in one process, before which something else may happen."""
    command = [sys.executable, "-c", before + PROGRAM, *commands]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    return set(ended.stderr.split())


def test_help_and_list_load_nothing_heavy(here: Path) -> None:
    commands = ["--help", "run --help", "list", "list configs", "claims show --help", "papers show --help"]
    assert not loaded(here, *commands) & {"torch", "torchvision", "matplotlib", "sklearn"}


def test_finished_runs_verdicts_and_published_numbers_are_shown_without_torch(runs: Path) -> None:
    commands = ["list", "compare", "compare --json", "watch tiny", "run exp.yaml"]
    commands += ["claims show restores_identity trains_faster", "papers show", "papers show udacity --json"]
    assert not loaded(runs.parent, *commands) & {"torch", "torchvision"}


def test_a_plan_is_shown_without_the_compiler_of_torch(here: Path) -> None:
    assert loaded(here, "show quickstart model.dropout=0.2") == {"torch"}


def test_a_refused_configuration_is_refused_without_torch(here: Path) -> None:
    (here / "exp.yaml").write_text("train: {lr: -1}")
    command = [sys.executable, "-X", "importtime", "-m", "bnexp", "run", "exp.yaml"]
    ended = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "exp.yaml: train.lr: -1: expected a number" in ended.stderr
    imported = {
        line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")
    }
    assert "bnexp.config.load" in imported
    assert "torch" not in imported


def test_what_was_loaded_is_not_reported_at_the_end(here: Path) -> None:
    pytest.importorskip("triton")
    assert loaded(here, "list configs", before="import triton") == set()
