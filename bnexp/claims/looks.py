"""Looks: a claim may run again with more seeds as long as its verdict is INCONCLUSIVE."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any

from bnexp.config.experiment import ExperimentConfig


@dataclass(frozen=True)
class Looks:
    """The looks at one measure so far."""

    pairs: tuple[int, ...]
    """How many pairs there were at each look; the last number counts all."""
    taken: int
    """How many looks there were."""
    planned: tuple[int, ...]
    """How many seeds there are at each look that the claim may take."""


def looks_at(seeds: Sequence[int], first: int, planned: Sequence[int], taken: int) -> Looks:
    """Return the looks so far.

    Args:
        seeds: of the pairs; a seed without a pair is missing.
        first: the first seed of the claim.
        planned: numbers of seeds at each look.
        taken: how many looks there were.
    """
    counts = [sum(seed - first < look for seed in seeds) for look in planned[:taken]]
    return Looks(tuple(dict.fromkeys(count for count in counts if count > 1)), taken, tuple(planned))


def at_look(config: ExperimentConfig, seeds: int) -> ExperimentConfig:
    """Return an experiment with this many consecutive seeds; if it has several tuning studies, each seed gets one.

    Raises:
        pydantic.ValidationError: these seeds don't fit the experiment.
    """
    if seeds == len(config.seeds):
        return config
    first = config.seeds[0]
    changed: dict[str, Any] = {"seeds": tuple(range(first, first + seeds))}
    if config.tune.studies > 1:
        changed["tune"] = config.tune.model_copy(update={"studies": seeds})
    return ExperimentConfig.model_validate(config.model_copy(update=changed).model_dump()).made_from(config.origin)


def misfits(config: ExperimentConfig, looks: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield each place where an experiment doesn't fit its looks, and the remedy."""
    first, count = config.seeds[0], len(config.seeds)
    if count != looks[0] or config.seeds != tuple(range(first, first + count)):
        last = first + looks[0] - 1
        yield (
            "experiment.seeds",
            f"looks begin with {looks[0]} consecutive seeds; write {{range: [{first}, {last}, 1]}}",
        )
    if config.more_seeds:
        yield "experiment.seeds", "looks add seeds, too; write them as a range instead of {from, to, until}"
    if config.tune.studies == 1:
        return
    if config.tune.studies != looks[0]:
        yield "experiment.tune.studies", f"looks give every seed a tuning study of its own; write {looks[0]}"
    if first % (step := lcm(*looks)):
        # The seed s belongs to study s modulo the number of studies.
        begin = -(-first // step) * step
        yield "experiment.seeds", f"a seed would change its tuning study from look to look; begin at {begin}"
