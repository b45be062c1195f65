"""An experiment before it is trained: its layers, trials and groups, and the time and memory that they will take."""

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from bnexp.analysis.planning import outlook
from bnexp.config.experiment import ExperimentConfig, default_config, must_choose, search_config
from bnexp.config.text import counted, duration, gibibytes
from bnexp.config.yaml import to_yaml
from bnexp.data.catalog import DataShape, Named, describe
from bnexp.data.machine import free_memory
from bnexp.engines.devices import data_key
from bnexp.engines.local import Local
from bnexp.engines.planning import assigned, makespan
from bnexp.errors import naming
from bnexp.nn.table import LayerRow, layer_table
from bnexp.plan import Trial, TrialGroup, groups, same_trainings, trials
from bnexp.report.data_sets import data_lines, data_warnings
from bnexp.report.style import value_text
from bnexp.report.table import Table, plain_table, to_html, to_text
from bnexp.runner.misfits import check_fit
from bnexp.training.estimate import estimated_seconds, footprint, probing_seconds
from bnexp.training.numerics import torch_threads

TABLES = 4
"""Layer tables shown at most; a sweep over depth has one for every depth."""


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
        first = self.group.trials[0]
        shared = {k: v for k, v in first.point.items() if all(t.point[k] == v for t in self.group.trials)}
        return " ".join([", ".join(self.group.arms), *(f"{key}={value_text(value)}" for key, value in shared.items())])


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
        return to_yaml(self.config.model_dump(mode="json"))

    def tables(self) -> list[Table]:
        """A layer table for each shape, the first few of them."""
        return [_layers(each) for each in self._shapes[:TABLES]]

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
            count = counted(len(trials(search_config(self.config))), "trial")
            lines.append(
                f"  Before them {count} choose from tune.grid. Time and memory above are without these, and for"
            )
            lines.append("  the settings as they are written.")
        turns = f"{self.workers} groups at once" if self.workers > 1 else "one group after the other"
        head = (
            f"{measured} in {counted(len(self.groups), 'group')}, {turns} on {self.device} "
            f"({gibibytes(self.free)} free), about {duration(self.seconds)}:"
        )
        seeds = [outlook(len(self.config.seeds))] if len(self.config.arms) > 1 else []
        return "\n".join([*data_lines(self.data), head, *lines, *seeds])

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

    @property
    def _shapes(self) -> list[GroupOverview]:
        """The first group of every shape: a large group may have been cut."""
        return list({each.layers: each for each in reversed(self.groups)}.values())[::-1]

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
    shapes, whole = dict[str, DataShape](), groups(trials(default_config(config) if must_choose(config) else config))
    with naming(source):
        for group in whole:
            if data_key(group) not in shapes:
                shapes[data_key(group)] = describe(group.settings.data)

    def shape_of(group: TrialGroup) -> DataShape:
        return shapes[data_key(group)]

    check_fit(whole, shape_of, config.probes, source)

    def look(group: TrialGroup) -> GroupOverview:
        shape = shape_of(group)
        layers = layer_table(group.settings.model, shape.image, shape.classes)
        bytes_ = int(footprint(group, shape, device, config.probes).of(len(group.trials)))
        seconds = estimated_seconds(group, shape, device)
        probing = probing_seconds(group, shape, device, config.probes)
        return GroupOverview(group, tuple(layers), seconds + probing, probing, bytes_)

    with naming(source):
        planned = engine.schedule(whole, shape_of, config.probes, begun=False)
    places = engine.places(planned, shape_of, config.probes, sum(len(group.trials) for group in whole))
    with torch_threads(places[0].threads):
        seen = tuple(map(look, planned))
    data = tuple(dict.fromkeys((group.settings.data.name, shape_of(group)) for group in whole))
    return Overview(config, engine.place, len(places), free_memory(device), data, seen)


def _data_json(name: str, shape: DataShape) -> dict[str, Any]:
    found = asdict(shape.findings) | {"left_out": dict(shape.findings.left_out)}
    return {"name": name, **{key: value for key, value in asdict(shape).items() if key != "findings"}, **found}


def _layers(seen: GroupOverview) -> Table:
    counts = [(layer.parameters, layer.trainable, layer.fixed) for layer in seen.layers]
    rows = [
        (layer.name, layer.kind, "×".join(map(str, layer.shape)), *map("{:,}".format, numbers))
        for layer, numbers in zip(seen.layers, counts, strict=True)
    ]
    totals = map("{:,}".format, map(sum, zip(*counts, strict=True)))
    headers = ("layer", "kind", "output", "parameters", "trainable", "non-trainable")
    return plain_table(headers, (*rows, ("total", "", "", *totals)), title=seen.label())
