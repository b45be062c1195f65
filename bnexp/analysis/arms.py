"""What the arms of several runs are called together, and what their settings are."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from bnexp.analysis.grounds import Changes, Ground
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.trial import TrialSettings, with_changes


def arm_names(runs: Sequence[str], configs: Sequence[ExperimentConfig]) -> list[dict[str, str]]:
    """Return, run by run, what each arm is called: by its name, unless an earlier run means something else by it."""
    meanings: dict[str, dict[str, tuple[Ground, Changes]]] = {}
    named: list[dict[str, str]] = []
    for number, (run, config) in enumerate(zip(runs, configs, strict=True)):
        own, ground = {}, Ground(number, config.points()[0], config.base)
        for arm, changes in config.arms.items():
            meaning = ground, changes
            known = meanings.setdefault(arm, {arm: meaning})
            new = f"{arm} of {config.name}"
            new = f"{arm} of {run}" if new in known else new
            own[arm] = next((name for name, other in known.items() if _same(meaning, other)), new)
            known.setdefault(own[arm], meaning)
        named.append(own)
    return named


def arm_settings(configs: Sequence[ExperimentConfig], names: Sequence[Mapping[str, str]]) -> dict[str, TrialSettings]:
    """Return every arm's settings on the first run's ground: what else differs between runs tells grid points apart.

    Where an arm can't be there, a group norm that doesn't divide the width, it is on the ground of its own run.
    """
    own = {name: (config, arm) for config, named in zip(configs, names, strict=True) for arm, name in named.items()}
    base, point, found = configs[0].base, configs[0].points()[0], {}
    for name, (config, arm) in own.items():
        try:
            found[name] = with_changes(base, {**point, **config.changes(arm, config.points()[0])})
        except ValidationError:
            found[name] = config.settings(arm, config.points()[0])
    return found


def _same(one: tuple[Ground, Changes], other: tuple[Ground, Changes]) -> bool:
    """Tell whether two arms come to the same where one of them is at home."""
    if one[1] == other[1]:
        return True
    trainings = [(ground.training(one[1]), ground.training(other[1])) for ground in (one[0], other[0])]
    return any(first and first == second for first, second in trainings)
