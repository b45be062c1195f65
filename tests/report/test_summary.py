"""What other programs read: every number in full, nothing that JSON or CSV can't hold."""

import csv
import io
import json
from dataclasses import replace

from bnexp.analysis.comparison import Comparison
from bnexp.report.summary import ROW_COLUMNS, comparison_json, latex, summary_csv, summary_markdown
from bnexp.report.table import Table
from bnexp.report.views import remarks, tables

CONTRACT = ["arm", "baseline", "n", "mean", "low", "high", "difference", "difference_low", "difference_high", "p"]


def test_csv_keeps_the_contract_and_full_precision(comparison: Comparison) -> None:
    header, baseline, before = csv.reader(io.StringIO(summary_csv(comparison)))
    assert set(header) >= {"metric", "model.init.scale", "threshold", "diverged", *CONTRACT}
    assert header[:9] == ["metric", "model.init.scale", *CONTRACT[:7]]
    assert header[2:-1] == list(ROW_COLUMNS)
    row = dict(zip(header, before, strict=True))
    assert float(row["mean"]) == 1 / 3
    assert (row["metric"], row["model.init.scale"]) == ("final_test_accuracy", "0.0073564")
    assert dict(zip(header, baseline, strict=True))["difference"] == ""


def test_markdown_has_title_question_table_and_notes(comparison: Comparison) -> None:
    text = summary_markdown(comparison, "init_scale", "Does the init scale matter?\n")
    assert text.startswith("# init_scale\n\nDoes the init scale matter?\n\n| init.scale | arm |")
    assert "\n- mean [low, high]: 95 % Student t interval" in text
    assert summary_markdown(comparison, "x", "").startswith("# x\n\n| init.scale")


def test_json_is_what_json_gives_back(comparison: Comparison) -> None:
    document = comparison_json(comparison)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["rows"][1]["mean"] == 1 / 3
    assert document["grid_keys"] == ["model.init.scale"]


def test_remarks_stand_under_the_tables(comparison: Comparison) -> None:
    remarked = replace(comparison, warnings=("few seeds",), differs=("train.lr: 1 in a",), left_out=("b: nothing",))
    text = summary_markdown(remarked, "x")
    assert text.endswith("\n\n- Differs: train.lr: 1 in a.\n- Left out: b: nothing.\n- Careful: few seeds.\n")


def test_infinities_are_null(comparison: Comparison) -> None:
    point = {"model.init.scale": float("inf")}
    document = comparison_json(replace(comparison, rows=(replace(comparison.rows[0], point=point),)))
    assert document["rows"][0]["point"] == {"model.init.scale": None}


def test_latex_takes_nothing_for_its_own() -> None:
    table = Table(("a_b", "50 %"), (("x & y", "#1 $z$ {~^}\\"), ("<0.001", "3×")), "100 % title", ("a % note",))
    assert latex([table]).splitlines() == [
        "% 100 % title",
        r"\begin{tabular}{ll}",
        r"\toprule",
        r"a\_b & 50 \% \\",
        r"\midrule",
        r"x \& y & \#1 \$z\$ \{\textasciitilde{}\textasciicircum{}\}\textbackslash{} \\",
        r"\textless{}0.001 & 3$\times$ \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% a % note",
    ]


def test_latex_has_the_remarks_as_comments_at_the_end(comparison: Comparison) -> None:
    warned = replace(comparison, warnings=("few seeds:\n3 pairs a row",), left_out=("b: no trial has finished",))
    lines = latex(tables(warned), remarks(warned)).splitlines()
    assert lines[-2:] == ["% Left out: b: no trial has finished.", "% Careful: few seeds: 3 pairs a row."]
