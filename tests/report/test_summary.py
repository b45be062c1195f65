"""What other programs read: every number in full, nothing that JSON or CSV can't hold."""

import csv
import io
import json

from bnexp.analysis.comparison import Comparison
from bnexp.report.summary import comparison_json, summary_csv, summary_markdown

CONTRACT = ["arm", "baseline", "n", "mean", "low", "high", "difference", "difference_low", "difference_high", "p"]


def test_csv_keeps_the_contract_and_full_precision(comparison: Comparison) -> None:
    header, baseline, before = csv.reader(io.StringIO(summary_csv(comparison)))
    assert header[:12] == ["metric", "model.init.scale", *CONTRACT]
    assert header[12:] == ["pairs", "diverged", "failed", "epochs_to_threshold", "reached", "threshold"]
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
