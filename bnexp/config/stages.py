"""The experiments that one with `tune:` stands for: choosing, measuring what was chosen, and measuring all alike."""

from collections.abc import Iterable

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.tuning import Choice, TuneSettings

TUNING = ".tuning"
"""Ends the name of an experiment that chooses."""


def must_choose(config: ExperimentConfig) -> bool:
    """Tell whether an experiment has to choose before it can be measured."""
    return bool(config.tune.grid) and not config.tuned


def first_stage(config: ExperimentConfig) -> ExperimentConfig:
    """Return the experiment that is trained first: the one that chooses, where something has to be chosen."""
    return choosing(config) if must_choose(config) else config


def choosing(config: ExperimentConfig) -> ExperimentConfig:
    """Return the experiment that tries what is tuned: every arm, at every grid point, with the seeds for choosing."""
    return config.model_copy(
        update={
            "name": config.name + TUNING,
            "grid": {**config.grid, **config.tune.grid},
            "seeds": config.tune.seeds,
            "tune": TuneSettings(),
            "tuned": (),
            "probes": (),
        }
    )


def measuring(config: ExperimentConfig, choices: Iterable[Choice]) -> ExperimentConfig:
    """Return the experiment that measures every arm with what it chose.

    Raises:
        pydantic.ValidationError: not every arm has chosen at every grid point, or one chose twice.
    """
    return ExperimentConfig.model_validate(config.model_copy(update={"tuned": tuple(choices)}).model_dump())


def untuned(config: ExperimentConfig) -> ExperimentConfig:
    """Return the experiment that measures all arms with the settings as they are written."""
    return config.model_copy(update={"tune": TuneSettings(), "tuned": ()})
