"""`bnexp papers`: running, showing, the page it writes, and the exit codes."""

import json
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.papers.made_up import written


def test_a_paper_is_run_and_shown(cli: Command, here: Path) -> None:
    written(here)
    words = ("lesson.yaml", "lesson.train.momentum=0.5")
    done = cli("papers", "run", *words, "--device", "cpu")
    assert done.code == 0
    table = done.out[done.out.index("A lesson | about BN\n\nlr") :]
    assert done.err.splitlines()[-1].startswith("bnexp: lesson: ")
    assert cli("papers", "show", *words).out == table
    shown = cli("papers", "show", *words, "--json").json()
    assert [row["arm"] for row in shown] == ["none", "before", "before"] * 2
    assert len(shown[0]["ours"]) == 2
    assert "not run: bnexp papers run lesson.yaml" in cli("papers", "show", "lesson.yaml").out


def test_the_page_is_of_all_papers_and_has_the_command_as_it_was_given(
    cli: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bnexp", "papers", "show", "--docs", "my docs"])
    done = cli("papers", "show", "--docs", "my docs")
    assert (done.code, done.out.splitlines()[-1]) == (0, "my docs/papers.md")
    text = (here / "my docs" / "papers.md").read_text()
    assert "and `bnexp papers show --docs 'my docs'`. Published numbers" in text
    assert json.dumps("nan") not in text
    refused = cli("papers", "show", "udacity", "--docs", "docs")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "bnexp: --docs: the document is of all papers; leave out udacity\n"
    assert not (here / "docs").exists()


def test_a_wrong_file_is_refused(cli: Command, here: Path) -> None:
    written(here, published=[{"metric": "test_accuracy", "values": {"none": 97}}])
    done = cli("papers", "run", "lesson.yaml")
    assert (done.code, done.out) == (2, "")
    assert "lesson.yaml: published.0.values.none.0: 97: expected a number less than or equal to 1" in done.err
    assert not (here / "runs").exists()
