"""Running the claims and papers that have not run yet, and where their runs and the findings of checks are kept."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from bnexp import __version__
from bnexp.api import run_all
from bnexp.claims.checks import CHECKS
from bnexp.claims.entries import Entry, Tier
from bnexp.config.experiment import ExperimentConfig, default_config, searches
from bnexp.config.trial import effective
from bnexp.data.own_files import pinned
from bnexp.engines.engine import EngineChoice
from bnexp.errors import InputError
from bnexp.plan import Options, run_name
from bnexp.runner.prepare import prepare
from bnexp.runner.tuning import resolve_tuning
from bnexp.store import files
from bnexp.store.files import PICTURE, READ_ONLY, SUMMARIES, check_format, make_folder, read
from bnexp.store.finding import experiment_of, find_runs, holds_run
from bnexp.store.reader import RunRecord, finished_run


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    error: float | None = None
    """Distance from what is claimed; None if it is not tested."""
    tolerance: float | None = None
    """The largest error that counts as agreement."""

    @property
    def holds(self) -> bool:
        """True within the tolerance, or if nothing is tested; NaN is an error."""
        return self.error is None or (self.tolerance is not None and self.error <= self.tolerance)

    @property
    def strain(self) -> float:
        """The error as a share of its tolerance; infinity beyond it."""
        if not self.holds:
            return inf
        return (self.error or 0.0) / self.tolerance if self.tolerance else 0.0


@dataclass(frozen=True)
class Measured:
    """Values of two arms, measured in turn, round by round."""

    baseline: tuple[float, ...]
    treated: tuple[float, ...]
    where: dict[str, str] = field(default_factory=dict)
    """The name of what was measured, if there are several measurements."""


def _several(value: Any) -> Any:
    """Return a list; earlier versions of bnexp wrote a single measurement, or none."""
    return value if isinstance(value, list | tuple) else [value] if value else []


@dataclass(frozen=True)
class CheckResult:
    """The findings of one check."""

    findings: tuple[Finding, ...]
    measured: Annotated[tuple[Measured, ...], BeforeValidator(_several)]
    """Measurements for a verdict from data, a row each; exact claims have none."""
    seconds: float
    versions: dict[str, str]
    """Versions of bnexp, torch and tensorboard; with other versions the check runs again."""
    check: str = ""

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings)

    @property
    def worst(self) -> Finding | None:
        """The finding that comes closest to its tolerance, or lies furthest beyond; None where nothing is tested."""
        tested = [finding for finding in self.findings if finding.error is not None]
        return max(tested, key=lambda finding: finding.strain, default=None)


def read_result(entry: Entry[Any], runs: Path) -> CheckResult | None:
    """Return what an entry's check found; None if it has not run, or if the entry named another check then.

    Raises:
        InputError: the file is not as it was written.
    """
    path = _place(entry, runs)
    try:
        result = TypeAdapter(CheckResult).validate_json(read(path))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        message = f"{path}: not as it was written; remove it, and bnexp {entry.catalogue} run {entry.id} makes it again"
        raise InputError(message) from error
    return result if result.check == entry.check else None


def _place(entry: Entry[Any], runs: Path) -> Path:
    return runs / entry.catalogue / "checks" / f"{entry.id}.json"


Regime = Literal["equal", "tuned", "measured"]
"""The last stands for measurements by a check in code."""


@dataclass(frozen=True)
class EntryRuns:
    """The existing runs of an entry, by regime."""

    finished: Mapping[Regime, RunRecord]
    unreadable: Mapping[Regime, str]
    """Which file of the run was changed or lost."""
    stage: int = 0
    """The entry's stage that these runs belong to, counted from 0."""


def tier_folder(entry: Entry[Any], tier: Tier, runs: Path) -> Path:
    """Return the folder that holds the run folders of all entries of a tier."""
    return runs / entry.catalogue / tier


def regimes(experiment: ExperimentConfig) -> dict[Regime, ExperimentConfig]:
    """Return the experiments to train: with equal settings and, if something is tuned, with what arms choose."""
    found: dict[Regime, ExperimentConfig] = {"equal": default_config(experiment)}
    return found | {"tuned": experiment} if experiment.tune.options else found


def runs_of(entry: Entry[Any], tier: Tier, runs: Path) -> EntryRuns:
    """Return the finished runs of an entry, and why others can't be read; unfinished runs are left out.

    They belong to the last stage that is complete or can't be read, or else to the first.

    Raises:
        BnexpError: arms had nothing to choose from.
    """
    for stage, experiment in reversed([*enumerate(entry.stages(tier))]):
        found = _runs_at(entry, experiment, tier_folder(entry, tier, runs))
        if stage == 0 or found.unreadable or len(found.finished) == len(regimes(experiment)):
            return replace(found, stage=stage)
    return EntryRuns({}, {})


def _runs_at(entry: Entry[Any], stage: ExperimentConfig, folder: Path) -> EntryRuns:
    finished: dict[Regime, RunRecord] = {}
    unreadable: dict[Regime, str] = {}
    for regime, experiment in regimes(stage).items():
        try:
            experiment = pinned(experiment, entry.source)
            measured = resolve_tuning(experiment, folder)
            paths = [folder / run_name(each) for each in ([measured] if measured else searches(experiment))]
            if measured and (run := finished_run(paths[0])):
                finished[regime] = run
            elif fault := next(filter(None, map(_fault, paths)), ""):
                unreadable[regime] = fault
            elif run := _earlier_run(experiment, folder, entry.catalogue):
                finished[regime] = run
        except InputError as error:  # written by another version of bnexp
            unreadable[regime] = str(error)
    return EntryRuns(finished, unreadable)


