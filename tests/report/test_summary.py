"""What other programs read: every number in full, nothing that JSON or CSV can't hold."""

import csv
import io
import json
from dataclasses import fields, replace

import pytest

from bnexp.analysis.comparison import ArmRow, Comparison
from bnexp.errors import InputError
from bnexp.report.summary import comparison_json, latex, summary_csv, summary_markdown

CONTRACT = ["arm", "baseline", "n", "mean", "low", "high", "difference", "difference_low", "difference_high", "p"]


def test_csv_keeps_the_contract_and_full_precision(comparison: Comparison) -> None:
    header, baseline, before = csv.reader(io.StringIO(summary_csv(comparison)))
    assert set(header) >= {"metric", "model.init.scale", "threshold", "diverged", *CONTRACT}
    assert header[:9] == ["metric", "model.init.scale", *CONTRACT[:7]]
    assert header[2:-1] == [field.name for field in fields(ArmRow) if field.name != "point"]
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


def test_latex_has_the_remarks_under_the_last_table(comparison: Comparison) -> None:
    warned = replace(comparison, warnings=("few seeds:\n3 pairs a row",), left_out=("b: no trial has finished",))
    text = latex(warned, "all", "my_run")
    assert r"\caption{my\_run}" in text
    first, *_, last = text.split(r"\begin{tabular}")
    assert "Careful" not in first
    notes = last.splitlines()[-4:-2]
    assert notes == [r"Left out: b: no trial has finished.\par", r"Careful: few seeds: 3 pairs a row.\par"]


def test_csv_and_json_keep_the_columns_asked_for(comparison: Comparison) -> None:
    header, *_ = csv.reader(io.StringIO(summary_csv(comparison, columns=["arm", "difference to none", "pairs"])))
    assert header == ["metric", "arm", "difference", "difference_low", "difference_high", "pairs", "threshold"]
    row = comparison_json(comparison, ["p"])["rows"][1]
    assert row == {"point": {"model.init.scale": 0.0073564}, "arm": "before", "p": 0.25}
    with pytest.raises(InputError, match="--columns wins: no such column"):
        summary_csv(comparison, columns=["wins"])
