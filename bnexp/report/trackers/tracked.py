"""A run as trackers see it: one tracked run for each trial, and one summary for each arm at each grid point."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from math import isfinite
from typing import Any, Literal

import numpy as np
import pandas as pd

from bnexp.analysis.pairing import grid_points, point_numbers
from bnexp.analysis.runs import compare_run
from bnexp.analysis.stats import Interval, mean_interval
from bnexp.analysis.study import METRICS, bounds
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.text import counted
from bnexp.config.trial import effective
from bnexp.errors import InputError
from bnexp.plan import Trial, run_name, trials
from bnexp.records import MEASURES
from bnexp.report.style import point_texts
from bnexp.store.files import ENVIRONMENT
from bnexp.store.reader import RunRecord

FINAL = (*METRICS, "diverged_step", "highest_batch_loss", "highest_batch_loss_step")
"""Columns of trials.csv that are a trial's final numbers."""
COMPARED = ("n", "mean", "low", "high", "difference", "difference_low", "difference_high", "p", "diverged")
"""Fields of the comparison that are a summary's final numbers."""


FROM_ENVIRONMENT = {"bnexp_version": "bnexp", "device": "device_name"}
"""Tags from environment.json."""
LONGEST_TEXT = 5000
"""The most letters of a text, such as an error's message, that every tracker accepts."""


@dataclass(frozen=True)
class Moment:
    """What was measured at one step."""

    step: int
    time: float
    """In seconds since 1970: the start of the run, and the trial's share of the time trained until then."""
    values: Mapping[str, float]
    """All of them finite."""


@dataclass(frozen=True)
class TrackedRun:
    """One run of a tracker. Each time it is handed over, it has the same id, and perhaps more moments."""

    id: str
    """16 hexadecimal digits that no other trial has, not even one of the same experiment trained again."""
    name: str
    group: str
    """Name of the run folder."""
    kind: Literal["trial", "summary"]
    params: Mapping[str, Any]
    """Settings by their dotted keys: numbers, texts, booleans, None, lists and mappings of them."""
    tags: Mapping[str, str]
    """How it ended, and where it comes from."""
    started: float
    """In seconds since 1970."""
    moments: Sequence[Moment] = field(default=(), repr=False)
    """By step, which rises."""
    finals: Mapping[str, float] = field(default_factory=dict)
    """Final numbers, all of them finite; none before it has ended."""
    state: Literal["running", "finished", "failed"] = "running"

    @property
    def ended(self) -> float:
        """The time of its last moment, in seconds since 1970."""
        return self.moments[-1].time if self.moments else self.started

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change when anything of it does."""
        return _digest(sorted(asdict(self).items()))


def tracked_runs(run: RunRecord) -> Iterator[TrackedRun]:
    """Yield a tracked run for every trial that has a record or an outcome, then the summaries of arms.

    Series of a trial are the columns of curves.csv under their own names, and what probes found as `probe/layer`, or
    `probe` for the whole network. Those of a summary are `test_accuracy/mean`, `/low` and `/high`, the ends of a 95 %
    t interval over the seeds, and so on for every measure, beside `seeds`, their number.

    Raises:
        InputError: the folder can't be read, or doesn't say when the run began.
    """
    try:
        started = datetime.fromisoformat(run.environment["started"]).timestamp()
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{run.path / ENVIRONMENT}: doesn't say when the run began; trackers need it") from None
    origin = _Origin(run, run_name(run.config), started)
    planned = trials(run.config)
    records, probes = _by_trial(run.curves), _by_trial(run.probes)
    for row, trial in zip(run.trials.to_dict("records"), planned, strict=True):
        own = records.get(trial.number, run.curves[:0])
        if len(own) or isinstance(row["outcome"], str):
            yield _of_trial(origin, trial, row, own, probes.get(trial.number, run.probes[:0]))
    yield from _summaries(origin, planned)


@dataclass(frozen=True)
class _Origin:
    """The run that everything comes from."""

    run: RunRecord
    experiment: str
    """Identifies the experiment, wherever its folder is, and whatever its name."""
    started: float

    def tracked(
        self, kind: Literal["trial", "summary"], number: int, results: Mapping[str, str], **rest: Any
    ) -> TrackedRun:
        """Return a run with its id, and tags that say where it comes from beside its results."""
        environment = self.run.environment
        about: dict[str, str] = {"run": self.run.path.name, "kind": kind, "question": self.run.question}
        about |= {to: str(environment.get(name) or "") for to, name in FROM_ENVIRONMENT.items()}
        about |= results
        return TrackedRun(
            id=_digest([self.experiment, environment["started"], kind, number]),
            group=self.run.path.name,
            kind=kind,
            tags={name: text[:LONGEST_TEXT] for name, text in about.items() if text},
            started=self.started,
            **rest,
        )


def _by_trial(table: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(str(trial)): rows for trial, rows in table.groupby("trial")}


def _digest(what: Any) -> str:
    return sha256(repr(what).encode()).hexdigest()[:16]


def _finite(values: Mapping[Any, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items() if value is not None and isfinite(value)}


def _plain(value: Any) -> Any:
    """Return a value of settings as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _of_trial(
    origin: _Origin, trial: Trial, row: Mapping[Any, Any], records: pd.DataFrame, probes: pd.DataFrame
) -> TrackedRun:
    ended = isinstance(row["outcome"], str)
    results = {"outcome": row["outcome"], "reason": row["reason"]} if ended else {}
    point = point_texts(trial.point)
    return origin.tracked(
        "trial",
        trial.number,
        {name: text for name, text in results.items() if isinstance(text, str)},
        name=", ".join([trial.arm, *point, f"seed {trial.seed}, trial {trial.number}"]),
        params={"arm": trial.arm, "seed": trial.seed, "trial": trial.number, **_plain(effective(trial.settings))},
        moments=moments(records, probes, origin.started),
        finals=_finite({f"final/{name.removeprefix('final_')}": row[name] for name in FINAL}) if ended else {},
        state="running" if not ended else "failed" if row["outcome"] == "failed" else "finished",
    )


