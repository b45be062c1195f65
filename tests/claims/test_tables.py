"""Tables of claims, with what decides, what counts, and what is said under them."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from bnexp.claims.evidence import Evidence
from bnexp.claims.rows import rows_of
from bnexp.claims.runs import Finding
from bnexp.claims.tables import COLUMNS, claims_table, evidence_tables, verdicts_table
from bnexp.config.load import shipped
from bnexp.report.table import to_markdown, to_rich
from tests.claims.made_up import a_claim, from_check, from_data, head, judged, measure

FIRST, SECOND = measure(label="first"), measure(label="second")
CLOSE, FAR = ((0.5, 0.5, 0.5), (0.505, 0.506, 0.507)), ((0.5, 0.5, 0.5), (0.7, 0.71, 0.72))


@pytest.mark.parametrize("value", ["diverged", "final_test_accuracy"])
def test_what_diverged_means_stands_under_a_measure_of_it(value: str) -> None:
    table = claims_table([from_data(judged(*FAR, of=measure(label="share", value=value)))])
    assert any(note.startswith("diverged: a number is") for note in table.notes) is (value == "diverged")


def test_rows_of_one_measure_stand_together_the_deciding_regime_first() -> None:
    rows = [
        judged(*FAR, regime, of=of, decides=regime == "tuned" and of is FIRST)
        for regime in ("equal", "tuned")
        for of in (FIRST, SECOND)
    ]
    report = from_data(*rows)
    assert [(row.measure, row.regime) for row in rows_of(report)] == [
        ("first", "tuned"),
        ("first", "equal"),
        ("second", "tuned"),
        ("second", "equal"),
    ]
    assert [row.decides for row in rows_of(report)] == [True, False, False, False]
    (table,) = evidence_tables(report)
    assert table.marked == (0,)
    assert "| **first** | tuned |" in to_markdown(table)
    assert len(claims_table([report]).rows) == 2
    assert len(claims_table([report], everything=True).rows) == 4
    assert claims_table([report]).headers == ("claim", "measure", "regime", "Δ [interval]", "n", "margin", "verdict")
    assert claims_table([report], wide=True).headers == tuple(column.header for column in COLUMNS)


def test_an_exact_claim_tells_its_worst_finding() -> None:
    fine, worse = Finding("one", "1", 1e-9, 1e-6), Finding("two", "2", 5e-7, 1e-6)
    row = head(from_check(fine, worse))
    assert (row.regime, row.verdict) == ("exact", "HOLDS")
    assert row.reasons == ("worst error 5e-07 of 1e-06 allowed",)
    assert head(from_check(worse, fine)).reasons == row.reasons
    failing = head(from_check(fine, Finding("two", "2", 2.0, 1e-6), as_worded=False, tested="Not quite."))
    assert (failing.verdict, failing.reasons) == ("FAILS as corrected", ("two: 2",))
    (table,) = evidence_tables(from_check(fine, Finding("two", "2", 2.0, 1e-6), Finding("by the way", "3")))
    assert [row[2:] for row in table.rows] == [("1e-09 of 1e-06", "holds"), ("2 of 1e-06", "FAILS"), ("told", "")]


def test_what_has_not_run_is_named_with_the_command() -> None:
    done, missing = from_data(judged(*FAR)), Evidence(a_claim(FIRST), missing=True)
    assert (head(missing).verdict, head(missing).measure) == ("not run", "first")
    assert claims_table([done]).lines[-1].startswith("verdict")
    assert claims_table([done, missing]).notes[-1] == "not run: bnexp claims run folder/made_up.yaml"
    assert claims_table([missing, missing]).notes[-1] == "not run: bnexp claims run"


def test_of_many_claims_that_have_not_run_the_number_is_said() -> None:
    many = [from_data(judged(*FAR)), *[Evidence(a_claim(FIRST), missing=True)] * 9]
    named = "not run: 9 of 10 claims, such as folder/made_up.yaml; bnexp claims run runs them all"
    assert claims_table(many).notes[-1] == named


def test_a_claim_that_the_data_contradict_is_quoted_under_the_table() -> None:
    opposite, fails = from_data(judged(*FAR[::-1])), from_check(Finding("it", "isn't", 2.0, 1.0))
    assert claims_table([from_data(judged(*FAR)), opposite, fails]).notes == (
        "made_up: OPPOSITE. The claim: So it is.",
        "made_up: FAILS; it: isn't. The claim: So it is.",
    )
    assert claims_table([opposite], wide=True).notes == ()


def test_the_usual_table_fits_a_terminal_of_80_columns() -> None:
    row = judged(*FAR, of=measure(label="test accuracy of a network with many layers, " * 3), regime="tuned")
    report = replace(from_data(row), claim=replace(a_claim(row.measure), id="two_inference_methods"))
    console = Console(width=80, file=StringIO())
    console.print(to_rich(claims_table([report])))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert not any("narrow" in line for line in lines)
    assert lines[2].startswith("measure: test accuracy")  # above the rows that share it


def test_a_shipped_claim_is_named_by_its_name_and_ones_own_by_its_file() -> None:
    claim = a_claim()
    assert claim.command_line_name == "folder/made_up.yaml"
    assert replace(claim, id="fixup").command_line_name == "folder/made_up.yaml"
    assert replace(claim, id="fixup", source=str(shipped("claims")["fixup"])).command_line_name == "fixup"


def test_the_first_table_names_every_claim_in_its_own_words() -> None:
    one, other = from_data(judged(*FAR)), from_data(judged(*CLOSE), claim="It  does\nnot.")
    table = verdicts_table({"small": [one, other], "full": [other, one]})
    assert table.headers == ("claim", "small tier", "full tier")
    assert table.rows == (
        ("[So it is.](#made_up)", "SUPPORTED", "EQUIVALENT"),
        ("[It does not.](#made_up)", "EQUIVALENT", "SUPPORTED"),
    )
