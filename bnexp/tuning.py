"""Which experiment an experiment with `tune:` comes to, as far as its choosing has got."""

from pathlib import Path

from bnexp.analysis.tuning import choose
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import choosing, measuring, must_choose
from bnexp.plan import run_name
from bnexp.store.reader import finished_run


def decided(config: ExperimentConfig, runs: Path) -> ExperimentConfig | None:
    """Return the experiment that is measured, with what was chosen; None where its choosing has not finished.

    Raises:
        InputError: the run that chooses is of another format.
        BnexpError: there was nothing to choose from.
    """
    if not must_choose(config):
        return config
    run = finished_run(runs / run_name(choosing(config)))
    return measuring(config, choose(config, run)) if run else None
