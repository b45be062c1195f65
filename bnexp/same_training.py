"""Says before a run which of its trials are the same training because a swept setting has no effect on them."""

from collections.abc import Iterator, Sequence

from bnexp.plan import Trial, identities
from bnexp.words import have, listed


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
