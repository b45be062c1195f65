"""What will be trained: the trials of an experiment, and the groups in which they train at once."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any, TypeVar

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.keys import below
from bnexp.config.model import WITH_SCALARS
from bnexp.config.source import change_sources, without_folder
from bnexp.config.sweep import Point
from bnexp.config.text import have, listed
from bnexp.config.trial import RECORDS, TrialSettings, effective
from bnexp.config.tuning import HOW_CLOSE

T = TypeVar("T")

CONTINUOUS = (
    "model.dropout",
    "model.init.scheme",
    "model.init.scale",
    "train.lr",
    "train.momentum",
    "train.weight_decay",
    "train.schedule",
    "train.schedule_options",
    "train.warmup",
    "train.clip",
)
"""Settings that may differ within a group: they are tensors over the trials. All others shape the computation."""


@dataclass(frozen=True)
class Trial:
    """One training: an arm at a grid point with a seed."""

    number: int
    """Position in the experiment; `trial` in every table."""
    arm: str
    point: Point
    seed: int
    settings: TrialSettings


@dataclass(frozen=True)
class TrialGroup:
    """Trials whose tensors have the same shapes, ordered by seed; they train along one tensor axis K."""

    trials: tuple[Trial, ...]

    @property
    def settings(self) -> TrialSettings:
        """Settings of the first trial; all trials agree on them, except for the continuous ones."""
        return self.trials[0].settings

    @property
    def numbers(self) -> tuple[int, ...]:
        """The trials' numbers, in their order along K."""
        return tuple(trial.number for trial in self.trials)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that occur in the group."""
        return tuple(dict.fromkeys(trial.arm for trial in self.trials))

    @property
    def shared_seeds(self) -> tuple[int, ...]:
        """The distinct seeds if all have equally many trials, which then share batches; else the seed of each trial."""
        counts = Counter(trial.seed for trial in self.trials)
        even = len(set(counts.values())) == 1
        return tuple(counts if even else (trial.seed for trial in self.trials))

    def only(self, numbers: Iterable[int]) -> "TrialGroup":
        """Return the group of some of the trials, in the same order."""
        wanted = set(numbers)
        return TrialGroup(tuple(trial for trial in self.trials if trial.number in wanted))


@dataclass(frozen=True)
class Options:
    """How a run treats existing results, and failures."""

    rerun: bool = False
    """Keep the old run under a number, and train everything again."""
    retry_failed: bool = False
    """Train trials again that failed."""
    fail_fast: bool = False
    """Stop at the first trial that fails."""


def trials(config: ExperimentConfig) -> tuple[Trial, ...]:
    """Return every trial, numbered grid point by grid point, arm by arm, seed by seed.

    Raises:
        InputError: the experiment has to choose first (`tune:`).
    """
    numbers = count()
    return tuple(
        Trial(next(numbers), arm, point, seed, settings[seed % config.studies].with_seed(seed))
        for point in config.points()
        for arm in config.arms
        for settings in [[config.settings(arm, point, study) for study in range(config.studies)]]
        for seed in config.seeds
    )


def identities(trials: Sequence[Trial]) -> Iterator[tuple[str, str, int, int]]:
    """Yield an identity for each trial: equal identities are repetitions of the same trial.

    It consists of a digest of the settings that matter, the arm, the seed, and the number of earlier trials that agree
    in all three, since a sweep over a setting without effect on an arm has several.
    """
    seen: Counter[tuple[str, str, int]] = Counter()
    digests = _digests(trials, lambda settings: effective(settings, varying=[RECORDS]))
    for digest, trial in zip(digests, trials, strict=True):
        same = digest, trial.arm, trial.seed
        yield *same, seen[same]
        seen[same] += 1


def groups(trials: Sequence[Trial]) -> tuple[TrialGroup, ...]:
    """Return the trials in groups of equal shape, each ordered by seed so that a seed's trials stand together."""
    keyed: dict[str, list[Trial]] = {}
    for digest, trial in zip(_digests(trials, _shape), trials, strict=True):
        keyed.setdefault(digest, []).append(trial)
    return tuple(TrialGroup(tuple(sorted(group, key=lambda trial: trial.seed))) for group in keyed.values())


