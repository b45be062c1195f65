"""A study: the trials of one run, or of several joined by their settings; its metrics, and what guessing scores."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, sqrt
from typing import Any, Literal

import numpy as np
import pandas as pd

from bnexp.analysis.stats import Bounds
from bnexp.config.experiment import ExperimentConfig, cell_settings
from bnexp.config.keys import is_key
from bnexp.config.trial import TrialSettings
from bnexp.data.catalog import known_shape
from bnexp.errors import InputError, nearest
from bnexp.store.reader import RunRecord

METRICS = {
    "final_test_accuracy": "test_accuracy",
    "final_val_accuracy": "val_accuracy",
    "final_train_accuracy": "train_accuracy",
    "best_val_accuracy": "val_accuracy",
    "test_accuracy_at_best_val": "test_accuracy",
    "val_accuracy_at_early_stop": "val_accuracy",
    "test_accuracy_at_early_stop": "test_accuracy",
    "final_train_loss": "train_accuracy",
}
"""Every metric, with the accuracy in curves.csv that is compared with the threshold."""


def choose_metric(trials: pd.DataFrame, metric: str | None = None) -> str:
    """Return the metric asked for, or the first of test, validation and training accuracy that was measured, if any.

    Raises:
        InputError: the metric is unknown, or an accuracy that no trial of this run has.
    """
    measured = [name for name in METRICS if trials[name].notna().any()]
    if metric is None:
        return next((name for name in list(METRICS)[:3] if name in measured), "final_test_accuracy")
    if metric not in METRICS:
        close = nearest(metric, list(METRICS))
        raise InputError(f"--metric {metric}: no such metric{close}; there are {', '.join(METRICS)}")
    # A blank loss is one that is not finite; a blank accuracy was never measured.
    if measured and metric not in measured and not lower_is_better(metric):
        raise InputError(f"--metric {metric}: was not measured in this run; measured: {', '.join(measured)}")
    return metric


def chosen_by(metric: str) -> str | None:
    """Return the metric that chooses a grid point, which this one then measures: of its kind, on validation images.

    None for a metric of the validation images: they can't measure what they have chosen.
    """
    choosers = {
        "final_test_accuracy": "final_val_accuracy",
        "final_train_accuracy": "final_val_accuracy",
        "test_accuracy_at_best_val": "best_val_accuracy",
        "test_accuracy_at_early_stop": "val_accuracy_at_early_stop",
        "final_train_loss": "final_val_loss",
    }
    return choosers.get(metric)


def lower_is_better(metric: str) -> bool:
    """Tell whether a smaller value is the better one."""
    return metric.endswith("loss")


def bounds(metric: str) -> Bounds:
    """Return the smallest and the largest value that the metric can have."""
    return (0.0, inf) if lower_is_better(metric) else (0.0, 1.0)


def difference_bounds(metric: str) -> Bounds:
    """Return the smallest and the largest difference of two values of the metric."""
    low, high = bounds(metric)
    return low - high, high - low


def metric_text(metric: str, value: float | None, *, sign: bool = False, blank: str = "-") -> str:
    """Write a value of the metric for people: three decimals of an accuracy, three digits of a loss."""
    if value is None:
        return blank
    return format(value, ("+" if sign else "") + (".3g" if lower_is_better(metric) else ".3f"))


def full_key(written: str, known: Sequence[str], place: str) -> str:
    """Return the column that a name means: whole (`train.lr`), or its last parts (`lr`) where that is one column's.

    `place` is where it is written, for messages: "--by ".

    Raises:
        InputError: no such column, or several that end so.
    """
    if written in known:
        return written
    ending = [key for key in known if key.endswith(f".{written}")]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise InputError(f"{place}{written}: could be {' or '.join(ending)}; write one of them in full")
    if not known:
        raise InputError(f"{place}{written}: no such column; the trials differ in arm and seed only, nothing is swept")
    wrong = "not swept" if is_key(ExperimentConfig, written) else f"no such column{nearest(written, list(known))}"
    raise InputError(f"{place}{written}: {wrong}; there are {', '.join(known)}")


def is_number(value: Any) -> bool:
    """Tell whether a grid value is a number, so that a key's values have an order."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


ABOVE_CHANCE = 0.02
"""A trial that ends no further above chance has not been trained."""


@dataclass(frozen=True)
class Chance:
    """The accuracy of guessing, and the margin above it beyond which a network counts as trained."""

    accuracy: float
    margin: float = ABOVE_CHANCE
    measured: bool = False
    """True if it is the accuracy before training, since the number of classes isn't known."""
    images: int | None = None
    """The fewest images that a final accuracy is measured on; None where that isn't known, or each seed has others."""

    @property
    def above(self) -> float:
        """The accuracy above which a network has learned something."""
        return self.accuracy + self.margin


