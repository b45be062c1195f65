"""A trial's row in trials.csv, worked out from its records."""

from collections.abc import Mapping, Sequence
from typing import Any

from bnexp.plan import Trial
from bnexp.records import Outcome

TRIAL_COLUMNS = (
    "outcome",
    "diverged_step",
    "highest_batch_loss",
    "highest_batch_loss_step",
    "reason",
    "final_train_loss",
    "final_train_accuracy",
    "final_val_accuracy",
    "final_test_accuracy",
    "best_val_accuracy",
    "test_accuracy_at_best_val",
    "seconds",
)
"""Columns of trials.csv after the trial, arm, seed and grid columns."""
NEW_COLUMNS = ("highest_batch_loss", "highest_batch_loss_step")
"""Those of them that folders of the format before don't have."""

_FINAL = ("train_loss", "train_accuracy", "val_accuracy", "test_accuracy")


def trial_row(trial: Trial, records: Sequence[Mapping[str, Any]], outcome: Outcome | None) -> dict[str, Any]:
    """Return the row: settings, outcome (blank while training), final and best numbers.

    The best validation accuracy is the first of equal ones; the test accuracy beside it is of that
    record, so the test set chooses nothing.
    """
    row: dict[str, Any] = {"trial": trial.number, "arm": trial.arm, "seed": trial.seed, **trial.point}
    if outcome is None:
        return row
    row |= {"outcome": outcome.kind, "diverged_step": outcome.diverged_step, "reason": outcome.reason}
    row |= {name: getattr(outcome, name) for name in NEW_COLUMNS}
    if records:
        row |= {f"final_{name}": records[-1][name] for name in _FINAL}
        best = max(records, key=lambda record: record["val_accuracy"] or 0.0)
        if best["val_accuracy"] is not None:
            row |= {"best_val_accuracy": best["val_accuracy"], "test_accuracy_at_best_val": best["test_accuracy"]}
        row["seconds"] = records[-1]["seconds"]
    return row
