"""Test images that an arm gets wrong and the baseline gets right, or the other way round, in pairs of one seed.

Shapes: S pairs, one for each seed; N test images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.pairing import grid_points, pair_trials
from bnexp.analysis.stats import Interval, mean_interval
from bnexp.analysis.study import Study
from bnexp.store.checkpoints import KeptImages

MOST_SHOWN, FEW_ARMS = 16, 2
"""Images shown for each arm and direction; half as many with more arms than this besides the baseline."""

Classes = NDArray[np.integer[Any]]
"""Numbers of classes."""


@dataclass(frozen=True)
class ShownImage:
    """A test image on which an arm and the baseline disagree."""

    number: int
    """Which test image it is, counted from 0."""
    label: int
    predicted: int
    """The wrong class that is predicted most often by whichever of the two is wrong in more seeds."""
    wrong: int
    """Seeds in which the arm is wrong."""
    partner_wrong: int
    """Seeds in which the baseline is wrong."""


@dataclass(frozen=True)
class Disagreement:
    """What an arm and the baseline predict for the test images at one grid point, seed by seed."""

    arm: str
    baseline: str
    point: Mapping[str, Any]
    planned: int
    """Pairs that finished; predictions may be kept of fewer."""
    labels_N: Classes
    predicted_SN: Classes
    """By the arm."""
    partner_SN: Classes
    """By the baseline."""

    @property
    def seeds(self) -> int:
        """Pairs whose predictions are kept."""
        return len(self.predicted_SN)

    @property
    def lost(self) -> Interval:
        """Images that the arm gets wrong and the baseline right: mean over the seeds, and its 95 % interval."""
        return self._count(self._wrong & ~self._partner_wrong)

    @property
    def won(self) -> Interval:
        """Images that the arm gets right and the baseline wrong."""
        return self._count(~self._wrong & self._partner_wrong)

    @property
    def both(self) -> Interval:
        """Images that both get wrong."""
        return self._count(self._wrong & self._partner_wrong)

    @property
    def between_seeds(self) -> float | None:
        """Images that the baseline gets wrong with one seed and right with another: mean over ordered pairs of seeds.

        So many images differ by retraining alone, without any other arm. None with one seed.
        """
        if self.seeds < 2:
            return None
        wrong_N = self._partner_wrong.sum(0)
        return float((wrong_N * (self.seeds - wrong_N)).sum() / (self.seeds * (self.seeds - 1)))

    def losses(self, most: int, among: NDArray[np.int64] | None = None) -> list[ShownImage]:
        """Return the images on which the arm is wrong in the most seeds more than the baseline; of equals the first.

        Args:
            most: images at most.
            among: numbers of the images to choose from, in ascending order; None for all.
        """
        return self._chosen(self._excess, self.predicted_SN, most, among)

    def gains(self, most: int, among: NDArray[np.int64] | None = None) -> list[ShownImage]:
        """Return the images on which the baseline is wrong in the most seeds more than the arm; see losses."""
        return self._chosen(-self._excess, self.partner_SN, most, among)

    @property
    def _wrong(self) -> NDArray[np.bool_]:
        return np.not_equal(self.predicted_SN, self.labels_N)

    @property
    def _partner_wrong(self) -> NDArray[np.bool_]:
        return np.not_equal(self.partner_SN, self.labels_N)

    @property
    def _excess(self) -> NDArray[np.int64]:
        """For each image, the number of seeds in which the arm is wrong, minus the number in which the baseline is."""
        return np.asarray(self._wrong.sum(0) - self._partner_wrong.sum(0))

    def _count(self, images_SN: NDArray[np.bool_]) -> Interval:
        return mean_interval(images_SN.sum(1), (0.0, float(len(self.labels_N))))

    def _chosen(
        self, excess_N: NDArray[np.int64], predicted_SN: Classes, most: int, among: NDArray[np.int64] | None
    ) -> list[ShownImage]:
        numbers = np.arange(len(excess_N)) if among is None else among
        numbers = numbers[excess_N[numbers] > 0]
        first = numbers[np.argsort(-excess_N[numbers], kind="stable")[:most]]
        return [self._shown(int(number), predicted_SN[:, number]) for number in first]

    def _shown(self, number: int, predicted_S: Classes) -> ShownImage:
        label = int(self.labels_N[number])
        wrong, partner_wrong = (int((some[:, number] != label).sum()) for some in (self.predicted_SN, self.partner_SN))
        most_often = int(np.bincount(predicted_S[predicted_S != label]).argmax())
        return ShownImage(number, label, most_often, wrong, partner_wrong)


@dataclass(frozen=True)
class Misclassified:
    """The images that arms and baseline disagree on at one grid point, and which of them can be shown."""

    arms: Sequence[Disagreement]
    """One at least."""
    images: KeptImages

    def shown(self, found: Disagreement) -> tuple[list[ShownImage], list[ShownImage]]:
        """Return the images to show that an arm gets wrong, and those that the baseline gets wrong."""
        most = MOST_SHOWN if len(self.arms) <= FEW_ARMS else MOST_SHOWN // 2
        return found.losses(most, self.images.numbers_M), found.gains(most, self.images.numbers_M)


def misclassified(study: Study, comparison: Comparison) -> Misclassified | None:
    """Return how the arms disagree with the baseline; None where the runs have nothing kept for it.

    That is so if they are of an earlier version, haven't ended, or were tested on different images or on none.
    """
    images = kept_images(study)
    # A run without images may have tested its trials on others.
    known = replace(study, records={name: record for name, record in study.records.items() if record.images})
    found = images and disagreements(known, comparison, images.labels_N)
    return Misclassified(found, images) if images and found else None


def disagreements(study: Study, comparison: Comparison, labels_N: Classes) -> list[Disagreement]:
    """Return how each arm disagrees with the baseline at `shown_point`; none for an arm without predictions there.

    Args:
        study: the trials; its runs have their predictions.
        comparison: of that study.
        labels_N: of the test images, the same for all trials.
    """
    paired = pair_trials(study, baseline=comparison.baseline, metric=comparison.metric)
    kept = dict(zip(paired["training"], _kept_predictions(study, labels_N), strict=True))
    point, found = shown_point(study, comparison), []
    paired = paired[paired["paired"] & (paired["point"] == point) & (paired["arm"] != comparison.baseline)]
    for arm in study.arms:
        pairs = paired[paired["arm"] == arm].sort_values("seed")[["training", "partner_training"]]
        both = [[kept[int(training)] for training in pair] for pair in pairs.itertuples(index=False)]
        known = [pair for pair in both if all(predicted_N is not None for predicted_N in pair)]
        if known:
            mine_SN, theirs_SN = map(np.stack, zip(*known, strict=True))
            at = grid_points(study.trials, study.grid_keys)[point]
            found.append(Disagreement(arm, comparison.baseline, at, len(pairs), labels_N, mine_SN, theirs_SN))
    return found


def _kept_predictions(study: Study, labels_N: Classes) -> Iterator[Classes | None]:
    """Yield what each trial predicts for the test images; None where that isn't kept."""
    for run, number in zip(study.trials["run"], study.trials["number"], strict=True):
        record = study.records.get(run)
        predicted_N = record.predictions.get(int(number)) if record else None
        yield predicted_N if predicted_N is not None and predicted_N.shape == labels_N.shape else None


def shown_point(study: Study, comparison: Comparison) -> int:
    """Return the number of the grid point whose images are shown: the one that the baseline chose on validation images.

    It is the baseline's row in the table of each arm at its best. Where there is none, it is the middle one of those
    with pairs.
    """
    points = grid_points(study.trials, study.grid_keys)
    chosen = [row.point for row in comparison.best if row.arm == comparison.baseline]
    chosen = chosen or [row.point for row in comparison.rows if row.pairs and set(row.point) == set(points[0])]
    return points.index(chosen[len(chosen) // 2]) if chosen else 0


def kept_images(study: Study) -> KeptImages | None:
    """Return the images that the study's runs have kept; None without any, or where runs have other test images."""
    found = [images for record in study.records.values() if (images := record.images)]
    same = all(np.array_equal(each.labels_N, found[0].labels_N) for each in found)
    if not found or not same or len({each.images_MCHW.shape[1:] for each in found}) > 1:
        return None
    numbers_M, first = np.unique(np.concatenate([each.numbers_M for each in found]), return_index=True)
    return KeptImages(found[0].labels_N, numbers_M, np.concatenate([each.images_MCHW for each in found])[first])