def chance(configs: Sequence[ExperimentConfig]) -> Chance | None:
    """Return what guessing scores; None where the classes aren't known, or not the same for all.

    With C classes it is 1/C. Among few test images one class may have a larger share, and always guessing that class
    scores better: the margin is three standard errors of 1/C where they are more than ABOVE_CHANCE.
    """
    cells = [cell for config in configs for cells in cell_settings(config, ["data"]) for cell in cells.values()]
    shapes = [known_shape(data) for data in {id(cell): cell.data for cell in cells}.values()]
    known = [shape for shape in shapes if shape]
    if len(known) < len(shapes) or len({shape.classes for shape in known}) > 1:
        return None
    share = 1 / known[0].classes
    images = min(shape.test or shape.val or shape.train for shape in known)
    margin = max(ABOVE_CHANCE, 3 * sqrt(share * (1 - share) / images))
    return Chance(share, margin, images=None if test_images_drawn(configs) else images)


def test_images_drawn(configs: Iterable[ExperimentConfig]) -> bool | None:
    """Tell whether each seed draws test images of its own; None where only the files of the data tell."""
    cells = [cell for config in configs if config.data.split == "per_seed" for cell in cell_settings(config, ["data"])]
    shapes = [known_shape(settings.data) for cell in cells for settings in cell.values()]
    drawn = {shape and "test" in shape.drawn for shape in shapes}
    return True if True in drawn else None if None in drawn else False


@dataclass(frozen=True)
class Study:
    """Trials and curves under numbers of their own, and what is known about their arms."""

    name: str
    """Name of the run folder; of several, joined by " + "."""
    question: str
    """The question of the experiment; of several, the questions in turn."""
    runs: tuple[str, ...]
    """Names of the run folders."""
    trials: pd.DataFrame
    """trials.csv with `run`, the folder's name, and `number`, the trial's number there, beside a `trial` of its own;
    `inactive`, the grid keys that have no effect on the trial."""
    curves: pd.DataFrame
    """curves.csv with the new `trial`."""
    grid_keys: tuple[str, ...]
    """Settings that tell grid points apart: those swept, and those that differ between the runs."""
    arms: tuple[str, ...]
    settings: Mapping[str, TrialSettings]
    """An arm's settings at the first grid point of the first run."""
    chance: Chance | None
    """Accuracy of guessing; None where the number of classes isn't known."""
    environments: Mapping[str, Mapping[str, object]]
    """environment.json of every run."""
    configs: Mapping[str, ExperimentConfig] = field(default_factory=dict)
    """The experiment of every run, by the folder's name."""
    records: Mapping[str, RunRecord] = field(default_factory=dict)
    """Every run by the folder's name, for what is read only where it is wanted: predictions and images."""
    chosen_by: tuple[str, ...] = ()
    """Columns of results by which trials were filtered: those that are left are not a fair sample."""
    tuning: tuple[str, ...] = ()
    """What to know of the choices, one text for each run that tuned; see tuning_caveat."""
    tunings: int = 0
    """The number of tuning studies: seed s belongs to study s modulo this number. 0 if each seed stands for itself. If
    runs have different numbers, it is their greatest common divisor."""
    at_edges: tuple[tuple[str, str, Any], ...] = ()
    """Arm, key and value of what a tuning chose that is an end of what it tried."""
    differs: tuple[str, ...] = ()
    """Settings that differ between the runs: "train.lr: 0.1 in a-…, 0.3 in b-…"."""
    left_out: tuple[str, ...] = ()
    """Runs and trials that are not in the tables, and why."""
    probes: pd.DataFrame | None = None
    """probes.csv with the new `trial`; None where there is nothing, or it was not asked for."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names of arms in tables and pictures, where they have a label."""

    def label(self, arm: str) -> str:
        """Return what tables and pictures call an arm."""
        return self.labels.get(arm, arm)

    @cached_property
    def axis(self) -> Literal["epoch", "step"]:
        """What curves are over: steps where a trial has several records in one epoch."""
        return "step" if self.curves.duplicated(["trial", "epoch"]).any() else "epoch"

    @property
    def title(self) -> str:
        """The question, or the name where nothing is asked."""
        return self.question or self.name


def units(study: Study, seeds: Any) -> Any:
    """Return the unit of each seed: the seed itself, or its tuning study, whose seeds depend on each other."""
    return seeds % study.tunings if study.tunings else seeds


def outcome_counts(trained: pd.DataFrame) -> dict[str, Any]:
    """Return how many of these trials there are, how many ended in which way, and why the first one failed."""
    failed = trained[trained["outcome"] == "failed"]
    reasons = failed["reason"].dropna() if "reason" in failed else failed["outcome"][:0]
    return {
        "planned": len(trained),
        "finished": int(trained["outcome"].notna().sum()),
        "failed": len(failed),
        "failure": " ".join(str(reasons.iloc[0]).split()) if len(reasons) else "",
        "diverged": int((trained["outcome"] == "diverged").sum()),
    }


def trial_settings(study: Study, keys: Sequence[str]) -> Iterator[TrialSettings]:
    """Yield the settings of every trial, in their order, of which only `keys` are read; see cell_settings."""
    tables = {
        run: (config, [cell_settings(config, keys, tuning) for tuning in range(config.studies)])
        for run, config in study.configs.items()
    }
    for run, number, seed in zip(*(study.trials[name].tolist() for name in ("run", "number", "seed")), strict=True):
        config, by_study = tables[run]
        by_point = by_study[seed % config.studies]
        cell, arms = number // len(config.seeds), list(config.arms)  # numbered point by point, arm by arm
        yield by_point[cell // len(arms)][arms[cell % len(arms)]]
