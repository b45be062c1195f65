"""The settings that each trial of a study trained with, whichever run it is from."""

from collections.abc import Iterator, Sequence

from bnexp.analysis.study import Study
from bnexp.config.cells import cell_settings
from bnexp.config.trial import TrialSettings


def trial_settings(study: Study, keys: Sequence[str]) -> Iterator[TrialSettings]:
    """Yield the settings of every trial, in their order.

    Args:
        study: trials, with the configurations of their runs.
        keys: what is read of the settings; see cell_settings.
    """
    tables = {run: (config, cell_settings(config, keys)) for run, config in study.configs.items()}
    for run, number in zip(study.trials["run"], study.trials["number"], strict=True):
        config, by_point = tables[run]
        cell, arms = int(number) // len(config.seeds), list(config.arms)  # numbered point by point, arm by arm
        yield by_point[cell // len(arms)][arms[cell % len(arms)]]
