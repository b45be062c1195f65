"""The normalisation that each arm has at each grid point, and values of it that are probably meant otherwise."""

from collections.abc import Iterator

from bnexp.config.dotted import below
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.norm import NormSettings
from bnexp.config.stages import first_stage

SECTION = "model.norm"
KERAS = 0.9
"""From here on a momentum was probably written as in Keras, which weighs the old value with it."""


def norms(config: ExperimentConfig) -> list[dict[str, NormSettings]]:
    """Return, grid point by grid point in their order, every arm's normalisation."""
    free = (*config.swept, *config.tune.grid)
    deciding = [key for key in free if below(key, SECTION) or below(SECTION, key)]
    if set(deciding) & set(config.tune.grid):
        deciding = list(config.swept)  # what was chosen may differ at every grid point
    known: dict[tuple[str, str], NormSettings] = {}
    found = []
    for point in config.points():
        here = {arm: (arm, repr([point[key] for key in deciding])) for arm in config.arms}
        for arm, place in here.items():
            if place not in known:
                known[place] = config.settings(arm, point).model.norm
        found.append({arm: known[place] for arm, place in here.items()})
    return found


def momentum_questions(config: ExperimentConfig) -> Iterator[str]:
    """Yield a line for each momentum of running statistics that looks as if it were written for Keras."""
    used = {norm.momentum for here in norms(first_stage(config)) for norm in here.values() if norm.averages}
    for momentum in sorted(used):
        if momentum >= KERAS:
            yield momentum_question(momentum)


def momentum_question(momentum: float) -> str:
    """Ask whether a momentum was written as in Keras."""
    keras = f"; Keras' {momentum:g} is written {round(1 - momentum, 12):g} here" if momentum < 1 else ""
    return f"norm.momentum {momentum:g} gives the newest batch a weight of {momentum:g}{keras}"
