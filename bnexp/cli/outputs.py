"""What `--json` of every command prints: a schema for each, and the page that describes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaValue

from bnexp.analysis.comparison import Comparison, Point
from bnexp.config.documentation import to_setting
from bnexp.config.schema import OfOutput, Schema


@dataclass(frozen=True)
class Output:
    """The output of a command."""

    command: str
    kind: str | type
    """The class of an entry, or `module:name` of that."""
    form: Literal["object", "list", "lines"] = "list"
    """One entry, a list of entries, or one per line."""
    version: int = 1
    """Goes up when a key is removed or changes its meaning, but not for a new key."""

    def schema(self) -> JsonSchemaValue:
        """Return the JSON schema; if there is one entry per line, that of a line."""
        kind = resolve_name(self.kind) if isinstance(self.kind, str) else self.kind
        found = TypeAdapter(list[kind] if self.form == "list" else kind)  # type: ignore[valid-type]
        made = found.json_schema(schema_generator=OfOutput, mode="serialization")
        return {"$schema": OfOutput.schema_dialect, "title": self.command, "version": self.version, **made}


@dataclass(frozen=True, kw_only=True)
class Compared(Comparison):
    """The comparison of the arms of one run, or of several that are joined."""

    run: str
    """Name of the run, or of all that are joined."""
    runs: list[str]
    """Names of the run folders."""


@dataclass(frozen=True)
class Layer:
    """A layer of the networks of a group."""

    name: str
    kind: str
    shape: list[int]
    """Its output for one image."""
    trainable: int
    """Learned numbers."""
    fixed: int
    """Numbers that are kept but not learned: running means and variances."""
    products: int
    """Multiply-accumulates for one image."""
    output: int
    """Numbers in its output for one image."""


@dataclass(frozen=True)
class Group:
    """Trials that train at once."""

    label: str
    trials: list[int]
    """Numbers of the trials, as in trials.csv."""
    layers: list[Layer]
    parameters: int
    """Numbers in a network, learned or not."""
    trainable: int
    seconds: float
    """Estimated time, with its probes."""
    probing_seconds: float
    """The probes' share of it."""
    bytes: int
    """Estimated memory, besides the images."""
    worker: int
    """Which worker trains it, counted from 1."""


@dataclass(frozen=True)
class DataRead:
    """A data set, and what was read of it."""

    name: str
    image: list[int]
    """C, H, W."""
    classes: int
    train: int
    """Number of training images."""
    val: int
    """Number of validation images."""
    test: int
    """Number of test images."""
    floats: bool
    """True if the files hold floats, not bytes."""
    left_out: dict[str, int]
    """Files that aren't read, by ending or place."""
    background: str
    """Background of transparent images; empty if there are none."""
    remarks: list[str]
    """Surprises in how the files were read."""
    warnings: list[str]
    """Probable mistakes in the data."""
    drawn: list[str]
    """Which of val and test are drawn at random; the others have files of their own."""


@dataclass(frozen=True)
class Shown:
    """An experiment before it is trained."""

    config: dict[str, Any]
    """The configuration with every default, by section; see settings.md."""
    device: str
    workers: int
    """Groups that train at once."""
    seconds: float
    """Estimated time of the training."""
    free_bytes: int
    """Memory that the device has to spare."""
    data: list[DataRead]
    groups: list[Group]


@dataclass(frozen=True)
class Measurement:
    """A row of late_probes.csv."""

    trial: int
    epoch: int
    step: int
    layer: str
    probe: str
    value: float | None
    """null if it isn't finite."""


@dataclass(frozen=True)
class Probed:
    """What probes found in the trained networks of a run."""

    run: str
    rows: list[Measurement]


@dataclass(frozen=True)
class FoldedTrial:
    """A trial whose norm layers were folded, or couldn't be; null stands for what only folded trials have."""

    trial: int
    arm: str
    seed: int
    point: Point
    folded: bool
    reason: str | None
    """Why it wasn't folded."""
    split: str | None
    """The images that were compared: test, val or train."""
    images: int | None
    """Number of these images."""
    max_error_float64: float | None
    """Largest difference between logits before and after folding."""
    relative_error_float64: float | None
    """The same, divided by the largest logit."""
    max_error_float32: float | None
    relative_error_float32: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    same_predictions: float | None
    """Share of the images with the same class before and after."""
    parameters_before: int
    parameters_after: int | None


@dataclass(frozen=True)
class TimedNetwork:
    """How long a network takes before and after folding."""

    trial: int
    arm: str
    trials: list[int]
    """All trials with the same layers; the times stand for them, too."""
    batch: int
    """Images per batch."""
    compiled: bool
    """With torch.compile."""
    seconds_before: float | None
    seconds_after: float | None
    ratio: float | None
    """seconds_before / seconds_after."""
    problem: str | None
    """Why it couldn't be compiled."""


