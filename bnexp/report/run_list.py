"""The runs in a folder: state, date, size, headline, and what tells runs of one name apart."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

from bnexp.analysis.comparison import headline
from bnexp.analysis.runs import compare_run, reason
from bnexp.config.experiment import ExperimentConfig, cell_settings
from bnexp.config.keys import get, leaves
from bnexp.config.text import escaped
from bnexp.config.train import DEFAULT_EPOCHS
from bnexp.report.style import value_text
from bnexp.store.finding import experiment_of, find_runs
from bnexp.store.reader import RunRecord

INDENT = "    "
KEPT = "\0"
"""Stands for a space within an interval or a list, where no line is broken."""
UNTOLD = ("name", "question", "tuned")
"""Settings that aren't told among those in which runs differ."""


@dataclass(frozen=True)
class Listed:
    """One run."""

    run: str
    path: str
    state: str
    """complete, failed trials, unfinished or damaged."""
    ended: int | None = None
    """Trials that have ended."""
    trials: int | None = None
    progress: dict[str, int] = field(default_factory=dict)
    """Of the trials that have not ended: the epoch, or the step where the budget is in steps, and of how many."""
    started: str = ""
    bytes: int = 0
    differs: dict[str, Any] = field(default_factory=dict)
    """Settings in which it differs from other runs of its name."""
    overrides: list[str] = field(default_factory=list)
    """What was overridden where it was begun, "key=value" each."""
    headline: str = ""
    """What it says; of a damaged run, what is damaged."""

    def as_json(self) -> dict[str, Any]:
        """Return all of it for scripts."""
        return asdict(self)

    def lines(self, width: int | None) -> Iterator[str]:
        """Yield lines for people, broken between words where they would be longer than width."""
        date = datetime.fromisoformat(self.started).astimezone().strftime("%Y-%m-%d %H:%M") if self.started else ""
        trials = "" if self.trials is None else f"{self.ended}/{self.trials} trials"
        (unit, at), (_, of) = list(self.progress.items()) or (("", 0), ("", 0))
        far = f"{unit} {at} of {of}" if self.progress else ""
        state = ", ".join(filter(None, [self.state, trials, far]))
        yield from _wrapped("  ".join(filter(None, [self.run, state, date, _size(self.bytes)])), width, "")
        differs = [f"{key} {value_text(value)}" for key, value in self.differs.items()]
        others = [each for each in self.overrides if each.partition("=")[0] not in self.differs]
        if said := ", ".join([*differs, *others]):
            yield from _wrapped(said, width, INDENT)
        if self.headline:
            yield from _wrapped(self.headline, width, INDENT)


def _wrapped(text: str, width: int | None, indent: str) -> list[str]:
    line = indent + escaped(text)
    if width is None or len(line) <= width:
        return [line]
    together = re.sub(r"\[[^]]*\]| = ", lambda found: found[0].replace(" ", KEPT), line)
    lines = wrap(together, width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)
    return [each.replace(KEPT, " ") for each in lines]


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
        return replace(
            entry,
            state="damaged" if run.warnings else _state(run),
            ended=run.finished,
            trials=len(run.trials),
            progress={} if run.complete else _progress(run),
            started=str(run.environment.get("started", "")),
            overrides=run.overrides,
            headline="; ".join(run.warnings) or (headline(compare_run(run)) if run.finished else ""),
        )
    except Exception as error:  # whatever one folder holds, the others are listed
        return replace(entry, headline=reason(error))


def _state(run: RunRecord) -> str:
    if not run.complete:
        return "unfinished"
    return "failed trials" if (run.trials["outcome"] == "failed").any() else "complete"


def _progress(run: RunRecord) -> dict[str, int]:
    """Return how far the trials that have not ended have got, and how far they are to get."""
    trains = [arm.train for cell in cell_settings(run.config, ["train"]) for arm in cell.values()]
    unit, of = "step", max(train.steps or 0 for train in trains)
    if not of:
        unit, of = "epoch", max(train.epochs or DEFAULT_EPOCHS for train in trains)
    curves = run.curves
    training = curves.loc[curves["trial"].isin(run.unfinished), unit]
    return {unit: int(training.max()) if len(training) else 0, "of": of}


def _differing(configs: Sequence[ExperimentConfig]) -> Iterator[dict[str, Any]]:
    """Yield of each experiment the settings in which not all of them agree, and its values."""
    settings = [dict(leaves(config)) for config in configs]
    keys = [key for key in settings[0] if key.split(".")[0] not in UNTOLD]
    told = [key for key in keys if len({repr(each[key]) for each in settings}) > 1]
    dumped = [config.model_dump(mode="json") for config in configs]
    yield from ({key: get(raw, key) for key in told} for raw in dumped)
