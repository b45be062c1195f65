"""The settings of every cell of an experiment: each arm at each grid point."""

from collections.abc import Sequence

from bnexp.config.dotted import below
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.trial import TrialSettings


def cell_settings(config: ExperimentConfig, keys: Sequence[str]) -> list[dict[str, TrialSettings]]:
    """Return, grid point by grid point in their order, every arm's settings.

    Read only `keys` of them: cells that can't differ in these share one object, since thousands take long to make.

    Args:
        config: the experiment; what is tuned has been chosen.
        keys: dotted keys of settings or of sections.

    Raises:
        InputError: an arm has not chosen yet.
    """
    free = (*config.swept, *config.tune.grid)
    deciding = [key for key in free if any(below(key, wanted) or below(wanted, key) for wanted in keys)]
    if set(deciding) & set(config.tune.grid):
        deciding = list(config.swept)  # what was chosen may differ at every grid point
    known: dict[tuple[str, str], TrialSettings] = {}
    found = []
    for point in config.points():
        here = {arm: (arm, repr([point[key] for key in deciding])) for arm in config.arms}
        for arm, place in here.items():
            if place not in known:
                known[place] = config.settings(arm, point)
        found.append({arm: known[place] for arm, place in here.items()})
    return found
