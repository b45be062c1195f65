"""Successive halving: after which epochs a search compares its trials, and how many combinations go on."""

from typing import Self

from pydantic import model_validator

from bnexp.config.base import Count, Settings
from bnexp.config.text import counted
from bnexp.config.trial import TrialKey
from bnexp.config.tuning import TuneSettings

FEWEST_LEFT = 2
"""Combinations that train to the end at least: a single one would leave nothing to compare after whole trainings."""


class Halving(Settings):
    """The plan by which a search stops trials early, which `tune.halve` makes."""

    at: tuple[Count, ...]
    """Epochs after which the trials of each arm are compared among themselves, at every grid point."""
    keep: tuple[Count, ...]
    """How many combinations of values train on after each of them."""
    among: tuple[TrialKey, ...]
    """The settings whose values are compared; all others are grid points."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.at) != len(self.keep) or list(self.at) != sorted(set(self.at)):
            raise ValueError(
                "expected epochs in ascending order, and a number to keep for each; leave it to tune.halve"
            )
        return self

    def epochs(self, tried: int, whole: int) -> int:
        """Return how many epochs an arm trains for each tuning seed if none of its trials diverges or fails.

        Args:
            tried: combinations at the start.
            whole: epochs of a trial that isn't stopped.
        """
        ends, training = (*self.at, whole), (tried, *self.keep)
        return sum(count * (end - begin) for count, begin, end in zip(training, (0, *ends), ends, strict=False))


def plan_halving(tune: TuneSettings, epochs: int) -> Halving | None:
    """Return the plan with the most comparisons that leaves an epoch before the first and FEWEST_LEFT at the end.

    This is the bracket of Hyperband (Li et al. 2018, arXiv:1603.06560, algorithm 1) with the most comparisons that
    leaves FEWEST_LEFT: of n draws, n/η^i train on, rounded down, the last of them for all R epochs, and each
    comparison comes after 1/η of the epochs of the next one, rounded down.

    Args:
        tune: what is tuned, with n draws and η = `halve`; without that there is no plan.
        epochs: R, those of a whole training.

    Raises:
        ValueError: there are too few draws, or epochs, for a single comparison.
    """
    tried, factor = tune.trials or 0, tune.halve
    if not factor:
        return None
    if tried // factor < FEWEST_LEFT:
        raise ValueError(
            f"tune.halve: {factor} would keep {tried // factor} of {tried} draws, and at least {FEWEST_LEFT} have to "
            f"be left to compare; write tune.trials: {FEWEST_LEFT * factor} or more"
        )
    if epochs < factor:
        raise ValueError(
            f"tune.halve: 1/{factor} of {counted(epochs, 'epoch')} is less than one, and draws are compared after "
            f"whole epochs; write train.epochs: {factor} or more"
        )
    powers = [factor]
    while tried // (powers[-1] * factor) >= FEWEST_LEFT and epochs // (powers[-1] * factor) >= 1:
        powers.append(powers[-1] * factor)
    return Halving(
        at=tuple(epochs // power for power in reversed(powers)),
        keep=tuple(tried // power for power in powers),
        among=tuple(tune.options),
    )
