"""What is compared: the trials of one run, or of several joined by their settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bnexp.analysis.chance import Chance
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.trial import TrialSettings


@dataclass(frozen=True)
class Study:
    """Trials and curves under numbers of their own, and what is known about their arms."""

    name: str
    """Name of the run folder; of several, joined by " + "."""
    question: str
    """What the experiment asks; of several, the questions in turn."""
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
    """What guessing scores; None where the number of classes isn't known."""
    environments: Mapping[str, Mapping[str, object]]
    """environment.json of every run."""
    configs: Mapping[str, ExperimentConfig] = field(default_factory=dict)
    """The experiment of every run, by the folder's name."""
    chosen_by: tuple[str, ...] = ()
    """Columns of results by which trials were chosen: what is left is no fair sample."""
    tuning: tuple[str, ...] = ()
    """How clear the choices were, one text for each run that tuned."""
    at_edges: tuple[tuple[str, str, Any], ...] = ()
    """Arm, key and value of what a tuning chose that is an end of what it tried."""
    differs: tuple[str, ...] = ()
    """What differs between the runs, and how: "train.lr: 0.1 in a-…, 0.3 in b-…"."""
    left_out: tuple[str, ...] = ()
    """What is not in the tables, and why."""
    probes: pd.DataFrame | None = None
    """What was measured inside the networks, with the new `trial`; None where there is nothing, or nobody asked."""
