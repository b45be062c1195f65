"""Trials that are the same training, in words: a swept setting has no effect on them."""

from collections.abc import Iterator, Sequence

from bnexp.plan import Trial, identities
from bnexp.words import counted, listed


def same_trainings(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield a sentence for each arm whose trials at several grid points are the same training.

    They are trained all the same: every grid point has results of every arm, and pairs need them.
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
            yield (
                f"{listed(keys)} {'has' if len(keys) == 1 else 'have'} no effect on {where}: "
                f"its {count} trials are {counted(len(trainings), 'different training')}{each}"
            )


def _differ(trials: Sequence[Trial], key: str) -> bool:
    return len({repr(trial.point[key]) for trial in trials}) > 1
