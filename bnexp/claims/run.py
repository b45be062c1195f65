"""Running what is missing of claims: checks in code, and experiments through the same runs as any other."""

import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bnexp import __version__
from bnexp.api import run
from bnexp.claims.catalogue import Claim, Tier
from bnexp.claims.checks import CHECKS
from bnexp.claims.results import (
    CheckResult,
    Finding,
    Measured,
    claim_folder,
    finished_runs,
    read_result,
    regimes,
    write_result,
)
from bnexp.plan import Options
from bnexp.runner.prepare import prepare


def run_claims(
    claims: Sequence[Claim],
    tier: Tier,
    runs: Path,
    say: Callable[[str], None],
    *,
    device: str = "auto",
    workers: int | None = None,
    rerun: bool = False,
    progress: bool | None = None,
) -> None:
    """Run what of the claims has not run yet, one claim after the other.

    Args:
        claims: as from find_claims.
        tier: small or full; checks are the same in both.
        runs: folder of the run folders; those of claims lie in claims/<tier> below it.
        say: called with a line for every claim: its name, and how long it took.
        device, workers, progress: as for bnexp.run.
        rerun: run everything anew.

    Raises:
        InputError: as bnexp.run; of data that can't be had before anything runs.
        BnexpError: as bnexp.run.
    """
    missing = [claim for claim in claims if claim.experiments and (rerun or not _has_run(claim, tier, runs))]
    _refuse_early(missing, tier, runs, device, Options(rerun=rerun))
    for claim in claims:
        started = time.perf_counter()
        if claim.settings.check:
            ran = _check(claim, runs, rerun)
        elif ran := claim in missing:
            for config in regimes(claim, tier).values():
                folder = claim_folder(runs, tier)
                run(config, runs=folder, device=device, workers=workers, rerun=rerun, progress=progress)
        say(f"{claim.id}: {f'{time.perf_counter() - started:.0f} s' if ran else 'has run'}")


def _refuse_early(claims: Sequence[Claim], tier: Tier, runs: Path, device: str, options: Options) -> None:
    """Prepare one experiment on each data set: what can't be had should stop the first claim, not the last."""
    experiments = [(claim.source, regimes(claim, tier)["equal"]) for claim in claims]
    firsts = {config.data.name: (source, config) for source, config in reversed(experiments)}
    for source, config in firsts.values():
        prepare(config, claim_folder(runs, tier), device, source, options)


def _check(claim: Claim, runs: Path, rerun: bool) -> bool:
    before = None if rerun else read_result(claim, runs)
    versions = {"bnexp": __version__, **{name: _version(name) for name in ("torch", "tensorboard")}}
    if before and before.versions == versions:
        return False
    started = time.perf_counter()
    check = str(claim.settings.check)
    yielded = list(CHECKS[check].load()())
    findings = tuple(each for each in yielded if isinstance(each, Finding))
    measured = next((each for each in yielded if isinstance(each, Measured)), None)
    write_result(claim, CheckResult(findings, measured, time.perf_counter() - started, versions, check), runs)
    return True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _has_run(claim: Claim, tier: Tier, runs: Path) -> bool:
    return len(finished_runs(claim, tier, runs)) == len(regimes(claim, tier))
