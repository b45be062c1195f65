"""Experiments from configurations to finished runs: some tune first, some add seeds until they are decided."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.analysis.choices import choose
from bnexp.analysis.runs import ComparedRun
from bnexp.analysis.sequential import next_look
from bnexp.config.experiment import ExperimentConfig, at_look, final_config, must_choose, searches
from bnexp.data.own_files import pinned
from bnexp.engines.engine import EngineChoice
from bnexp.errors import InputError
from bnexp.plan import Options, run_name
from bnexp.runner.prepare import RunState, prepare, run_state
from bnexp.runner.signals import Interrupts
from bnexp.store.files import remove_run
from bnexp.store.reader import RunRecord, finished_run

if TYPE_CHECKING:
    from bnexp.runner.prepare import Plan

Train = Callable[["Plan"], ComparedRun]
"""Trains a plan to its end."""


def resolve_tuning(config: ExperimentConfig, runs: Path) -> ExperimentConfig | None:
    """Return the experiment that is measured, with what its arms chose; None if a search has not finished.

    Raises:
        InputError: the run of a search is of another format.
        BnexpError: there was nothing to choose from.
    """
    if not must_choose(config):
        return config
    found = [finished_run(runs / run_name(search)) for search in searches(config)]
    done = [run for run in found if run]
    return final_config(config, choose(config, *done)) if len(done) == len(found) else None


def run_with_tuning(
    experiments: Sequence[tuple[str, ExperimentConfig]],
    runs: Path,
    engine: EngineChoice,
    options: Options,
    train: Train | None = None,
) -> list[ComparedRun]:
    """Train every experiment and return the finished run of each, in their order.

    The first run of each is prepared before any is trained, so that mistakes are reported at once. If all have
    finished, torch isn't needed.

    Args:
        experiments: configurations, each after what names it in messages.
        runs: folder of the run folders.
        engine: where to train.
        options: how to treat what is there already, and what fails.
        train: trains a plan; None: without showing anything.

    Raises:
        InputError: as prepare.
        BnexpError: as run, or there was nothing to choose from.
        KeyboardInterrupt: SIGINT or SIGTERM came; how far training got is saved.
    """
    experiments = [(source, pinned(config, source)) for source, config in experiments]
    steps = [next_run(config, runs, options) for _, config in experiments]
    if all(state == "finished" for _, state in steps):
        for config, _ in steps:
            _remove_earlier_looks(config, runs)  # left by an interruption
        return [ComparedRun(runs / run_name(config)) for config, _ in steps]
    with Interrupts(), engine.entered() as where:  # while data are loaded, too
        from bnexp.runner.run import run  # imports torch

        train = train or run
        plans = [
            prepare(config, runs, where, source, options, state)
            for (source, _), (config, state) in zip(experiments, steps, strict=True)
        ]
        done = []
        for (source, config), plan in zip(experiments, plans, strict=True):
            if must_choose(config) and not plan.config.tuned:
                found = []
                for search in searches(config):
                    if search != plan.config:
                        state = run_state(search, runs, Options(rerun=options.rerun))
                        plan = prepare(search, runs, where, source, options, state)
                    found.append(train(plan))
                plan = prepare(final_config(config, choose(config, *found)), runs, where, source, options)
            record = train(plan)
            while more := next_look(plan.config, record.comparison):
                plan = prepare(more, runs, where, source, options)
                record = train(plan)
            _remove_earlier_looks(plan.config, runs)
            done.append(record)
        return done


def next_run(config: ExperimentConfig, runs: Path, options: Options) -> tuple[ExperimentConfig, RunState]:
    """Return what an experiment trains next, its search or its measurement, and the state of that run."""
    if must_choose(config):
        stages = searches(config)
        for search in stages:
            state = run_state(search, runs, Options(rerun=options.rerun))
            if state != "finished":
                return search, state
        config = final_config(config, choose(config, *(RunRecord(runs / run_name(search)) for search in stages)))
    if config.more_seeds:
        config = _present_look(config, runs, options)
    return config, run_state(config, runs, options)


def _remove_earlier_looks(config: ExperimentConfig, runs: Path) -> None:
    """Remove the runs of looks with fewer seeds: the last one has all of their trials."""
    earlier = [look for look in config.more_seeds.looks if look < len(config.seeds)] if config.more_seeds else []
    for seeds in earlier:
        remove_run(runs / run_name(at_look(config, seeds)))


def _present_look(config: ExperimentConfig, runs: Path, options: Options) -> ExperimentConfig:
    """For an experiment that adds seeds, return it at the look that decided, or at the one to train next.

    Every look has a run of its own, which reuses the trials of the one before. The last run stays.

    Raises:
        InputError: it has finished a look, and is to be trained again.
    """
    assert config.more_seeds
    for seeds in reversed(config.more_seeds.looks):
        look = at_look(config, seeds)
        if done := finished_run(runs / run_name(look)):
            if options.rerun:
                raise InputError(f"--rerun: {done.path.name} would be continued; first remove it with bnexp rm")
            return next_look(look, ComparedRun(done.path).comparison) or look
    return config
