"""An experiment before it is trained: its layers, trials and groups, and the time and memory that they will take."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property
from html import escape
from itertools import chain
from math import inf
from typing import Any

from bnexp.analysis.planning import outlook
from bnexp.analysis.sequential import looks_outlook
from bnexp.config.experiment import ExperimentConfig, default_config, must_choose, searches
from bnexp.config.origin import naming
from bnexp.config.source import NetworkSource
from bnexp.config.text import counted, duration, gibibytes
from bnexp.config.yaml import to_yaml
from bnexp.data.catalog import DataShape, Named
from bnexp.data.machine import free_memory
from bnexp.engines.devices import described
from bnexp.engines.local import Local
from bnexp.engines.planning import assigned, makespan
from bnexp.nn.own.source import failures
from bnexp.nn.table import LayerRow, trained_table
from bnexp.plan import Point, Trial, TrialGroup, groups, same_trainings, trials
from bnexp.report.data_sets import data_lines, data_warnings
from bnexp.report.style import value_text
from bnexp.report.table import MISSING, Table, plain_table, to_html, to_text
from bnexp.runner.misfits import check_fit
from bnexp.training.estimate import estimated_seconds, footprint, probing_seconds
from bnexp.training.numerics import torch_threads

TABLES = 4
"""The most layer tables shown; a sweep over depth has one for every depth."""
MARK = "•"
"""Mark before norm layers."""
HANGING = "  ."
"""Mark before the shortened name of a layer that is attached to the one above."""
NOTES = {MARK: f"{MARK} norm layer", HANGING: "A name that begins with a dot continues the name above it."}

Layers = tuple[tuple[str, tuple[LayerRow, ...]], ...]
"""Arms with their layers."""


@dataclass(frozen=True)
class GroupOverview:
    """One trial group."""

    group: TrialGroup
    layers: tuple[LayerRow, ...]
    seconds: float
    """Training, evaluation and probes together, estimated."""
    probing: float
    """The probes' share of them."""
    bytes: int
    """Memory that it takes besides the images, estimated."""

    def label(self) -> str:
        """Arms of the group, and the grid values that all its trials share."""
        shared = _shared([trial.point for trial in self.group.trials])
        return " ".join([", ".join(self.group.arms), *([shared] if shared else [])])


def _shared(points: Sequence[Point]) -> str:
    """Return the grid values that points have in common."""
    same = {key: value for key, value in points[0].items() if all(point[key] == value for point in points)}
    return " ".join(f"{key}={value_text(value)}" for key, value in same.items())


def _outlook(config: ExperimentConfig) -> str:
    """Say what the planned seeds, or tunings, can tell."""
    if config.more_seeds:
        return looks_outlook(config.more_seeds)
    studies = config.tune.studies
    return outlook(studies, "tunings") if studies > 1 else outlook(len(config.seeds))


