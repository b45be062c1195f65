"""What guessing scores: the accuracy below which a network has learned nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from bnexp.config.data import DataSettings
from bnexp.config.dotted import below
from bnexp.config.experiment import ExperimentConfig
from bnexp.data.catalog import KNOWN_SETS, subset

ABOVE_CHANCE = 0.02
"""A trial that ends no further above chance has not been trained."""


@dataclass(frozen=True)
class Chance:
    """The accuracy of guessing, and the margin above it from which on a network counts as trained."""

    accuracy: float
    margin: float = ABOVE_CHANCE
    measured: bool = False
    """Whether the accuracy was measured before training, since the number of classes isn't known."""

    @property
    def above(self) -> float:
        """The accuracy above which a network has learned something."""
        return self.accuracy + self.margin


def chance(configs: Sequence[ExperimentConfig]) -> Chance | None:
    """Return what guessing scores; None where the classes aren't known, or not the same for all.

    With C classes it is 1/C. Among few test images one class may have a larger share, and always guessing that class
    scores better: the margin is three standard errors of 1/C where they are more than ABOVE_CHANCE.
    """
    sets = [data for config in configs for data in _data(config)]
    if any(data.name not in KNOWN_SETS for data in sets):
        return None
    shapes = [subset(data, KNOWN_SETS[data.name]) for data in sets]
    if len({shape.classes for shape in shapes}) > 1:
        return None
    share = 1 / shapes[0].classes
    images = min(shape.test or shape.val or shape.train for shape in shapes)
    return Chance(share, max(ABOVE_CHANCE, 3 * sqrt(share * (1 - share) / images)))


def _data(config: ExperimentConfig) -> Iterator[DataSettings]:
    """Yield the data of all trials, each kind at least once."""
    keys = [key for key in config.swept if below(key, "data")]
    points = {str([point.get(key) for key in keys]): point for point in config.points()}
    yield from (config.settings(arm, point).data for arm in config.arms for point in points.values())
