"""Studies small enough to be worked out by hand, from one mapping per trial."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.study import Chance, Study
from bnexp.claims.catalogue import MeasureSettings
from bnexp.config.trial import TrialSettings

GIVEN = {"arm", "seed", "accuracy", "outcome", "curve", "pace", "probes", "losses", "train"}

TEN_CLASSES = Chance(0.1)


def a_study(*rows: Mapping[str, Any], chance: Chance | None = TEN_CLASSES) -> Study:
    """Return a study with a trial a row.

    A trial gives arm, seed, its grid values under dotted keys, and as far as they matter: `accuracy`, the final one of
    the test images (0.5), `train`, that of the training images (the same), `curve`, the accuracies ten steps apart from
    step 0 on (0.1 and the final one), `losses` at the same moments, `pace`, the seconds of ten steps (1), `outcome`
    (completed), and `probes`, rows of layer, probe, step and value.
    """
    trials, curves, probes = [], [], []
    for number, row in enumerate(rows):
        final = row.get("accuracy", 0.5)
        curve = row.get("curve", [0.1, final])
        train = row.get("train", final)
        known = {key: value for key, value in row.items() if key not in GIVEN}
        finals = {"final_test_accuracy": final, "final_train_accuracy": train, "final_val_accuracy": np.nan}
        trials.append(
            {"trial": number, "arm": row["arm"], "seed": row["seed"], "outcome": row.get("outcome", "completed")}
            | {"diverged_step": np.nan}
            | known
            | finals
            | {"final_train_loss": 0.5, "best_val_accuracy": np.nan, "test_accuracy_at_best_val": np.nan}
        )
        losses = row.get("losses", [1.0] * len(curve))
        curves += [
            {
                "trial": number,
                "epoch": i,
                "step": 10 * i,
                "seconds": i * row.get("pace", 1.0),
                "train_loss": losses[i],
                "train_accuracy": value + train - final,
                "val_accuracy": np.nan,
                "test_accuracy": value,
            }
            for i, value in enumerate(curve)
        ]
        probes += [
            {"trial": number, "epoch": 0, "layer": layer, "probe": probe, "step": step, "value": value}
            for layer, probe, step, value in row.get("probes", ())
        ]
    keys = dict.fromkeys(key for row in rows for key in row if key not in GIVEN)
    return Study(
        name="made-up",
        question="",
        runs=("made-up",),
        trials=pd.DataFrame(trials),
        curves=pd.DataFrame(curves),
        grid_keys=tuple(keys),
        arms=tuple(dict.fromkeys(row["arm"] for row in rows)),
        settings={row["arm"]: TrialSettings() for row in rows},
        chance=chance,
        environments={},
        probes=pd.DataFrame(probes) if probes else None,
    )


def by_seed(arm: str, values: Sequence[Any], name: str = "accuracy", **others: Any) -> list[dict[str, Any]]:
    """Return rows that differ in the seed and one thing."""
    return [{"arm": arm, "seed": seed, name: value} | others for seed, value in enumerate(values)]


def measure(**raw: Any) -> MeasureSettings:
    """A measure from keywords: by default of the final test accuracy, where more is better."""
    return MeasureSettings.model_validate(
        {"label": "made up", "value": "final_test_accuracy", "better": "higher", "margin": 0.01} | raw
    )
