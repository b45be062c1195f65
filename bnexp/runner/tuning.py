"""Experiments that tune: they choose first, and then everything is measured."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.analysis.tuning import choose
from bnexp.config.experiment import ExperimentConfig, final_config, first_stage, must_choose, search_config
from bnexp.engines.engine import Engine
from bnexp.plan import Options, run_name
from bnexp.store.reader import RunRecord, finished_run

if TYPE_CHECKING:
    from bnexp.runner.prepare import Plan


def decided(config: ExperimentConfig, runs: Path) -> ExperimentConfig | None:
    """Return the experiment that is measured, with what was chosen; None where its choosing has not finished.

    Raises:
        InputError: the run that chooses is of another format.
        BnexpError: there was nothing to choose from.
    """
    if not must_choose(config):
        return config
    run = finished_run(runs / run_name(search_config(config)))
    return final_config(config, choose(config, run)) if run else None


Train = Callable[["Plan"], RunRecord]
"""Trains a plan to its end."""


def run_staged(
    configs: Sequence[tuple[str, ExperimentConfig]], runs: Path, where: Engine | str, options: Options, train: Train
) -> Iterator[RunRecord]:
    """Train every experiment and yield the finished run of each, in their order.

    The first stage of all of them is prepared before any is trained, so that what is wrong is said at once.

    Args:
        configs: experiments, each after what names it in messages.
        runs: folder of the run folders.
        where: an engine, or a device, as for prepare.
        options: how to treat what is there already, and what fails.
        train: trains a plan.

    Raises:
        InputError: as prepare.
        BnexpError: as run, or there was nothing to choose from.
    """
    from bnexp.runner.prepare import prepare  # imports torch

    def prepared(source: str, config: ExperimentConfig) -> "Plan":
        return prepare(config, runs, where, source, options)

    ready = [_ready(config, runs, options) for _, config in configs]
    plans = [
        prepared(source, first_stage(config) if measured is None else measured)
        for (source, config), measured in zip(configs, ready, strict=True)
    ]
    for plan, (source, config), measured in zip(plans, configs, ready, strict=True):
        run = train(plan)
        yield run if measured else train(prepared(source, final_config(config, choose(config, run))))


def _ready(config: ExperimentConfig, runs: Path, options: Options) -> ExperimentConfig | None:
    """Return what can be measured at once; None where something has to be chosen first, or anew."""
    return None if options.rerun and must_choose(config) else decided(config, runs)