@dataclass(frozen=True)
class Overview:
    """Everything that `bnexp show` shows."""

    config: ExperimentConfig
    device: str
    workers: int
    """Groups that train at once."""
    free: int
    """Bytes that the device has to spare."""
    data: tuple[Named, ...]
    """The data sets of the trials, each once."""
    groups: tuple[GroupOverview, ...]
    """In the order in which they begin."""

    @property
    def seconds(self) -> float:
        """Estimated seconds until the last worker is done."""
        return makespan([each.seconds for each in self.groups], self.workers)

    def yaml(self) -> str:
        """The resolved configuration."""
        return to_yaml(self.config.model_dump(mode="json"), width=inf)

    def tables(self) -> list[Table]:
        """The layers of all arms side by side, for the first few shapes of the sweep."""
        return [_layers(arms, points) for arms, points in list(self._shapes.items())[:TABLES]]

    def summary(self) -> str:
        """The groups with their sizes and estimates, and the sum."""
        measured = counted(sum(len(each.group.trials) for each in self.groups), "trial")
        lines = []
        for worker, each in sorted(zip(self._assigned, self.groups, strict=True), key=lambda pair: pair[0]):
            where = f"worker {worker + 1}: " if self.workers > 1 else ""
            size = f"about {duration(each.seconds)}, {gibibytes(each.bytes)}"
            lines.append(f"  {where}{counted(len(each.group.trials), 'trial')} ({each.label()}): {size}")
        if len(self._shapes) > TABLES:
            shapes = len(self._shapes)
            lines.append(f"  Layers of the first {TABLES} of {shapes} shapes are shown; --json has them all.")
        if self.config.probes:
            probing = sum(each.probing for each in self.groups)
            training = sum(each.seconds for each in self.groups)
            share = f"{probing / training:.0%} of the time" if training else "no time"
            lines.append(f"  {counted(len(self.config.probes), 'probe')}: about {duration(probing)}, {share}")
        lines += [f"  {line}." for line in same_trainings(self._trials)]
        if must_choose(self.config):
            lines += [f"  {line}" for line in _tuning(self.config)]
        turns = f"{self.workers} groups at once" if self.workers > 1 else "one group after the other"
        head = (
            f"{measured} in {counted(len(self.groups), 'group')}, {turns} on {self.device} "
            f"({gibibytes(self.free)} free), about {duration(self.seconds)}:"
        )
        seeds = [_outlook(self.config)] if len(self.config.arms) > 1 else []
        return "\n".join([*data_lines(self.data, self.config.data.split), head, *lines, *seeds])

    def __str__(self) -> str:
        return "\n".join([self.yaml(), *map(to_text, self.tables()), self.summary()])

    def _repr_html_(self) -> str:
        yaml, summary = (f"<pre>{escape(text)}</pre>" for text in (self.yaml(), self.summary()))
        return "\n".join([yaml, *map(to_html, self.tables()), summary])

    def warnings(self) -> list[str]:
        """Probable mistakes in the data."""
        return data_warnings(self.data)

    @property
    def _trials(self) -> list[Trial]:
        return sorted((trial for each in self.groups for trial in each.group.trials), key=lambda trial: trial.number)

    @property
    def _assigned(self) -> list[int]:
        return assigned([each.seconds for each in self.groups], self.workers)

    @cached_property
    def _shapes(self) -> dict[Layers, list[Point]]:
        """The layers of every arm, with the grid points that they apply to."""
        at: dict[str, tuple[Point, dict[str, tuple[LayerRow, ...]]]] = {}
        layers = {trial.number: each.layers for each in self.groups for trial in each.group.trials}
        for trial in self._trials:
            at.setdefault(repr(trial.point), (trial.point, {}))[1].setdefault(trial.arm, layers[trial.number])
        found: dict[Layers, list[Point]] = {}
        for point, arms in at.values():
            found.setdefault(tuple(arms.items()), []).append(point)
        return found

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "config": self.config.model_dump(mode="json"),
            "device": self.device,
            "workers": self.workers,
            "seconds": self.seconds,
            "free_bytes": self.free,
            "data": [_data_json(*named) for named in self.data],
            "groups": [
                {
                    "label": each.label(),
                    "trials": list(each.group.numbers),
                    "layers": [layer.as_json() for layer in each.layers],
                    "parameters": sum(layer.parameters for layer in each.layers),
                    "trainable": sum(layer.trainable for layer in each.layers),
                    "seconds": each.seconds,
                    "probing_seconds": each.probing,
                    "bytes": each.bytes,
                    "worker": worker + 1,
                }
                for worker, each in zip(self._assigned, self.groups, strict=True)
            ],
        }


def overview(config: ExperimentConfig, engine: Local, source: str = "") -> Overview:
    """Return the overview of an experiment; this times a few steps, and reads images only from folders.

    Raises:
        InputError: batches don't fit the data, or one trial alone doesn't fit the memory.
    """
    device = engine.devices[0]
    whole = groups(trials(default_config(config) if must_choose(config) else config))
    with naming(source, config.origin):
        shape_of = described(whole)
        check_fit(whole, shape_of, config, source)
        planned = engine.schedule(whole, shape_of, config.probes, begun=False)

    def look(group: TrialGroup) -> GroupOverview:
        shape = shape_of(group)
        layers = trained_table(group.settings, shape.image, shape.classes)
        bytes_ = int(footprint(group, shape, device, config.probes).of(len(group.trials)))
        own = group.settings.model.source
        with failures(NetworkSource.parse(own)) if own else nullcontext():
            seconds = estimated_seconds(group, shape, device)
            probing = probing_seconds(group, shape, device, config.probes)
        return GroupOverview(group, tuple(layers), seconds + probing, probing, bytes_)

    places = engine.places(planned, shape_of, config.probes, sum(len(group.trials) for group in whole))
    with naming(source, config.origin), torch_threads(places[0].threads):
        seen = tuple(map(look, planned))
    data = tuple(dict.fromkeys((group.settings.data.name, shape_of(group)) for group in whole))
    return Overview(config, engine.place, len(places), free_memory(device), data, seen)


