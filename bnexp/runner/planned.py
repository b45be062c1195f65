"""The trials that a command would train, one by one: for scripts, without training, and without torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bnexp import __version__
from bnexp.config.experiment import ExperimentConfig, must_choose
from bnexp.data.own_files import pinned
from bnexp.plan import Options, groups, run_name, trials
from bnexp.runner.tuning import next_run
from bnexp.store.reader import RunRecord
from bnexp.store.reuse import find_reusable


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of the run that an experiment trains next."""

    run: str
    """Name of the run folder."""
    path: str
    """The run folder, which may not exist yet."""
    stage: Literal["tuning", "measurement"]
    """What its run is for: tuning (the measured trials are known afterwards), or measurement."""
    trial: int
    """Its number, as in trials.csv."""
    arm: str
    point: dict[str, Any]
    """The values of swept settings, by dotted key."""
    seed: int
    changes: dict[str, Any]
    """What it changes in the experiment's settings: its arm's overrides, and what the arm chose."""
    group: int
    """Trials with the same number have the same shape, and can train at once."""
    state: Literal["ended", "reused", "waiting"]
    """ended: it is in the run; reused: it will be taken from an earlier run; waiting: it will be trained."""


def planned_trials(config: ExperimentConfig, runs: Path, options: Options, source: str = "") -> Iterator[PlannedTrial]:
    """Yield the trials of the run that an experiment trains next, in the order of their numbers.

    Args:
        config: the experiment.
        runs: folder of the run folders.
        options: how what is there already would be treated.
        source: names the experiment in messages.

    Raises:
        InputError: the run can't be made or continued there.
    """
    following, state = next_run(pinned(config, source), runs, options)
    path, planned = runs / run_name(following), trials(following)
    states: dict[int, Literal["ended", "reused"]] = {}
    if state == "new" and not options.rerun:
        reusable = find_reusable(runs, path, following, planned, __version__)
        states = dict.fromkeys((number for each in reusable for number in each.numbers), "reused")
    elif state != "new":
        outcomes = RunRecord(path).trials.set_index("trial")["outcome"].dropna()
        ended = outcomes[outcomes != "failed"] if options.retry_failed else outcomes
        states = dict.fromkeys(map(int, ended.index), "ended")
    place = {number: at for at, group in enumerate(groups(planned)) for number in group.numbers}
    for each in planned:
        yield PlannedTrial(
            run=path.name,
            path=str(path),
            stage="tuning" if must_choose(config) and not following.tuned else "measurement",
            trial=each.number,
            arm=each.arm,
            point=each.point,
            seed=each.seed,
            changes=following.changes(each.arm, each.point, each.seed % following.studies),
            group=place[each.number],
            state=states.get(each.number, "waiting"),
        )
