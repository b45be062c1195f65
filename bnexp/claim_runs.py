"""Running what is missing of claims: checks in code, and experiments through the same runs as any other."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bnexp import __version__
from bnexp.checks.registry import CHECKS
from bnexp.claims.findings import Finding, Measured
from bnexp.claims.regimes import claim_folder, finished_runs, regimes
from bnexp.claims.results import CheckResult, read_result, write_result
from bnexp.config.claim_files import Claim
from bnexp.config.claims import Tier
from bnexp.errors import InputError, nearest
from bnexp.plan import Options
from bnexp.staged import Train, run_staged

Say = Callable[[str], None]


def run_claims(
    claims: Sequence[Claim], tier: Tier, runs: Path, device: str, train: Train, say: Say, *, rerun: bool = False
) -> None:
    """Run what of the claims has not run yet, one claim after the other.

    Args:
        claims: as from find_claims.
        tier: small or full; checks are the same in both.
        runs: folder of the run folders; those of claims lie in claims/<tier> below it.
        device: auto, cpu, cuda or cuda:i.
        train: trains a plan.
        say: told about every claim, and how long it took.
        rerun: run everything anew.

    Raises:
        InputError: a claim names no check that there is, or as prepare.
        BnexpError: as run.
    """
    for claim in claims:
        if claim.settings.check and claim.settings.check not in CHECKS:
            known = list(CHECKS)
            hint = f"{nearest(claim.settings.check, known)}; there are {', '.join(known)}"
            raise InputError(f"{claim.source}: check: {claim.settings.check}: no such check{hint}")
    for claim in claims:
        started = time.perf_counter()
        ran = (
            _check(claim, runs, rerun) if claim.settings.check else _experiment(claim, tier, runs, device, train, rerun)
        )
        say(f"{claim.id}: {f'{time.perf_counter() - started:.0f} s' if ran else 'has run'}")


def _check(claim: Claim, runs: Path, rerun: bool) -> bool:
    before = None if rerun else read_result(claim, runs)
    versions = {"bnexp": __version__, "torch": torch.__version__}
    if before and before.versions == versions:
        return False
    started = time.perf_counter()
    yielded = list(CHECKS[str(claim.settings.check)]())
    findings = tuple(each for each in yielded if isinstance(each, Finding))
    measured = next((each for each in yielded if isinstance(each, Measured)), None)
    write_result(claim, CheckResult(findings, measured, time.perf_counter() - started, versions), runs)
    return True


def _experiment(claim: Claim, tier: Tier, runs: Path, device: str, train: Train, rerun: bool) -> bool:
    wanted = regimes(claim, tier)
    if not rerun and len(finished_runs(claim, tier, runs)) == len(wanted):
        return False
    named = [(claim.source, config) for config in wanted.values()]
    for _ in run_staged(named, claim_folder(runs, tier), device, Options(rerun=rerun), train):
        pass
    return True
