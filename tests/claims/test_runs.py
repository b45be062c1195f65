"""Running what is missing of claims and reading back what is known: both regimes, checks, and what is left out."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bnexp.claims import runs as claim_runs
from bnexp.claims.catalogue import Claim, load_claim
from bnexp.claims.documents import cost, document, verdict_sentence
from bnexp.claims.evidence import Evidence, evidence
from bnexp.claims.rows import rows_json, rows_of
from bnexp.claims.runs import Finding, Measured, read_result, regimes, run_entries, runs_of, tier_folder
from bnexp.claims.tables import claims_table
from bnexp.claims.verdicts import VerdictLabel
from bnexp.config.base import Spec
from bnexp.config.yaml import to_yaml
from bnexp.engines.engine import EngineChoice
from bnexp.errors import InputError

HELPS: dict[str, Any] = {
    "claim": "It helps <b>much</b>.",
    "notes": ["S0", "S4"],
    "literature": ["Ioffe & Szegedy 2015"],
    "published": [{"study": "A & B", "setting": "elsewhere", "found": "97 %", "unverified": True}],
    "experiment": {
        "data": {"name": "digits", "train_size": 300, "val_size": 100, "test_size": 100},
        "model": {"depth": 3, "width": 16, "activation": "sigmoid"},
        "train": {"batch_size": 30, "epochs": 3, "lr": 1e-6},
        "tune": {"grid": {"train.lr": [1e-6, 0.5]}, "seeds": 1},
        "seeds": 3,
    },
    "tiers": {"small": {}, "full": {"train.epochs": 4}},
    "measures": [
        {"label": "test accuracy", "value": "final_test_accuracy", "better": "higher", "margin": 0.05},
        {"label": "steps to a third", "value": "steps_to", "threshold": 0.3, "better": "lower", "margin": 0.2},
        {"label": "accuracy without", "value": "final_test_accuracy", "better": "lower", "margin": 0.05},
    ],
}
HOLDS = [Finding("one and one", "2", 0.0, 1e-9), Finding("by the way", "so it is")]
FAILS = [Finding("one and one", "3", 1.0, 1e-9)]
TIMED = [Measured((1.0, 2.0, 3.0), (2.0, 4.0, 6.1))]
NAMES = ("restores_identity", "folds_away", "step_times")
"""Under which these are found."""


def claim(folder: Path, name: str, **raw: Any) -> Claim:
    path = folder / f"{name}.yaml"
    path.write_text(to_yaml(raw))
    return load_claim(path)


def of_check(folder: Path, name: str, check: str, **raw: Any) -> Claim:
    return claim(folder, name, claim="So it is.", notes=["S1"], literature=["B"], check=check, **raw)


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    """Checks that take no time."""
    with pytest.MonkeyPatch.context() as patch:
        made_up = {name: Spec(partial(iter, found)) for name, found in zip(NAMES, (HOLDS, FAILS, TIMED), strict=True)}
        patch.setattr(claim_runs, "CHECKS", made_up)
        yield patch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claims")


@pytest.fixture(scope="module")
def claims(folder: Path) -> dict[str, Claim]:
    timed = {"label": "seconds", "value": "measured", "better": "higher", "margin": 0.1, "log": True}
    return {
        "holds": of_check(folder, "holds", NAMES[0]),
        "fails": of_check(folder, "fails", NAMES[1]),
        "timed": of_check(folder, "timed", NAMES[2], measures=timed),
        "helps": claim(folder, "helps", **HELPS),
        "later": claim(folder, "later", **HELPS | {"claim": "Later."}),
    }


@pytest.fixture(scope="module")
def runs(folder: Path, claims: dict[str, Claim], patched: pytest.MonkeyPatch) -> Path:
    """All but one have run."""
    found = folder / "runs"
    said: list[str] = []
    some = [each for name, each in claims.items() if name != "later"]
    run_entries(some, "small", found, said.append, EngineChoice("cpu"))
    assert [line.partition(":")[0] for line in said] == ["holds", "fails", "timed", "helps"]
    return found


def test_the_runs_are_those_of_the_tier_with_equal_settings_and_with_what_arms_chose(
    runs: Path, claims: dict[str, Claim]
) -> None:
    found = runs_of(claims["helps"], "small", runs).finished
    assert (
        {each.path.parent for each in found.values()}
        == {tier_folder(claims["helps"], "small", runs)}
        == {runs / "claims" / "small"}
    )
    assert list(found) == list(regimes(claims["helps"].experiments["small"])) == ["equal", "tuned"]
    equal, tuned = (found[regime].config for regime in ("equal", "tuned"))
    assert (equal.tuned, equal.tune.grid) == ((), {})
    assert {choice.values["train.lr"] for choice in tuned.tuned} == {0.5}
    assert runs_of(claims["helps"], "full", runs).finished == {}


def test_what_has_run_is_not_run_again(runs: Path, claims: dict[str, Claim], folder: Path) -> None:
    said: list[str] = []
    run_entries([claims["helps"], claims["holds"]], "small", runs, said.append, EngineChoice("cpu"))
    assert said == ["helps: has run", "holds: has run"]


def test_a_check_of_another_version_runs_again(runs: Path, claims: dict[str, Claim]) -> None:
    path = runs / "claims" / "checks" / "holds.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"versions": {"bnexp": "0.0.1", "torch": "2"}}))
    said: list[str] = []
    run_entries([claims["holds"]], "small", runs, said.append, EngineChoice("cpu"))
    assert said == ["holds: 0 s"]
    assert json.loads(path.read_text())["versions"] == raw["versions"]


def test_data_that_is_not_there_is_said_before_anything_runs(tmp_path: Path, claims: dict[str, Claim]) -> None:
    experiment = {"data": {"name": "mnist", "root": str(tmp_path / "nowhere")}}
    absent = claim(tmp_path, "absent", **HELPS | {"experiment": experiment})
    with pytest.raises(InputError, match="nowhere"):
        run_entries([claims["holds"], claims["helps"], absent], "small", tmp_path / "runs", print, EngineChoice("cpu"))
    assert not (tmp_path / "runs").exists()


def test_the_result_of_another_check_is_none_of_the_claim(runs: Path, folder: Path, tmp_path: Path) -> None:
    other = of_check(tmp_path, "holds", NAMES[1])
    assert read_result(other, runs) is None


# What is known


def words(runs: Path, *claims: Claim) -> dict[str, VerdictLabel | None]:
    return {each.claim.id: each.label for each in evidence(claims, "small", runs)}


def test_every_claim_has_the_verdict_of_its_evidence(runs: Path, claims: dict[str, Claim]) -> None:
    assert words(runs, *claims.values()) == {
        "holds": VerdictLabel.holds,
        "fails": VerdictLabel.fails,
        "timed": VerdictLabel.supported,
        "helps": VerdictLabel.supported,
        "later": None,
    }


def test_the_tuned_regime_decides_and_the_equal_one_stands_beside_it(runs: Path, claims: dict[str, Claim]) -> None:
    (found,) = evidence([claims["helps"]], "small", runs)
    decided = {(row.regime, row.measure.label): row for row in found.rows}
    assert len(decided) == 6
    (row,) = found.deciding
    assert row is decided["tuned", "test accuracy"]
    equal = decided["equal", "test accuracy"]
    assert equal.verdict.label is VerdictLabel.inconclusive
    assert decided["tuned", "accuracy without"].verdict.label is VerdictLabel.opposite
    assert [(each.arm, each.value) for each in row.choices] == [("none", 0.5), ("before", 0.5)]
    assert [(each.arm, each.value) for each in equal.choices] == [("none", 1e-6), ("before", 1e-6)]
    assert not found.missing


def test_the_equal_regime_decides_where_the_claim_says_so(runs: Path, claims: dict[str, Claim]) -> None:
    settings = claims["helps"].settings.model_copy(update={"primary": "equal"})
    (found,) = evidence([replace(claims["helps"], settings=settings)], "small", runs)
    assert [row.regime for row in found.deciding] == ["equal"]


def test_p_is_adjusted_for_the_claims_that_are_judged_together(runs: Path, claims: dict[str, Claim]) -> None:
    alone, together = (
        {each.claim.id: row for each in evidence(some, "small", runs) for row in each.deciding}
        for some in ([claims["helps"]], list(claims.values()))
    )
    p = {name: row.verdict.p for name, row in together.items()}
    smallest = min(p, key=lambda name: p[name] or 0)
    assert alone["helps"].p_holm == alone["helps"].verdict.p
    assert together[smallest].p_holm == pytest.approx(2 * p[smallest])
    others = [row for each in evidence([claims["helps"]], "small", runs) for row in each.rows if not row.decides]
    assert {row.p_holm for row in others} == {None}


def test_only_what_decides_is_judged_where_no_more_is_shown(runs: Path, claims: dict[str, Claim]) -> None:
    (found,) = evidence([claims["helps"]], "small", runs, everything=False)
    (whole,) = evidence([claims["helps"]], "small", runs)
    assert [(row.regime, row.measure.label) for row in found.rows] == [
        ("equal", "test accuracy"),
        ("tuned", "test accuracy"),
    ]
    assert [(row.verdict, row.arms) for row in found.deciding] == [(row.verdict, row.arms) for row in whole.deciding]


@pytest.fixture
def damaged(runs: Path, claims: dict[str, Claim], tmp_path: Path) -> Path:
    """The same runs, for damaging."""
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))


def test_a_damaged_run_is_named_with_the_remedy(damaged: Path, claims: dict[str, Claim]) -> None:
    name = "trials.csv"
    folder = runs_of(claims["helps"], "small", damaged).finished["tuned"].path
    spoil(folder / name)
    (found,) = evidence([claims["helps"]], "small", damaged)
    assert found.missing
    assert found.deciding == ()
    (fault,) = found.unreadable
    assert fault.startswith(f"{folder / name}: ")
    head, *rows = rows_of(found)
    assert head.verdict == "not readable"
    assert head.reasons == (f"{fault}; bnexp claims run {claims['helps'].source} restores it",)
    assert verdict_sentence(found).startswith(f"It can't be read: {folder / name}: ")
    assert [row.regime for row in rows] == ["equal"] * 3


def test_a_damaged_run_that_chose_is_named_too(damaged: Path, claims: dict[str, Claim]) -> None:
    (folder,) = tier_folder(claims["helps"], "small", damaged).glob("helps.tuning-*")
    spoil(folder / "trials.csv")
    (found,) = evidence([claims["helps"]], "small", damaged)
    assert found.unreadable[0].startswith(f"{folder / 'trials.csv'}: ")


def test_what_a_check_wrote_and_can_t_be_read_leaves_the_others_readable(
    damaged: Path, claims: dict[str, Claim]
) -> None:
    path = damaged / "claims" / "checks" / "holds.json"
    path.write_text("{")
    (broken,), (fine,) = map(rows_of, evidence([claims["holds"], claims["fails"]], "small", damaged))
    assert (broken.verdict, fine.verdict) == ("not readable", "FAILS")
    assert broken.reasons[0].endswith("remove it, and bnexp claims run holds makes it again")


# What people read


def told(runs: Path, *claims: Claim) -> list[Evidence]:
    return evidence(claims, "small", runs)


def test_the_table_has_a_line_for_each_regime_and_everything_that_is_asked_for(
    runs: Path, claims: dict[str, Claim]
) -> None:
    found = told(runs, *claims.values())
    table = claims_table(found, wide=True)
    cells = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [(row["claim"], row["regime"], row["verdict"].partition(";")[0]) for row in cells] == [
        ("holds", "exact", "HOLDS"),
        ("fails", "exact", "FAILS"),
        ("timed", "measured", "SUPPORTED"),
        ("helps", "tuned", "SUPPORTED"),
        ("helps", "equal", "INCONCLUSIVE"),
        ("later", "-", "not run"),
    ]
    assert cells[1]["verdict"] == "FAILS; one and one: 3"
    assert (cells[2]["Δ [interval]"][:2], cells[2]["n"]) == ("×2", "3")
    helps = cells[3]
    assert helps["rates"] == "lr 0.5 | lr 0.5"
    assert (helps["margin"], cells[2]["margin"]) == ("0.05", "×1.11")
    assert helps["baseline"].startswith("none 0.")
    assert helps["arm"].startswith("before 0.")
    assert helps["diverged"] == "0/3 | 0/3"
    assert helps["s/step"] == "-"  # timed too short
    assert "first in" in helps["epochs to threshold"]
    assert helps["published"] == "97 %† (A & B: elsewhere)"
    assert table.notes[-1] == f"not run: bnexp claims run {claims['later'].source}"
    assert len(claims_table(found, everything=True).rows) == len(table.rows) + 4


def test_for_scripts_numbers_are_numbers(runs: Path, claims: dict[str, Claim]) -> None:
    found = rows_json(told(runs, claims["helps"]))
    assert found[0]["decides"] is True
    assert found[0]["margin"] == 0.05
    chosen = {"arm": "none", "point": {}, "key": "train.lr", "value": 0.5, "at_edge": False, "study": 0}
    assert found[0]["choices"][0] == chosen
    assert found[0]["change"][0] == pytest.approx(found[0]["treated"][0] - found[0]["baseline"][0])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_cost_is_what_the_measured_trials_took(runs: Path, claims: dict[str, Claim]) -> None:
    assert re.fullmatch(r"12 measured trials, \d+ s", cost(told(runs, claims["helps"])[0]))
    assert cost(told(runs, claims["later"])[0]) == ""


def test_the_document_has_every_claim_with_its_verdict_and_a_picture(runs: Path, claims: dict[str, Claim]) -> None:
    files = document(told(runs, *claims.values()), "small", "bnexp claims show --docs docs")
    pictures = ("holds", "fails", "timed", "helps", "verdicts")
    assert set(files) == {"claims.md", *(f"claims/{name}.png" for name in pictures)}
    text = files["claims.md"].decode()
    assert all(f"\n## {name}\n" in text for name in claims)
    assert "**Answer: SUPPORTED.** " in text
    assert "**In numbers.** Test accuracy: +" in text
    assert "**Answer: FAILS.** " in text
    assert "**In numbers.** 1 test; one and one: 3." in text
    assert "**Answer: not run.**" in text
    assert "bnexp claims show --docs docs" in text
    assert all(files[name].startswith(b"\x89PNG") for name in files if name.endswith("png"))
