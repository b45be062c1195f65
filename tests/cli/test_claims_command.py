"""`bnexp claims`: running, showing, the files it writes, and the exit codes."""

from pathlib import Path

import pytest

from tests.cli.command import Command

WRONG = """\
claim: It helps.
notes: [S0]
literature: [A]
experiment: {data: {name: digits}, train: {lrr: 1}}
tiers: {small: {}, full: {}}
measures: {label: test accuracy, value: final_test_accuracy, better: higher, margin: 0.01}
"""
RIGHT = WRONG.replace(", train: {lrr: 1}", ", model: {depth: 1, width: 8}, train: {epochs: 1}, seeds: 2")


@pytest.fixture
def claim(here: Path) -> Path:
    path = here / "helps.yaml"
    path.write_text(RIGHT)
    return path


def test_an_exact_claim_is_run_and_shown_with_the_page_and_the_document(cli: Command, here: Path) -> None:
    done = cli("claims", "run", "restores_identity", "--check")
    assert done.code == 0
    assert "restores_identity  exact" in done.out
    assert "HOLDS" in done.out
    assert done.err.startswith("bnexp: restores_identity: ")
    shown = cli("claims", "show", "restores_identity", "--html", "--docs", "docs")
    assert shown.out.startswith(done.out)
    assert shown.out.splitlines()[-2:] == ["runs/claims/small/claims.html", "docs/claims.md"]
    assert "**HOLDS.**" in (here / "docs" / "claims.md").read_text()
    assert cli("claims", "run", "restores_identity").err == "bnexp: restores_identity: has run\n"


def test_a_claim_of_ones_own_is_trained_once(cli: Command, claim: Path) -> None:
    first = cli("claims", "run", claim)
    assert first.code == 0
    assert "4/4 trials" in first.out
    again = cli("claims", "run", claim)
    assert "trials" not in again.out.partition("Claims about")[0]
    (row,) = cli("claims", "show", claim, "--json").json()
    assert (row["claim"], row["regime"], row["n"], row["arms"]) == ("helps", "equal", 2, ["none", "before"])
    assert cli("claims", "show", claim, "--format", "md").out.startswith("### Claims about batch normalization")
    assert cli("claims", "show", claim, "--tier", "full", "--json").json()[0]["verdict"] == "not run"


def test_quiet_prints_nothing(cli: Command, claim: Path) -> None:
    done = cli("claims", "run", claim, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_what_is_wrong_is_said_and_nothing_is_written(cli: Command, claim: Path, here: Path) -> None:
    claim.write_text(WRONG)
    for words in (("run", claim), ("show", claim)):
        refused = cli("claims", *words)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err == "bnexp: " + f"{claim}: experiment.train.lrr: unknown key (nearest: train.lr)\n"
    assert cli("claims", "run", "helpz").code == 2
    assert not (here / "runs").exists()


def test_a_check_that_fails_is_exit_code_1_where_asked_for(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from bnexp import claim_runs
    from bnexp.claims.findings import Finding

    monkeypatch.setattr(claim_runs, "CHECKS", {"restores_identity": lambda: iter([Finding("it", "isn't", 1.0, 0.1)])})
    done = cli("claims", "run", "restores_identity", "--check")
    assert done.code == 1
    assert "FAILS; it: isn't" in done.out
    assert cli("claims", "show", "restores_identity").code == 0
    assert cli("claims", "show", "restores_identity", "--check").code == 1
