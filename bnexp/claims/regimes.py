"""Where the runs of a claim are: with equal settings, and where something is tuned with what every arm chose."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bnexp.claims.earlier import earlier_run
from bnexp.config.claim_files import Claim
from bnexp.config.claims import Tier
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import choosing, untuned
from bnexp.errors import InputError
from bnexp.plan import run_name
from bnexp.store.finding import holds_run
from bnexp.store.layout import PICTURE, SUMMARIES
from bnexp.store.reader import RunRecord, finished_run
from bnexp.tuning import decided

Regime = Literal["equal", "tuned", "measured"]
"""The last is of what a check measures in code."""


@dataclass(frozen=True)
class ClaimRuns:
    """The runs of a claim that there are, by regime."""

    finished: Mapping[Regime, RunRecord]
    unreadable: Mapping[Regime, str]
    """Which file of a run isn't as it was written."""


def claim_folder(runs: Path, tier: Tier) -> Path:
    """Return the folder of the claims' run folders."""
    return runs / "claims" / tier


def regimes(claim: Claim, tier: Tier) -> dict[Regime, ExperimentConfig]:
    """Return the experiments of a claim: with equal settings, and where something is tuned with what arms choose."""
    experiment = claim.experiments[tier]
    found: dict[Regime, ExperimentConfig] = {"equal": untuned(experiment)}
    return found | {"tuned": experiment} if experiment.tune.grid else found


def finished_runs(claim: Claim, tier: Tier, runs: Path) -> dict[Regime, RunRecord]:
    """Return the finished runs of a claim by regime, whichever there are."""
    return dict(runs_of(claim, tier, runs).finished)


def runs_of(claim: Claim, tier: Tier, runs: Path) -> ClaimRuns:
    """Return the finished runs of a claim, and why others can't be read; one that has not ended is neither.

    Raises:
        BnexpError: arms had nothing to choose from.
    """
    finished: dict[Regime, RunRecord] = {}
    unreadable: dict[Regime, str] = {}
    folder = claim_folder(runs, tier)
    for regime, experiment in regimes(claim, tier).items():
        try:
            measured = decided(experiment, folder)
            path = folder / run_name(measured or choosing(experiment))
            if measured and (run := finished_run(path)):
                finished[regime] = run
            elif fault := _fault(path):
                unreadable[regime] = fault
            elif run := earlier_run(experiment, folder):
                finished[regime] = run
        except InputError as error:  # written by another version of bnexp
            unreadable[regime] = str(error)
    return ClaimRuns(finished, unreadable)


def _fault(path: Path) -> str:
    """Say what of a run is not as it was written; nothing where there is none, or it has only not ended."""
    if not holds_run(path):
        return ""
    run = RunRecord(path)
    run.check()
    ended = run.complete and run.environment["ended"]
    return f"{path}: {', '.join(SUMMARIES)} or {PICTURE} is not as it was written" if ended else ""
