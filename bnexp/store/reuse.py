"""Trials that an earlier run of the same experiment has already: reused, so that only what is missing trains."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from errno import ENOENT
from pathlib import Path

from bnexp.config.experiment import ExperimentConfig
from bnexp.errors import InputError
from bnexp.plan import Trial, identities, trials
from bnexp.store.checkpoints import KINDS, Checkpoints
from bnexp.store.files import CURVES, PROBES, READ_ONLY
from bnexp.store.finding import experiment_of, find_runs
from bnexp.store.integrity import Kept, examine
from bnexp.store.reader import RunRecord
from bnexp.store.tables import RESULT_COLUMNS, Row, trial_row_of

RESULTS = ("completed", "diverged")
"""Outcomes that are reused."""


@dataclass(frozen=True)
class ReusableRun:
    """Trials of one earlier run that need not be trained again."""

    run: Path
    numbers: Mapping[int, int]
    """Each trial's number in the earlier run, by its number in the new one."""
    rows: Kept
    """Their rows under the new numbers."""
    same_images: bool
    """True if both runs split their data in the same way, so that the kept test images of one are valid for the
    other."""

    def copy_kept(self, to: Checkpoints) -> None:
        """Keep the trials' final weights in the new run, too; and their predictions and images, where there are any.

        Raises:
            FileNotFoundError: the weights have gone since they were found.
        """
        found = Checkpoints(self.run)
        for kind in KINDS:
            new = {old: number for number, old in self.numbers.items()}
            for kept in found.kept(kind):
                if mine := [old for old in kept.trials if old in new]:
                    numbers = tuple(new.pop(old) for old in mine)
                    to.keep(numbers[0], replace(kept.only(mine), trials=numbers), kind)
            if new and kind == "weights":
                raise FileNotFoundError(ENOENT, f"weights in {self.run.name} are gone")
        if self.same_images and (images := found.images()):
            to.keep_images(images)  # until the run ends and perhaps chooses others


def find_reusable(
    runs: Path, path: Path, config: ExperimentConfig, planned: Sequence[Trial], version: str
) -> list[ReusableRun]:
    """Return the trials that earlier runs have, each from the newest that has it.

    Args:
        runs: folder of the run folders.
        path: the new run, which is none of the earlier ones.
        config: its experiment; earlier runs have its name, and took the same probes.
        planned: its trials; a trial is the same where arm, seed and all settings that matter are.
        version: of bnexp, which is the earlier run's too.
    """
    wanted = dict(zip(identities(planned), range(len(planned)), strict=True))
    found = []
    for run in reversed(find_runs(runs)):
        if wanted and run.path != path and experiment_of(run.path) == config.name:
            results = _results(run, config, version)
            numbers = {wanted.pop(identity): number for identity, number in results.items() if identity in wanted}
            if numbers:
                same = run.config.data.split == config.data.split
                found.append(ReusableRun(run.path, numbers, _rows(run, numbers, planned), same))
    return found


def merged(runs: Iterable[ReusableRun]) -> Kept:
    """Return the rows of several runs together."""
    kept = [each.rows for each in runs]
    outcomes = {trial: row for each in kept for trial, row in each.outcomes.items()}
    return Kept(outcomes, {name: [row for each in kept for row in each.rows[name]] for name in (CURVES, PROBES)})


def _results(run: RunRecord, config: ExperimentConfig, version: str) -> dict[tuple[str, str, int, int], int]:
    """Return the numbers of the trials that can be reused, by identity; none if the run is damaged."""
    try:
        run.check()
    except InputError:
        return {}
    about = run.environment
    if run.warnings or about.get("bnexp") != version or about.get("format") == READ_ONLY:
        return {}
    ended = set(run.trials.loc[run.trials["outcome"].isin(RESULTS), "trial"])
    if not ended or run.config.probes != config.probes:
        return {}
    ended &= {number for weights in Checkpoints(run.path).kept() for number in weights.trials}
    return {identity: n for n, identity in enumerate(identities(trials(run.config))) if n in ended}


def _rows(run: RunRecord, numbers: Mapping[int, int], planned: Sequence[Trial]) -> Kept:
    kept = examine(run.path, run.config).intact()
    new = {old: number for number, old in numbers.items()}
    rows = {
        name: [[str(new[int(old)]), *cells] for old, *cells in kept.rows[name] if int(old) in new]
        for name in (CURVES, PROBES)
    }
    curves = defaultdict[int, list[Row]](list)
    for row in rows[CURVES]:
        curves[int(row[0])].append(row)
    outcomes = {
        number: trial_row_of(planned[number], curves[number], kept.outcomes[old][-len(RESULT_COLUMNS) :])
        for old, number in new.items()
    }
    return Kept(outcomes, rows)
