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


def test_an_exact_claim_is_run_and_shown_with_the_page(cli: Command, here: Path) -> None:
    done = cli("claims", "run", "restores_identity", "--check")
    assert done.code == 0
    assert "restores_identity  exact   HOLDS" in done.out
    assert "HOLDS" in done.out
    assert done.err.startswith("bnexp: restores_identity: ")
    shown = cli("claims", "show", "restores_identity", "--html")
    assert shown.out.startswith(done.out)
    assert shown.out.splitlines()[-2:] == ["runs/claims/small/claims.html", "runs/claims/small/slides"]
    assert "HOLDS" in (here / "runs" / "claims" / "small" / "claims.html").read_text()
    assert cli("claims", "run", "restores_identity").err == "bnexp: restores_identity: has run\n"


def test_the_document_is_of_all_claims_and_has_the_command_as_it_was_given(
    cli: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bnexp", "claims", "show", "--docs", "my docs"])
    done = cli("claims", "show", "--docs", "my docs")
    assert (done.code, done.out.splitlines()[-1]) == (0, "my docs/claims.md")
    assert (
        "Made by `bnexp claims run --tier small` and `bnexp claims show --docs 'my docs'`"
        in (here / "my docs" / "claims.md").read_text()
    )
    assert "not run: bnexp claims run\n" in done.out
    refused = cli("claims", "show", "higher_lr", "fixup", "--docs", "docs")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "bnexp: --docs: the document is of all claims; leave out higher_lr fixup\n"
    assert not (here / "docs").exists()


def test_exact_claims_that_have_not_run_fail_the_check(cli: Command) -> None:
    done = cli("claims", "show", "restores_identity", "per_feature", "higher_lr", "--check")
    assert done.code == 1
    assert done.err == "bnexp: --check: no result of restores_identity, per_feature\n"
    assert cli("claims", "show", "higher_lr", "--check").code == 0


def test_what_can_t_be_read_is_said_beside_the_table(cli: Command, here: Path) -> None:
    cli("claims", "run", "restores_identity")
    (here / "runs" / "claims" / "checks" / "restores_identity.json").write_text("{")
    done = cli("claims", "show", "restores_identity")
    assert done.code == 0
    assert done.err.startswith("bnexp: left out: runs/claims/checks/restores_identity.json: not as it was written")
    assert "not readable" in done.out
    assert cli("claims", "show", "restores_identity", "--check").code == 1


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


@pytest.mark.parametrize("command", ["claims", "papers"])
def test_where_it_trains_is_checked_first(cli: Command, here: Path, command: str) -> None:
    refused = cli(command, "run", "--address", "auto")
    assert (refused.code, refused.err) == (2, "bnexp: --address is for clusters; add --engine ray\n")
    assert not (here / "runs").exists()


def test_a_check_that_fails_is_exit_code_1_where_asked_for(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from bnexp.claims import runs as claim_runs
    from bnexp.claims.runs import Finding
    from bnexp.config.base import Spec

    monkeypatch.setattr(
        claim_runs, "CHECKS", {"restores_identity": Spec(lambda: iter([Finding("it", "isn't", 1.0, 0.1)]))}
    )
    done = cli("claims", "run", "restores_identity", "--check")
    assert done.code == 1
    assert "FAILS; it: isn't" in done.out
    assert cli("claims", "show", "restores_identity").code == 0
    assert cli("claims", "show", "restores_identity", "--check").code == 1