@dataclass(frozen=True)
class Folded:
    """The trials of a run without their norm layers."""

    run: str
    device: str
    torch: str
    """Version of torch."""
    trials: list[FoldedTrial]
    timings: list[TimedNetwork]


@dataclass(frozen=True)
class ExportCheck:
    """A written file, read back and compared with the network in bnexp."""

    path: str
    max_difference: float
    """Largest difference between logits."""
    relative_difference: float
    """The same, divided by the largest logit."""
    accuracy: float


@dataclass(frozen=True)
class Exported:
    """A trial that was written as files."""

    run: str
    trial: int
    arm: str
    folded: bool
    paths: list[str]
    images: str
    """What was compared, in words, such as 360 test images."""
    accuracy: float
    """Accuracy of the network in bnexp on these images."""
    checks: list[ExportCheck]
    failed: str | None
    """What went wrong with ONNX."""


COMPARED = Output("bnexp compare --json", Compared)
OUTPUTS = {
    "compare": COMPARED,
    "run": COMPARED,
    "dry-run": Output("bnexp run CONFIG --dry-run", "bnexp.runner.planned:PlannedTrial", "lines"),
    "report": Output("bnexp report --json", str),
    "watch": Output("bnexp watch RUN --json", "bnexp.report.watched:Watched", "lines"),
    "show": Output("bnexp show CONFIG --json", Shown, "object"),
    "list": Output("bnexp list --json", "bnexp.report.listings:Listed"),
    "list-configs": Output("bnexp list configs --json", "bnexp.report.listings:Shipped"),
    "settings": Output("bnexp settings --json", "bnexp.config.documentation:Setting"),
    "probe": Output("bnexp probe RUN --probe NAMES --json", Probed, "object"),
    "claims": Output("bnexp claims show --json", "bnexp.claims.tables:Row"),
    "papers": Output("bnexp papers show --json", "bnexp.papers.documents:PrintedRow"),
    "fold": Output("bnexp fold RUN --json", Folded, "object"),
    "export": Output("bnexp export RUN TRIAL --json", Exported, "object"),
    "doctor": Output("bnexp doctor --json", "bnexp.doctor.examination:Examined", "object"),
}
"""By the name that `bnexp schema` takes."""
FORMS = {"object": "One object", "list": "A list; each entry", "lines": "One object per line"}

HEADER = """# What `--json` prints

Every command that has results prints them as JSON with `--json`, on standard output; warnings and errors go to standard
error. A number that isn't known or not finite is `null`. The tables below have the keys of each output, with the kind
of their values; `[]` stands for the entries of a list.

`bnexp schema NAME` prints the JSON schema of an output; NAME is its heading. Each output has a version. Later releases
may add keys. If one removes a key or changes its meaning, it raises the version. `bnexp run` prints what
`compare` prints; `bnexp claims run` and `bnexp papers run` print what their `show` prints. This page is made by
`bnexp schema --markdown`.

With `--columns`, the records of `compare` have these keys only, besides `point`, `axis` and `arm`; the schema is that
of whole records."""


def to_markdown() -> str:
    """Return the page: a table for each output."""
    sections = (_section(name, output) for name, output in OUTPUTS.items() if name != "run")
    return "\n\n".join([HEADER, *sections])


def _section(name: str, output: Output) -> str:
    schema = output.schema()
    head = f"## {name}\n\n`{output.command}`, version {output.version}. {FORMS[output.form]}:"
    known, entry = schema.get("$defs", {}), schema["items"] if output.form == "list" else schema
    entry = known[entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry
    if "properties" not in entry:
        return f"{head} the path of a file that was written, as text. With `--follow` a second list has the pictures."
    rows = (f"| `{key}` | {values} | {_cell(meaning)} |" for key, values, meaning in _rows("", entry, known))
    return "\n".join(
        [f"{head} {_cell(entry['description'])}\n", "| key | value | meaning |", "| --- | --- | --- |", *rows]
    )


def _cell(text: str) -> str:
    """Return text for a table, in the words of JSON."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split())).replace("|", "\\|")


def _rows(prefix: str, entry: Schema, known: Schema) -> Iterator[tuple[str, str, str]]:
    """Yield key, possible values and meaning of all that an entry holds, and of what these hold."""
    for name, field in entry["properties"].items():
        told = to_setting(prefix + name, field)
        yield told.key, told.values, told.meaning
        for branch in field.get("anyOf", [field]):
            inner, place = (branch["items"], "[]") if isinstance(branch.get("items"), dict) else (branch, "")
            part = known.get(inner.get("$ref", "").rpartition("/")[2], {})
            if "properties" in part:
                yield from _rows(f"{told.key}{place}.", part, known)
