"""What the shell completes, which words are overrides, and help for every command."""

import json
import logging
from pathlib import Path

import pytest

from bnexp.cli.main import app
from bnexp.cli.options import complete_config, complete_key, complete_run, complete_setting, split
from bnexp.config.load import shipped
from bnexp.errors import InputError
from tests.cli.command import Command, Trained


def test_configurations_are_completed_by_shipped_name_and_by_file(here: Path) -> None:
    (here / "quick.yaml").touch()
    (here / "notes.txt").touch()
    (here / "configs").mkdir()
    (here / "configs" / "own.yaml").touch()
    assert complete_config("configs/o") == ["configs/own.yaml"]
    assert complete_config("qui") == ["quickstart", "quick.yaml"]
    assert complete_config("hands_on_e") == ["hands_on_elu", "hands_on_elu_before"]
    assert complete_config("") == [*shipped(), "quick.yaml"]
    assert complete_config("xyzzy") == []


@pytest.mark.parametrize("incomplete", ["[", "**", "/", "a/b/c", "..", "\\"])
def test_odd_beginnings_complete_to_nothing_or_something_but_never_fail(here: Path, incomplete: str) -> None:
    assert [name for name in complete_config(incomplete) if not name.startswith(incomplete)] == []
    assert [name for name in complete_run(incomplete) if not name.startswith(incomplete)] == []


def test_a_setting_is_completed_with_what_may_follow() -> None:
    assert complete_setting("train.sa") == [
        "train.sampling=",
        "train.sampling=epoch",
        "train.sampling=replacement",
        "train.sampling=by_class",
    ]
    assert complete_setting("train.lr") == ["train.lr=", "train.lr=0.1"]
    assert complete_setting("tune.") == [
        "tune.grid=",
        "tune.sample=",
        "tune.trials=",
        "tune.halve=",
        "tune.seeds=",
        "tune.studies=",
        "tune.by=",
        "tune.threshold=",
    ]
    assert complete_setting("train.sampling=by") == ["train.sampling=by_class"]
    assert complete_setting("xyzzy") == []
    assert complete_key("tune.b") == ["tune.by"]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["run", "learn"], ["learning_rate"]),
        (["run", "train.sa"], []),
        (["run", "quickstart", "train.by"], []),
        (["run", "quickstart", "tune.b"], ["tune.by=", "tune.by=accuracy", "tune.by=steps"]),
        (["show", "quickstart", "tune.by=s"], ["tune.by=steps"]),
        (["run", "quickstart", "tune.by", "="], ["accuracy", "steps"]),  # as bash cuts them
        (["run", "quickstart", "tune.by", "=", "s"], ["steps"]),
        (["settings", "tune.b"], ["tune.by"]),
    ],
)
def test_the_shell_is_offered_settings_behind_a_configuration(
    words: list[str], completed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", "\n".join(["bnexp", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_BNEXP_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        app(prog_name="bnexp")
    assert capsys.readouterr().out.split() == completed


def test_runs_are_completed(runs: Path, trained: Trained) -> None:
    (runs / "no-run").mkdir()
    assert complete_run("ti") == complete_run("") == [trained.path.name]
    assert complete_run("x") == []


def test_words_with_an_equals_sign_are_overrides_unless_they_are_files(here: Path) -> None:
    (here / "a=b.yaml").touch()
    (here / "c.yaml").touch()
    configs = [Path("a=b.yaml"), Path("c.yaml")]
    assert split(["a=b.yaml", "x=1", "c.yaml", "y={z: 1}", "x=1"]) == (configs, ["x=1", "y={z: 1}", "x=1"])


@pytest.mark.parametrize(
    ("typed", "cut", "whole"),
    [
        ("grid.train.lr=[0.1, 0.3] seeds=3", "grid.train.lr=[0.1,", "'grid.train.lr=[0.1, 0.3]'"),
        ("grid={train.lr: [0.1, 1]} seeds=3", "grid={train.lr:", "'grid={train.lr: [0.1, 1]}'"),
        ("seeds = 6 train.lr=1", "seeds", "seeds=6"),
        ("seeds =6", "seeds", "seeds=6"),
        ("seeds= 6", "seeds=", "seeds=6"),
        ("train.lr 0.1", "train.lr", "train.lr=0.1"),
        ("lr = 0.1", "lr", "lr=0.1"),
    ],
)
def test_a_setting_cut_into_words_is_shown_as_one(here: Path, typed: str, cut: str, whole: str) -> None:
    (here / "c.yaml").touch()
    with pytest.raises(InputError) as caught:
        split(["c.yaml", *typed.split(" ")])
    assert str(caught.value) == f"command line: {cut}: a setting and its value are one word: {whole}"


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("run quickstart --seeds 6", "; a setting is written without dashes: seeds=VALUE\n"),
        ("show quickstart --lr=1", "; a setting is written without dashes: train.lr=VALUE\n"),
        ("run quickstart --sedes=3", "; a setting is written without dashes: seeds=VALUE\n"),
        ("run quickstart --worker 2", "No such option: --worker (Possible options: --rerun, --workers)\n"),
        ("run quickstart --nope", "--nope\n"),
        ("compare --seeds 6", "--seeds\n"),
    ],
)
def test_a_setting_taken_for_an_option_is_shown_without_dashes(cli: Command, command: str, hint: str) -> None:
    refused = cli(*command.split())
    assert (refused.code, refused.out) == (2, "")
    assert hint in refused.err


@pytest.mark.parametrize("command", [[], ["run"], ["compare"], ["show"], ["list"], ["fold"], ["export"]])
def test_every_command_has_help(cli: Command, command: list[str]) -> None:
    shown = cli(*command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "Usage: " in shown.out
    assert all(option in shown.out for option in ("--runs", "--json", "--quiet") if command)


@pytest.mark.parametrize("command", [[], ["compare"], ["claims"], ["papers"]])
def test_help_fits_80_columns_and_summaries_are_whole(
    cli: Command, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, *lines = cli(*command, "--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...")]


def test_settings_are_printed_for_people_and_for_scripts(cli: Command) -> None:
    assert cli("settings", "train.lr").out == (
        "train.lr: 0.1\n    Learning rate; `schedule` changes it over the steps.\n    Values: a number (at least 0)\n"
    )
    (found,) = json.loads(cli("settings", "train.lr", "--json").out)
    assert (found["key"], found["default"]) == ("train.lr", 0.1)


def test_what_libraries_log_for_programmers_is_not_shown(cli: Command) -> None:
    assert logging.getLogger("matplotlib").isEnabledFor(logging.WARNING)
    cli("run", "--help")
    assert not logging.getLogger("matplotlib").isEnabledFor(logging.WARNING)
    assert logging.getLogger("matplotlib").isEnabledFor(logging.ERROR)


def test_without_a_command_the_help_is_shown(cli: Command) -> None:
    shown = cli()
    assert "run" in shown.out + shown.err
    assert "Usage: " in shown.out + shown.err
