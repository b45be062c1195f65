"""What the checks in code found, kept as JSON beside the claims' run folders."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from bnexp.claims.findings import Finding, Measured
from bnexp.config.claim_files import Claim
from bnexp.errors import InputError
from bnexp.store.files import make_folder, read, replace


@dataclass(frozen=True)
class CheckResult:
    """What one check found."""

    findings: tuple[Finding, ...]
    measured: Measured | None
    """What was measured side by side, for a verdict from data."""
    seconds: float
    """What it took."""
    versions: dict[str, str]
    """Of what it depends on: bnexp, torch and others."""
    check: str = ""
    """The name of the check."""

    @property
    def holds(self) -> bool:
        """Whether every finding that is tested is within its tolerance."""
        return all(finding.holds for finding in self.findings)

    @property
    def worst(self) -> Finding | None:
        """The finding that comes closest to its tolerance, or lies furthest beyond; None where nothing is tested."""
        tested = [finding for finding in self.findings if finding.error is not None]
        return max(tested, key=_strain, default=None)


def _strain(finding: Finding) -> float:
    if finding.holds:
        return (finding.error or 0.0) / finding.tolerance if finding.tolerance else 0.0
    return inf


def write_result(claim: Claim, result: CheckResult, runs: Path) -> Path:
    """Keep what a check found; return the file.

    Raises:
        OSError: it can't be written.
    """
    path = _place(claim, runs)
    make_folder(path.parent)
    replace(path, json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")
    return path


def read_result(claim: Claim, runs: Path) -> CheckResult | None:
    """Return what a claim's check found; None where it has not run, or another one has that the claim named then.

    Raises:
        InputError: the file is not as it was written.
    """
    path = _place(claim, runs)
    try:
        raw: dict[str, Any] = json.loads(read(path))
        result = CheckResult(
            findings=tuple(_finding(**each) for each in raw["findings"]),
            measured=raw["measured"] and Measured(**{key: _numbers(value) for key, value in raw["measured"].items()}),
            seconds=float(raw["seconds"]),
            versions=dict(raw["versions"]),
            check=str(raw["check"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"{path}: not as it was written; remove it, and bnexp claims run {claim.id} makes it anew"
        raise InputError(message) from error
    return result if result.check == claim.settings.check else None


def _finding(what: str, found: str, error: float | None, tolerance: float | None) -> Finding:
    error, tolerance = (None if number is None else float(number) for number in (error, tolerance))
    return Finding(str(what), str(found), error, tolerance)


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _place(claim: Claim, runs: Path) -> Path:
    return runs / "claims" / "checks" / f"{claim.id}.json"
