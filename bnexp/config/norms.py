"""Values of the normalisation that are probably meant otherwise."""

from collections.abc import Iterator

from bnexp.config.cells import cell_settings
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import first_stage

KERAS = 0.9
"""From here on a momentum was probably written as in Keras, which weighs the old value with it."""


def momentum_questions(config: ExperimentConfig) -> Iterator[str]:
    """Yield a line for each momentum of running statistics that looks as if it were written for Keras."""
    cells = cell_settings(first_stage(config), ["model.norm"])
    norms = [settings.model.norm for here in cells for settings in here.values()]
    used = {norm.momentum for norm in norms if norm.averages}
    for momentum in sorted(used):
        if momentum >= KERAS:
            yield momentum_question(momentum)


def momentum_question(momentum: float) -> str:
    """Ask whether a momentum was written as in Keras."""
    keras = f"; Keras' {momentum:g} is written {round(1 - momentum, 12):g} here" if momentum < 1 else ""
    return f"norm.momentum {momentum:g} gives the newest batch a weight of {momentum:g}{keras}"
