"""The tuning curves of runs whose arms chose settings of their own: from the runs in which they tried them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bnexp.analysis.choices import CHOSEN_BY, Search, each_search
from bnexp.analysis.comparison import Comparison
from bnexp.analysis.joining import arm_names
from bnexp.analysis.study import Study
from bnexp.analysis.tuning_curve import Tried, Tuning, TuningLead, TuningRow, tuning_lead, tuning_rows
from bnexp.config.experiment import searches
from bnexp.config.sweep import Point
from bnexp.errors import InputError
from bnexp.plan import run_name
from bnexp.store.reader import RunRecord, finished_run


def with_tuning(comparison: Comparison, study: Study) -> Comparison:
    """Return the comparison with the tuning curves of its arms, and which of them need fewer tries than others.

    There are curves for every run that tuned and whose search is still there, at the arms and grid points of the study.
    """
    rows, leads = list[TuningRow](), list[TuningLead]()
    for here in _tunings(study):
        rows += sorted((row for tuning in here for row in tuning_rows(tuning)), key=lambda row: row.tries)
        leads += _leads(here, comparison.baseline)
    return replace(comparison, tuning=tuple(rows), tuning_leads=tuple(leads))


def why_no_tuning(study: Study) -> str:
    """Say why a study has no tuning curves."""
    paths = [path for run, config in study.configs.items() if config.tuned for path in _search_paths(study, run)]
    if not paths:
        return "nothing was tuned (with tune.grid or tune.sample every arm chooses settings of its own)"
    if any(config.tune.halve for config in study.configs.values()):
        return "tune.halve stopped tries early, which says little of what they would have reached; search without it"
    missing = next((path for path in paths if not _finished(path)), paths[0])
    return f"{missing}, where the arms tried their settings, isn't there or has changed; bnexp run restores it"


def _tunings(study: Study) -> Iterator[list[Tuning]]:
    """Yield what the arms tried, in the order of the study, for each run and each grid point of it."""
    names = arm_names(list(study.configs), list(study.configs.values()))
    keys = dict.fromkeys(key for config in study.configs.values() if config.tuned for key in config.swept)
    for (run, config), arms in zip(study.configs.items(), names, strict=True):
        whole = config.tuned and not config.tune.halve  # stopped tries say little about what they would have reached
        records = [_finished(path) for path in _search_paths(study, run)] if whole else []
        there = [record for record in records if record]
        tried: dict[tuple[str, str], list[Tried]] = {}
        for search in each_search(config, *there) if records and len(there) == len(records) else ():
            if not search.candidates.empty:
                tried.setdefault((arms[search.arm], repr(search.point)), []).append(_accuracies(search))
        for point in _points(study, run):
            swept = {key: point.get(key) for key in keys}
            found = [(arm, tried.get((arm, repr(point)))) for arm in study.arms]
            yield [Tuning(run, swept, arm, tuple(studies)) for arm, studies in found if studies]


def _points(study: Study, run: str) -> list[Point]:
    """Return the grid points of a run that trials of the study are of."""
    config, trials = study.configs[run], study.trials
    cell = trials.loc[trials["run"] == run, "number"] // len(config.seeds)
    return [config.points()[place] for place in sorted(set(cell // len(config.arms)))]


def _search_paths(study: Study, run: str) -> list[Path]:
    """Return the folders of the runs in which the arms of a run tried their settings."""
    return [study.records[run].path.parent / run_name(search) for search in searches(study.configs[run])]


def _finished(path: Path) -> RunRecord | None:
    """Return the run in a folder; None if it isn't there, or has changed."""
    try:
        return finished_run(path)
    except InputError:  # of another format
        return None


def _accuracies(search: Search) -> Tried:
    validation_SN, test_SN = (
        search.candidates.pivot(index="seed", columns="point", values=column).to_numpy(dtype=float)
        for column in (CHOSEN_BY, "final_test_accuracy")
    )
    return Tried(validation_SN, test_SN)


def _leads(tunings: Sequence[Tuning], baseline: str) -> Iterator[TuningLead]:
    """Yield for each arm which needs fewer tries, the arm or the baseline, if either does."""
    for base in (tuning for tuning in tunings if tuning.arm == baseline):
        for other in (tuning for tuning in tunings if tuning.arm != baseline):
            yield from filter(None, (tuning_lead(other, base), tuning_lead(base, other)))
