"""Short lists: the runs in a folder, and what probes found."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from sys import maxsize
from textwrap import wrap
from typing import Any, Literal

import pandas as pd

from bnexp.analysis.comparison import Comparison, Overall
from bnexp.analysis.runs import compare_run, reason
from bnexp.analysis.standing import best_overall, headline, judged, standing
from bnexp.analysis.study import lower_is_better
from bnexp.config.experiment import ExperimentConfig, cell_settings
from bnexp.config.keys import below, get, leaves
from bnexp.config.load import load, shipped
from bnexp.config.text import counted, escaped
from bnexp.config.train import DEFAULT_EPOCHS
from bnexp.records import PROBE_COLUMNS
from bnexp.report.style import short_keys, value_text
from bnexp.report.table import Table, plain_table
from bnexp.store.finding import experiment_of, find_runs
from bnexp.store.reader import RunRecord
from bnexp.store.tables import probe_of

INDENT = "    "
KEPT = "\0"
"""Placeholder for a space within an estimate or a setting, where no line is broken."""
NEVER_SHOWN = ("name", "question", "tuned")
"""Settings that never distinguish runs."""
MOST_SEEDS = 6
"""Seeds that are listed one by one."""


State = Literal["complete", "failed trials", "unfinished", "damaged"]


@dataclass(frozen=True)
class Listed:
    """One run."""

    run: str
    path: str
    state: State
    ended: int | None = None
    """Trials that have ended."""
    trials: int | None = None
    failed: int = 0
    diverged: int = 0
    progress: dict[str, int] = field(default_factory=dict)
    """The epoch (or step, where the budget is in steps) that the unfinished trials have reached, and of how many."""
    started: str = ""
    bytes: int = 0
    differs: dict[str, Any] = field(default_factory=dict)
    """Settings in which it differs from other runs of its name."""
    overrides: list[str] = field(default_factory=list)
    """The overrides that it was started with, "key=value" each."""
    headline: str = ""
    """The result in one line; of a damaged run, the damage."""
    metric: str = ""
    """What arms are compared by, a column of trials.csv."""
    result: Overall | None = None
    """The numbers in the headline: the best arm against the baseline, over all grid points."""
    baseline: str = ""
    standing: str = ""
    """wins, ahead, even, behind or loses: how that arm stands; unknown without an interval."""

    def lines(self, width: int | None) -> Iterator[str]:
        """Yield lines for people, broken between words where they would be longer than width."""
        date = datetime.fromisoformat(self.started).astimezone().strftime("%Y-%m-%d %H:%M") if self.started else ""
        trials = "" if self.trials is None else f"{self.ended}/{self.trials} trials"
        (unit, at), (_, of) = list(self.progress.items()) or (("", 0), ("", 0))
        far = f"{unit} {at} of {of}" if self.progress else ""
        diverged = f"{self.diverged} diverged" if self.diverged else ""
        state = ", ".join(filter(None, [self.state, trials, diverged, far]))
        yield from _wrapped("  ".join(filter(None, [self.run, state, date, _size(self.bytes)])), width, "")
        # Without more_seeds, `seeds` has already said all.
        differing = {key: value for key, value in self.differs.items() if (key, value) != ("more_seeds", None)}
        differs = [f"{key} {_seeds_text(value) or value_text(value)}" for key, value in differing.items()]
        told = [each for each in self.overrides if any(below(each.partition("=")[0], key) for key in self.differs)]
        others = [each for each in self.overrides if each not in told]
        if settings := ", ".join([*differs, *others]):
            yield from _wrapped(settings, width, INDENT)
        if self.headline:
            yield from _wrapped(self.headline, width, INDENT)


@dataclass(frozen=True)
class Shipped:
    """An experiment that comes with bnexp."""

    name: str
    path: str
    """Its YAML file."""
    data: str
    """The data set that its arms share."""
    question: str
    arms: tuple[str, ...]
    trials: int
    """Measured trials: arms × grid points × seeds."""


def list_configs() -> list[Shipped]:
    """Return the shipped experiments, in alphabetical order."""
    configs = {str(path): load(path) for path in shipped().values()}
    return [
        Shipped(each.name, path, each.data.name, each.question, tuple(each.arms), len(list(each.places())))
        for path, each in configs.items()
    ]


def _seeds_text(value: Any) -> str:
    """Return many numbers in a row as the first and the last of them; nothing for another value."""
    many = isinstance(value, list) and len(value) > MOST_SEEDS and all(isinstance(each, int) for each in value)
    return f"{value[0]} to {value[-1]}" if many and value == [*range(value[0], value[0] + len(value))] else ""


def _wrapped(text: str, width: int | None, indent: str) -> list[str]:
    whole = r"(?:\S+ )?(?:\{[^}]*\}|\[[^]]*\])| = |(?<=\d) (?=\d\d:\d|[kMG]?B$)"
    together = re.sub(whole, lambda found: found[0].replace(" ", KEPT), indent + escaped(text))
    lines = wrap(together, width or maxsize, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)
    return [line.replace(KEPT, " ") for line in lines]


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.1f} GB"


def list_runs(runs: Path) -> list[Listed]:
    """Return every run in a folder, oldest first."""
    found = find_runs(runs)
    listed = [_listed(run) for run in found]
    namesakes: dict[str, list[int]] = defaultdict(list)
    for number, run in enumerate(found):
        if listed[number].state != "damaged":
            namesakes[experiment_of(run.path)].append(number)
    for numbers in namesakes.values():
        for number, differs in zip(numbers, _differing([found[each].config for each in numbers]), strict=True):
            listed[number] = replace(listed[number], differs=differs)
    return listed


def _listed(run: RunRecord) -> Listed:
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file() and not path.is_symlink())
    entry = Listed(run.path.name, str(run.path), "damaged", bytes=size)
    try:
        found = compare_run(run) if run.finished and not run.warnings else None
        return replace(
            entry,
            **(_result(found) if found else {}),
            state="damaged" if run.warnings else _state(run),
            ended=run.finished,
            trials=len(run.trials),
            failed=int((run.trials["outcome"] == "failed").sum()),
            diverged=int((run.trials["outcome"] == "diverged").sum()),
            progress={} if run.complete else _progress(run),
            started=str(run.environment.get("started", "")),
            overrides=run.overrides,
            headline="; ".join(run.warnings) or (headline(found) if found else ""),
        )
    except Exception as error:  # whatever one folder holds, the others are listed
        return replace(entry, headline=reason(error))


def _result(comparison: Comparison) -> dict[str, Any]:
    """Return the numbers of the headline, and how the best arm stands."""
    best = best_overall(comparison)
    stands = standing(judged(best, comparison), lower=lower_is_better(comparison.metric)).name if best else ""
    return {"metric": comparison.metric, "baseline": comparison.baseline, "result": best, "standing": stands}


def _state(run: RunRecord) -> State:
    if not run.complete:
        return "unfinished"
    return "failed trials" if (run.trials["outcome"] == "failed").any() else "complete"


def _progress(run: RunRecord) -> dict[str, int]:
    """Return how far the unfinished trials have got, and how far they have to go."""
    trains = [arm.train for cell in cell_settings(run.config, ["train"]) for arm in cell.values()]
    unit, of = "step", max(train.steps or 0 for train in trains)
    if not of:
        unit, of = "epoch", max(train.epochs or DEFAULT_EPOCHS for train in trains)
    curves = run.curves
    training = curves.loc[curves["trial"].isin(run.unfinished), unit]
    return {unit: int(training.max()) if len(training) else 0, "of": of}


def _differing(configs: Sequence[ExperimentConfig]) -> Iterator[dict[str, Any]]:
    """For each experiment, yield the settings in which they differ, with its values."""
    dumped = [config.model_dump(mode="json") for config in configs]
    settings = dict.fromkeys(key for config in configs for key, _ in leaves(config))
    # A section that only some of them have, such as seeds that are added, is one setting.
    keys = [key for key in settings if not any(key != other and below(key, other) for other in settings)]
    shown = [key for key in keys if key.split(".")[0] not in NEVER_SHOWN]
    differing = [key for key in shown if len({repr(get(raw, key)) for raw in dumped}) > 1]
    yield from ({key: get(raw, key) for key in differing} for raw in dumped)


SLICE = "landscape_slice"
"""Its many values are for a picture, not for a table."""


def probe_table(
    trials: pd.DataFrame, found: Sequence[Mapping[str, Any]], grid_keys: Sequence[str], taken: Sequence[str] = ()
) -> Table:
    """Return the mean, the least and the largest value over the trials that differ in nothing but the seed.

    Args:
        trials: trials.csv of the run.
        found: rows of probes.csv, of one moment per trial.
        grid_keys: columns of the swept settings.
        taken: the probes; a note says if one found nothing to measure.
    """
    short, probes = short_keys(grid_keys), pd.DataFrame(found, columns=PROBE_COLUMNS)
    sliced = probes["probe"].str.startswith(SLICE)
    shown = probes[~sliced].merge(trials[["trial", "arm", *grid_keys]], on="trial")
    # Without any name of a layer, the column would be empty.
    columns = [*grid_keys, "arm", *(["layer"] if (shown["layer"] != "").any() else []), "probe"]
    rows = []
    for key, values in shown.groupby(columns, sort=False, dropna=False)["value"]:
        numbers = (values.mean(), values.min(), values.max())
        rows.append((*map(value_text, key), str(len(values)), *map(_number, numbers)))
    notes = [f"{SLICE}: {counted(int(sliced.sum()), 'value')}; bnexp report draws them"] if sliced.any() else []
    names = set(probes["probe"].map(probe_of))
    notes += [f"{name}: there is nothing to measure in these networks" for name in taken if name not in names]
    headers = (*(short.get(column, column) for column in columns), "n", "mean", "least", "largest")
    return plain_table(headers, rows, notes=notes)


def _number(value: float) -> str:
    return f"{value:.4g}"