def moments(records: pd.DataFrame, probes: pd.DataFrame, started: float) -> list[Moment]:
    """Return all that was measured of one trial, step by step; blanks and what is not finite are left out.

    Args:
        records: its rows of curves.csv.
        probes: its rows of probes.csv.
        started: the start of the run, in seconds since 1970.
    """
    records = records.sort_values("step")
    measures = records.drop(columns=["trial", "step"]).to_dict("records")
    by_step: dict[int, dict[Any, Any]] = dict(zip(records["step"].tolist(), measures, strict=True))
    for step, layer, probe, value in probes[["step", "layer", "probe", "value"]].itertuples(index=False):
        by_step.setdefault(step, {})[f"{probe}/{layer}" if layer else probe] = value
    steps = sorted(by_step)
    # Probes may be taken between records.
    seconds = np.interp(steps, records["step"], records["seconds"]) if len(records) else np.zeros(len(steps))
    return [
        Moment(step, started + float(now), _finite(by_step[step])) for step, now in zip(steps, seconds, strict=True)
    ]


def _summaries(origin: _Origin, planned: Sequence[Trial]) -> Iterator[TrackedRun]:
    """Yield the mean of every arm at every grid point, up to the step that all of its trials have reached."""
    run = origin.run
    comparison = compare_run(run) if run.complete else None  # before that, final numbers would still change
    points = grid_points(run.trials, run.config.swept)  # with values as the comparison has them
    compared = {(points.index(row.point), row.arm): row for row in comparison.rows} if comparison else {}
    against = {"metric": comparison.metric, "baseline": comparison.baseline} if comparison else {}
    records = _by_trial(run.curves)
    outcomes = run.trials.set_index("trial")["outcome"]
    cells: dict[tuple[int, str], list[Trial]] = {}
    for trial, point in zip(planned, point_numbers(run.trials, run.config.swept).tolist(), strict=True):
        cells.setdefault((point, trial.arm), []).append(trial)
    for number, (cell, own) in enumerate(cells.items()):
        found = outcomes.loc[[trial.number for trial in own]]
        ended, row = bool(found.notna().all()), compared.get(cell)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in found.value_counts().items())
        means = _means(run.config, own, records, found, origin.started)
        if not means and not ended:
            continue
        yield origin.tracked(
            "summary",
            number,
            against | ({"outcome": counts} if ended else {}),
            name=", ".join([own[0].arm, *point_texts(own[0].point), f"mean of {counted(len(own), 'seed')}"]),
            params={"arm": own[0].arm, **_plain(own[0].point)},
            moments=means,
            finals=_finite({f"final/{name}": getattr(row, name) for name in COMPARED}) if row else {},
            state="finished" if ended else "running",
        )


def _means(
    config: ExperimentConfig,
    own: Sequence[Trial],
    records: Mapping[int, pd.DataFrame],
    outcomes: pd.Series,
    started: float,
) -> list[Moment]:
    """Return means over some trials at every step that each has reached (or ended before), so that they never change.

    As in the pictures, a trial that diverged and stopped keeps its last value. Seeds that chose settings together
    count as one, as in the tables.
    """
    there = [trial for trial in own if trial.number in records]
    if not there:
        return []
    tables = {trial.number: records[trial.number].set_index("step") for trial in there}
    steps = sorted(set[int]().union(*(table.index for table in tables.values())))
    reached = [
        max(tables[trial.number].index, default=-1) if trial.number in tables else -1
        for trial in own
        if not isinstance(outcomes[trial.number], str)
    ]
    steps = [step for step in steps if step <= min(reached, default=steps[-1])]
    for number, table in tables.items():
        tables[number] = table.reindex(steps, method="ffill" if outcomes[number] == "diverged" else None)
    seconds = pd.concat([table["seconds"] for table in tables.values()], axis=1).mean(axis=1)
    groups = [trial.seed % config.studies if config.studies > 1 else trial.seed for trial in there]
    found: list[dict[str, float]] = [{} for _ in steps]
    for name in MEASURES:
        values = np.array([tables[trial.number][name].to_numpy(float) for trial in there])
        known = np.array([tables[trial.number]["epoch"].notna().to_numpy() for trial in there])
        for at, into in enumerate(found):
            by_group = pd.Series(values[known[:, at], at]).groupby(np.array(groups)[known[:, at]]).mean()
            into["seeds"] = len(by_group)
            into |= _ends(name, mean_interval(by_group.to_numpy(), bounds(name)))
    return [Moment(step, started + float(now), values) for step, now, values in zip(steps, seconds, found, strict=True)]


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return _finite({f"{name}/{part}": value for part, value in asdict(interval).items()})
