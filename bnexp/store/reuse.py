"""Trials that an earlier run of the same experiment has already: reused, so that only what is missing trains."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from errno import ENOENT
from pathlib import Path

from bnexp.config.experiment import ExperimentConfig
from bnexp.errors import InputError
from bnexp.plan import Trial, identities, trials
from bnexp.store.cells import Block, block_checksum, cell, csv_line
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.checksums import cells_of, chain, examine, seal
from bnexp.store.finding import experiment_of, find_runs
from bnexp.store.layout import READ_ONLY
from bnexp.store.reader import RunRecord
from bnexp.store.results import TRIAL_COLUMNS


@dataclass(frozen=True)
class TakenTrial:
    """All rows of a trial that has ended, as they are written."""

    outcome: bytes
    """Its row of trials.csv."""
    records: Sequence[bytes]
    """Its rows of curves.csv."""
    blocks: Sequence[Block] = ()
    """Of probes.csv what came with each of them; empty where there is no such file."""

    def checksums(self) -> Iterator[int]:
        """Yield the checksums of all but the outcome's row itself."""
        sums = chain(self.records)
        yield from sums
        yield from (block_checksum(block, value) for block, value in zip(self.blocks, sums, strict=bool(self.blocks)))
        yield seal(self.outcome, sums[-1] if sums else 0)


RESULTS = ("completed", "diverged")
"""Outcomes that are worth taking over."""


@dataclass(frozen=True)
class Takeover:
    """Trials of one earlier run."""

    run: Path
    numbers: Mapping[int, int]
    """Of each trial that is taken over: its number in the new run, and that in the earlier one."""
    rows: Mapping[int, TakenTrial]
    """Each one's rows, under the new numbers."""

    def copy_weights(self, to: Checkpoints) -> None:
        """Keep the trials' final weights in the new run, too.

        Raises:
            FileNotFoundError: they have gone since they were found.
        """
        new = {old: number for number, old in self.numbers.items()}
        for weights in Checkpoints(self.run).weights():
            if mine := [old for old in weights.trials if old in new]:
                numbers = tuple(new.pop(old) for old in mine)
                to.keep(numbers[0], replace(weights.only(mine), trials=numbers))
        if new:
            raise FileNotFoundError(ENOENT, f"weights in {self.run.name} are gone")


def find_takeovers(
    runs: Path, path: Path, config: ExperimentConfig, planned: Sequence[Trial], version: str
) -> list[Takeover]:
    """Return which trials can be had from earlier runs, each from the newest that has it.

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
            there = _results(run, config, version)
            numbers = {wanted.pop(identity): number for identity, number in there.items() if identity in wanted}
            if numbers:
                found.append(Takeover(run.path, numbers, _rows(run, numbers, planned)))
    return found


def _results(run: RunRecord, config: ExperimentConfig, version: str) -> dict[tuple[str, str, int, int], int]:
    """Return the results of a run, with weights, by what identifies them; none where it is damaged."""
    try:
        run.check()
    except InputError:
        return {}
    about = run.environment
    if about.get("bnexp") != version or about.get("format") == READ_ONLY or run.config.probes != config.probes:
        return {}
    ended = set(run.trials.loc[run.trials["outcome"].isin(RESULTS), "trial"])
    if not ended:
        return {}
    ended &= {number for weights in Checkpoints(run.path).weights() for number in weights.trials}
    every = trials(run.config)
    return {identity: n for n, identity in enumerate(identities(every)) if n in ended}


def _rows(run: RunRecord, numbers: Mapping[int, int], planned: Sequence[Trial]) -> dict[int, TakenTrial]:
    tables, rows = examine(run.path, run.config), {}
    for new, old in numbers.items():
        trial, result = planned[new], cells_of(tables.outcomes[old])[-len(TRIAL_COLUMNS) :]
        row = csv_line([new, trial.arm, trial.seed, *map(cell, trial.point.values()), *result])
        blocks = [_renumbered(block, new) for block in tables.blocks.get(old, ())]
        rows[new] = TakenTrial(row, _renumbered(tables.records.get(old, ()), new), blocks)
    return rows


def _renumbered(lines: Iterable[bytes], trial: int) -> tuple[bytes, ...]:
    return tuple(b"%d,%b" % (trial, line.partition(b",")[2]) for line in lines)