def _tuning(config: ExperimentConfig) -> Iterator[str]:
    """Yield what is trained before the measurement, and how much each arm trains."""
    stages, tune = searches(config), config.tune
    planned = [trial for search in stages for trial in trials(search)]
    yield (
        f"Before them {counted(len(planned), 'trial')} choose from {tune.drawn or 'tune.grid'}. "
        "Time and memory above are without these, and for"
    )
    yield "the settings as they are written."
    budgets = {arm: sum(t.settings.train.total_steps(1) for t in planned if t.arm == arm) for arm in config.arms}
    if not tune.sample or any(trial.settings.train.steps for trial in planned) or len({*budgets.values()}) > 1:
        return
    whole, plan = next(iter(budgets.values())), stages[0].halving
    epochs, told = f"{whole:,} epochs", ""
    if plan and tune.trials:
        each = config.train.total_steps(1)
        told = ", ".join(f"{keep} go on after epoch {at}" for keep, at in zip(plan.keep, plan.at, strict=True))
        told = f" Of its {tune.trials} draws {told} (tune.halve)."
        epochs = f"{whole // (tune.trials * each) * plan.epochs(tune.trials, each):,} of {whole:,} epochs"
    yield f"Each arm trains {epochs} for its choice.{told}"


def _data_json(name: str, shape: DataShape) -> dict[str, Any]:
    found = asdict(shape.findings) | {"left_out": dict(shape.findings.left_out)}
    return {"name": name, **{key: value for key, value in asdict(shape).items() if key != "findings"}, **found}


def _layers(arms: Layers, points: Sequence[Point]) -> Table:
    """Return a row for each layer that says what it is in every arm; arms with the same layers share a column.

    Rows are in the order of the forward pass. Layers that do nothing are left out.
    """
    columns: dict[tuple[LayerRow, ...], list[str]] = {}
    for arm, layers in arms:
        columns.setdefault(layers, []).append(arm)
    rows = [
        (name, _each(layers, _shape), *map(_layer_text, layers), _each(layers, _count))
        for name, layers in _aligned(list(columns))
        if {*map(_layer_text, layers)} != {MISSING}
    ]
    totals = {
        "parameters": [sum(layer.parameters for layer in layers) for layers in columns],
        "trainable": [sum(layer.trainable for layer in layers) for layers in columns],
        "non-trainable": [sum(layer.fixed for layer in layers) for layers in columns],
    }
    rows += [(name, "", *map("{:,}".format, numbers), "") for name, numbers in totals.items()]
    headers = ("layer", "output", *(", ".join(names) for names in columns.values()), "parameters")
    cells = [cell for row in rows for cell in row]
    notes = [text for sign, text in NOTES.items() if any(cell.startswith(sign) for cell in cells)]
    table = plain_table(headers, rows, _shared(points), notes)
    layer, output, *own, parameters = table.columns
    return table.only([layer, replace(output, drop=1), *own, replace(parameters, drop=2)])


def _aligned(arms: Sequence[Sequence[LayerRow]]) -> Iterator[tuple[str, list[LayerRow | None]]]:
    """Yield names of layers with the layer of every arm, or None; each arm's layers are in order.

    Norm layers share a row if they follow the same layer. If a layer is attached to the one above, that name is left
    out.
    """
    order = list[tuple[str, str]]()
    keyed = [dict(zip(_places(layers), layers, strict=True)) for layers in arms]
    for own in map(list, keyed):
        changes = SequenceMatcher(None, order, own, autojunk=False).get_opcodes()
        merged = (order[i:j] if what == "equal" else order[i:j] + own[k:m] for what, i, j, k, m in changes)
        order = list(chain.from_iterable(merged))
    for behind, name in dict.fromkeys(order):
        hangs = behind and name.startswith(f"{behind}.")
        shown = HANGING + name[len(behind) + 1 :] if hangs else name
        yield shown, [layers.get((behind, name)) for layers in keyed]


def _places(layers: Sequence[LayerRow]) -> Iterator[tuple[str, str]]:
    """Yield the name of each layer; for a norm layer, or what replaced it, with that of the last other layer."""
    last = ""
    for layer in layers:
        slot = layer.norm or _layer_text(layer) == MISSING
        yield (last if slot else "", layer.name)
        last = last if slot else layer.name


def _shape(layer: LayerRow) -> str:
    return "×".join(map(str, layer.shape))


def _layer_text(layer: LayerRow | None) -> str:
    """Return what a layer is; nothing if it does nothing."""
    if layer is None or layer.kind.lower() == "identity":
        return MISSING
    return f"{MARK}{layer.norm}" if layer.norm else layer.kind


def _count(layer: LayerRow) -> str:
    return f"{layer.parameters:,}"


def _each(layers: Sequence[LayerRow | None], said: Callable[[LayerRow], str]) -> str:
    """Return the description of a layer; one for each arm if they differ."""
    return " / ".join(dict.fromkeys(said(layer) for layer in layers if layer and _layer_text(layer) != MISSING))
