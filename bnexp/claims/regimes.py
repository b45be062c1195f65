"""Where the runs of a claim are: with equal settings, and where something is tuned with what every arm chose."""

from pathlib import Path
from typing import Literal

from bnexp.config.claim_files import Claim
from bnexp.config.claims import Tier
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.stages import untuned
from bnexp.plan import run_name
from bnexp.store.reader import RunRecord, finished_run
from bnexp.tuning import decided

Regime = Literal["equal", "tuned", "measured"]
"""The last is of what a check measures in code."""


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
    found: dict[Regime, RunRecord] = {}
    folder = claim_folder(runs, tier)
    for regime, experiment in regimes(claim, tier).items():
        measured = decided(experiment, folder)
        if measured and (run := finished_run(folder / run_name(measured))):
            found[regime] = run
    return found
