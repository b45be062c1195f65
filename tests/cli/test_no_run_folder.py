"""What is named as a run and is none, or has lost its configuration: left out beside others, and alone an error."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import Command, Trained, tree


def without_configuration(path: Path, run: Path) -> None:
    path.mkdir()
    for file in run.iterdir():
        if file.is_file() and file.name != "config.yaml":
            (path / file.name).write_bytes(file.read_bytes())


def unreadable(path: Path, run: Path) -> None:
    path.mkdir(mode=0o000)
    if os.access(path, os.X_OK):
        pytest.skip("this user may look into every folder")


MADE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "without configuration": (without_configuration, "runs/x9/config.yaml: no such file or directory"),
    "empty folder": (lambda path, run: path.mkdir(), "runs/x9: not a run folder, it has no config.yaml"),
    "file": (lambda path, run: path.touch(), "runs/x9: not a run folder, it is a file"),
    "dangling link": (lambda path, run: path.symlink_to("x"), "runs/x9: not a run folder, this link leads to none"),
    "link to itself": (lambda path, run: path.symlink_to("x9"), "runs/x9: not a run folder, this link leads to none"),
    "unreadable folder": (unreadable, "runs/x9/config.yaml: permission denied"),
}


@pytest.fixture(params=MADE)
def said(request: pytest.FixtureRequest, runs: Path, trained: Trained) -> str:
    """What is said of runs/x9, which is made."""
    make, text = MADE[request.param]
    make(runs / "x9", runs / trained.path.name)
    return text


@pytest.mark.parametrize("written", ["x9", "runs/x9"])
def test_beside_a_good_run_it_is_left_out_with_the_reason(cli: Command, said: str, written: str) -> None:
    result = cli("compare", "tiny", written)
    assert (result.code, result.err) == (0, f"bnexp: left out: {said}\n")
    assert result.out == cli("compare", "tiny").out


@pytest.mark.parametrize("word", ["compare", "report"])
def test_where_no_run_is_left_all_reasons_are_given(cli: Command, here: Path, said: str, word: str) -> None:
    (here / "other").mkdir()
    result = cli(word, "x9", "other")
    reasons = f"{said}\nother: not a run folder, it has no config.yaml"
    remedy = "no run is left; bnexp run with its configuration restores one"
    assert (result.code, result.out, result.err) == (2, "", f"bnexp: {reasons}\n{remedy}\n")


@pytest.mark.parametrize("words", [["export", "x9", "0"], ["fold", "x9"], ["probe", "x9", "--probe", "rank"]])
def test_a_command_for_one_run_refuses_it(cli: Command, here: Path, said: str, words: list[str]) -> None:
    before = tree(here) if "denied" not in said else None
    result = cli(*words)
    assert (result.code, result.out) == (2, "")
    remedy = "; bnexp run with its configuration restores it" if "no such file" in said else ""
    assert result.err == f"bnexp: {said}{remedy}\n"
    assert before is None or tree(here) == before


def test_show_says_what_is_missing_too(cli: Command, said: str) -> None:
    result = cli("show", "x9")
    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_an_experiment_is_found_though_a_folder_has_its_name(runs: Path, cli: Command, here: Path) -> None:
    (here / "tiny").mkdir()
    assert cli("compare", "tiny").code == 0