def parts(group: TrialGroup, most: int) -> tuple[TrialGroup, ...]:
    """Cut a group into parts of at most `most` trials: whole seeds where they fit, whose trials then share batches."""
    by_seed: dict[int, list[Trial]] = {}
    for trial in group.trials:
        by_seed.setdefault(trial.seed, []).append(trial)
    largest = max(map(len, by_seed.values()))
    if largest > most:
        return tuple(TrialGroup(part) for trials in by_seed.values() for part in _evenly(trials, most))
    return tuple(
        TrialGroup(tuple(trial for trials in seeds for trial in trials))
        for seeds in _evenly(list(by_seed.values()), most // largest)
    )


def run_name(config: ExperimentConfig) -> str:
    """Return the run folder's name: the experiment's, and eight digits of the hash of all else that is trained."""
    exclude: dict[str, Any] = {"name": True, "labels": True, "tuned": {"__all__": set(HOW_CLOSE)}}
    # Without defaults: a setting that a later version adds changes no name.
    rest = change_sources(config.model_dump(mode="json", exclude=exclude, exclude_defaults=True), without_folder)
    # The order of arms and grid keys numbers the trials, so it counts.
    return f"{config.name}-{_digest(rest)[:8]}"


def _shape(settings: TrialSettings) -> dict[str, Any]:
    """Return what the trials of a group agree on."""
    known = effective(settings, varying=[RECORDS, *CONTINUOUS])
    shape = {key: value for key, value in known.items() if not any(below(key, other) for other in CONTINUOUS)}
    # Some schemes add learned scalars; the others differ only in numbers.
    scheme = settings.model.init.scheme
    return shape | {"scalars": scheme if scheme in WITH_SCALARS else None}


def _digests(trials: Iterable[Trial], described: Callable[[TrialSettings], dict[str, Any]]) -> Iterator[str]:
    """Yield a digest of the described part of each trial's settings."""
    known: dict[int, str] = {}
    for trial in trials:
        # Trials of one arm and grid point share their settings: once is enough.
        if id(trial.settings) not in known:
            known[id(trial.settings)] = _digest(described(trial.settings))
        yield known[id(trial.settings)]


def _evenly(items: Sequence[T], most: int) -> Iterator[tuple[T, ...]]:
    """Cut a sequence into as few parts of at most `most` items as possible; their lengths differ by at most one."""
    count = -(-len(items) // most)
    bounds = [len(items) * i // count for i in range(count + 1)]
    return (tuple(items[first:last]) for first, last in pairwise(bounds))


def _digest(raw: Any) -> str:
    return hashlib.sha256(json.dumps(raw).encode()).hexdigest()


def same_trainings(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield a sentence for each arm whose trials at several grid points are the same training.

    Each of them is trained nevertheless, since pairs need results of every arm at every grid point.
    """
    arms: dict[str, dict[tuple[str, int], list[Trial]]] = {}
    for (digest, arm, seed, _), trial in zip(identities(trials), trials, strict=True):
        arms.setdefault(arm, {}).setdefault((digest, seed), []).append(trial)
    for arm, trainings in arms.items():
        if repeated := [same for same in trainings.values() if len(same) > 1]:
            keys = [key for key in trials[0].point if any(_differ(same, key) for same in repeated)]
            where = arm if len(repeated) == len(trainings) else f"some trials of {arm}"
            count, sizes = sum(map(len, trainings.values())), {len(same) for same in trainings.values()}
            each = f", each trained {sizes.pop()} times" if len(sizes) == 1 else ""
            few = f"only {len(trainings)} different trainings{each}" if len(trainings) > 1 else "all the same training"
            yield f"{listed(keys)} {have(len(keys))} no effect on {where}: its {count} trials are {few}"


def _differ(trials: Sequence[Trial], key: str) -> bool:
    return len({repr(trial.point[key]) for trial in trials}) > 1