def _earlier_run(experiment: ExperimentConfig, folder: Path, catalogue: str) -> RunRecord | None:
    """Return the finished run of an experiment that bnexp 0.2 wrote; raise InputError if trials of it diverged."""
    for found in find_runs(folder):
        if experiment_of(found.path) == experiment.name and _is_of(found, experiment) and finished_run(found.path):
            if (found.trials["outcome"] == "diverged").any():
                raise InputError(
                    f"{found.path}: written by an earlier bnexp (format {READ_ONLY}), where diverged meant something "
                    f"else; train it again with bnexp {catalogue} run"
                )
            return found
    return None


def _is_of(run: RunRecord, experiment: ExperimentConfig) -> bool:
    """Tell whether a run is of the earlier format and trains, tunes and measures what an experiment does."""
    try:
        if check_format(run.path) != READ_ONLY:
            return False
        one, other = run.config, experiment
    except InputError:  # an unreadable folder is no run of it
        return False
    if list(one.places()) != list(other.places()) or (one.tune, one.probes) != (other.tune, other.probes):
        return False
    trainings = [
        [effective(each.settings(arm, point)) for point in each.points() for arm in each.arms]
        for each in (default_config(one), default_config(other))
    ]
    return trainings[0] == trainings[1]


def _fault(path: Path) -> str:
    """Say what of a finished run was changed or lost since it was written; empty if nothing, or without a run."""
    if not holds_run(path):
        return ""
    run = RunRecord(path)
    run.check()
    if run.warnings:
        return run.warnings[0]
    ended = run.complete and run.environment["ended"]
    return f"{path}: {', '.join(SUMMARIES)} or {PICTURE} is not as it was written" if ended else ""


def run_entries(
    entries: Sequence[Entry[Any]],
    tier: Tier,
    runs: Path,
    say: Callable[[str], None],
    engine: EngineChoice,
    *,
    rerun: bool = False,
    progress: bool | None = None,
    undecided: Callable[[Entry[Any]], bool] = lambda entry: False,
) -> None:
    """Run the claims or papers that have not run yet, one after the other.

    Args:
        entries: as from find_claims.
        tier: small or full; checks are the same in both.
        runs: folder of the run folders; those of claims lie in claims/<tier> below it.
        say: called with a line for every entry: its name, and how long it took.
        engine: where to train.
        rerun: run everything again.
        progress: as for bnexp.run.
        undecided: tells whether an entry with further stages goes on to the next one.

    Raises:
        InputError: as bnexp.run; missing data are reported before anything runs.
        BnexpError: as bnexp.run.
    """
    engine.check()
    missing = [
        entry
        for entry in entries
        if entry.experiments and (rerun or not _is_complete(entry, entry.experiments[tier], tier, runs))
    ]
    options = Options(rerun=rerun)
    # Missing data should be reported before the first entry runs. A cluster checks its data when it has started.
    firsts = {entry.experiments[tier].data.name: entry for entry in reversed(missing) if engine.engine == "local"}
    for entry in firsts.values():
        equal = pinned(regimes(entry.experiments[tier])["equal"], entry.source)
        prepare(equal, tier_folder(entry, tier, runs), engine.device, entry.source, options)
    for entry in entries:
        started = time.perf_counter()
        if entry.check:
            ran = _check(entry, runs, rerun)
        else:
            folder, ran = tier_folder(entry, tier, runs), False
            for stage, experiment in enumerate(entry.stages(tier)):
                if stage and not undecided(entry):
                    break
                if rerun or not _is_complete(entry, experiment, tier, runs):
                    for config in regimes(experiment).values():
                        run_all([(entry.source, config)], folder, engine, options, progress=progress)
                    ran = True
        say(f"{entry.id}: {f'{time.perf_counter() - started:.0f} s' if ran else 'has run'}")


def _is_complete(entry: Entry[Any], stage: ExperimentConfig, tier: Tier, runs: Path) -> bool:
    return len(_runs_at(entry, stage, tier_folder(entry, tier, runs)).finished) == len(regimes(stage))


def _check(entry: Entry[Any], runs: Path, rerun: bool) -> bool:
    before = None if rerun else read_result(entry, runs)
    versions = {"bnexp": __version__, "torch": version("torch"), "tensorboard": _tensorboard()}
    if before and before.versions == versions:
        return False
    started = time.perf_counter()
    check = str(entry.check)
    yielded = list(CHECKS[check].load()())
    findings = tuple(each for each in yielded if isinstance(each, Finding))
    measured = tuple(each for each in yielded if isinstance(each, Measured))
    result, path = CheckResult(findings, measured, time.perf_counter() - started, versions, check), _place(entry, runs)
    make_folder(path.parent)
    files.replace(path, json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")
    return True


def _tensorboard() -> str:
    """Return the version of tensorboard; empty if it isn't installed."""
    try:
        return version("tensorboard")
    except PackageNotFoundError:
        return ""
