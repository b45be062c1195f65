"""Runs of claims by bnexp 0.2, which named their folders differently."""

from pathlib import Path

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import untuned
from bnexp.effective import effective
from bnexp.errors import InputError
from bnexp.store.finding import experiment_of, find_runs
from bnexp.store.layout import READ_ONLY, check_format
from bnexp.store.reader import RunRecord, finished_run


def earlier_run(experiment: ExperimentConfig, folder: Path) -> RunRecord | None:
    """Return an experiment's finished run in the earlier format; None where there is none.

    Raises:
        InputError: there is one, and `diverged` in it means something else than today.
    """
    for found in find_runs(folder):
        if experiment_of(found.path) == experiment.name and _is_of(found, experiment) and finished_run(found.path):
            if (found.trials["outcome"] == "diverged").any():
                raise InputError(
                    f"{found.path}: written by an earlier bnexp (format {READ_ONLY}), where diverged meant something "
                    "else; train it anew with bnexp claims run"
                )
            return found
    return None


def _is_of(run: RunRecord, experiment: ExperimentConfig) -> bool:
    try:
        return check_format(run.path) == READ_ONLY and _alike(run.config, experiment)
    except InputError:  # an unreadable folder is no run of it
        return False


def _alike(one: ExperimentConfig, other: ExperimentConfig) -> bool:
    """Whether two experiments train and measure the same, and tune in the same way."""
    if list(one.places()) != list(other.places()) or (one.tune, one.probes) != (other.tune, other.probes):
        return False
    trainings = [
        [effective(each.settings(arm, point)) for point in each.points() for arm in each.arms]
        for each in (untuned(one), untuned(other))
    ]
    return trainings[0] == trainings[1]
