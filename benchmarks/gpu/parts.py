"""The parts of `make gpu`, the most important first: each is a command, and a way to read what it prints."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.gpu.figures import Figure
from bnexp.analysis.comparison import BestRow
from bnexp.api import load_run
from bnexp.config.data import DATASETS
from bnexp.config.text import counted
from bnexp.data.machine import is_complete, shared_folder
from bnexp.report.style import point_texts
from bnexp.report.table import to_markdown
from bnexp.report.views import view_table

BENCHMARKS, RESULTS = "benchmarks/README.md", "docs/results.md"
"""Documents that show what was found."""
PICTURES = "cifar10"
"""Folder of CIFAR-10's pictures, beside the other data sets: train/CLASS/ and test/CLASS/."""


@dataclass(frozen=True)
class Found:
    """What a command has found."""

    figures: Sequence[Figure] = ()
    table: str = ""
    """In Markdown, besides the figures."""
    left: str = ""
    """What is left for the same command to do when it is given again."""
    wrong: str = ""
    """What says why the command failed, if not what it wrote to the standard error."""


@dataclass(frozen=True)
class Part:
    """Something that a GPU is asked."""

    name: str
    title: str
    words: Sequence[str]
    """What Python is started with."""
    rehearsal: Sequence[str]
    """The same with as little work as possible, without a GPU."""
    read: Callable[[str], Found]
    """Reads what the command printed, as far as it got."""
    page: str = BENCHMARKS
    """The document that shows it."""
    data: str = ""
    """The data set that it takes."""


def data_overrides(name: str) -> Sequence[str] | None:
    """Return the settings by which an experiment finds a data set on this machine; None where there is none."""
    root = shared_folder()
    if not name or is_complete(DATASETS[name], root):
        return ()
    if name == "cifar10" and (root / PICTURES / "train").is_dir():
        return "data.name=image_folder", f"data.root={root / PICTURES}"
    return None


def read_checks(printed: str) -> Found:
    """Read `bnexp doctor --json`: the worst check in each precision."""
    checks: dict[str, list[tuple[float, str]]] = {}
    for check in json.loads(printed)["checks"]:
        if check["share"] is not None:
            checks.setdefault(f"{check['device']}, {check['precision']}", []).append((check["share"], check["check"]))
    return Found(
        [
            Figure(
                f"{where}: largest error, in that which rounding explains",
                100 * max(shares)[0],
                " %",
                counted(len(shares), "check"),
                at_most=100,
                detail=max(shares)[1],
            )
            for where, shares in checks.items()
        ]
    )


def read_tests(printed: str) -> Found:
    """Read the last line of pytest: "1 failed, 78 passed, 2 skipped in 61.10s"."""
    last = [line for line in printed.splitlines() if re.search(r"\d+ [a-z]+.* in [\d.]+s", line)][-1].strip("= ")
    counts = {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)}
    bad = sum(counts.get(word, 0) for word in ("failed", "error", "errors", "skipped"))
    n = counted(bad + counts.get("passed", 0), "test")
    return Found([Figure("Tests that fail or are skipped", bad, "", n, at_most=0, detail=last)], wrong=printed)


def read_figures(printed: str) -> Found:
    """Read what `benchmarks.gpu.measure` printed: a figure a line."""
    return Found([Figure(**json.loads(line)) for line in printed.splitlines() if line.startswith("{")])


def read_run(experiment: str, published: Mapping[str, float], printed: str) -> Found:
    """Read the newest run of an experiment: each arm at its best grid point, and all grid points.

    Args:
        experiment: its name.
        published: test accuracy of others by arm, in %.
        printed: what the command said, which is nothing.
    """
    run = load_run(experiment)
    comparison = run.compare().result
    rows = view_table(comparison, "equal")
    if rows.records:
        bare = replace(rows, columns=tuple(replace(each, legend="") for each in rows.columns), title="", notes=())
        shown = to_markdown(bare.known())
    left = len(run.trials) - run.record.finished
    return Found(
        [_best(row, published.get(row.arm)) for row in comparison.best if row.mean is not None],
        shown if rows.records else "",
        f"{left} of {counted(len(run.trials), 'trial')} are left" if left else "",
    )


def _best(row: BestRow, published: float | None) -> Figure:
    detail = ", ".join(point_texts(row.point))
    if row.low is not None and row.high is not None:
        detail += f"; 95 %: {100 * row.low:.1f} to {100 * row.high:.1f} %"
    what = f"Test accuracy of {row.arm}, at the point that is best on validation images"
    return Figure(what, 100 * (row.mean or 0.0), " %", counted(row.n, "seed"), published=published, detail=detail)


def _tests(name: str, title: str, which: str) -> Part:
    pytest = ("-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-rfE", "--continue-on-collection-errors")
    # What each test runs on a GPU is run on a stand-in for one, too, which needs none.
    few = ("-k", "stand-in and flip_crop", "-m", "not gpu", "tests/data/test_augment.py")
    return Part(name, title, (*pytest, "-n", "4", "-m", which), (*pytest, *few), read_tests)


def _measured(name: str, title: str, data: str = "") -> Part:
    words = ("-m", "benchmarks.gpu.measure", name)
    return Part(name, title, words, (*words, "--rehearse"), read_figures, data=data)


def _trained(name: str, title: str, small: Sequence[str], published: Mapping[str, float] | None = None) -> Part:
    words = ("-m", "bnexp", "run", f"configs/{name}.yaml", "--quiet")
    few = ("data={name: digits, train_size: 64, val_size: 32, test_size: 32}", "seeds=2", *small)
    read = partial(read_run, name, published or {})
    return Part(name, title, words, (*words, "--device", "cpu", *few), read, RESULTS, "cifar10")


DOCTOR = ("-m", "bnexp", "doctor", "--json", "--device")
SMALL_RESNET = ("grid.model.depth=[8]", "model.width=4", "train.epochs=1", "train.batch_size=32")
PARTS = (
    Part("doctor", "What the GPU computes", (*DOCTOR, "cuda"), (*DOCTOR, "cpu"), read_checks),
    _tests("tests", "Tests on a GPU", "gpu and not slow"),
    _measured("sweep", "320 trials against a plain loop", "mnist"),
    _measured("at_once", "Trials at once", "mnist"),
    _measured("kernel_share", "Share of an update in kernels", "mnist"),
    _measured("fused", "Fused kernels", "mnist"),
    _measured("waiting", "Calls that wait"),
    _measured("convolutions", "Convolutional networks against other programs"),
    _measured("together", "Convolutional networks at once"),
    _tests("slow_tests", "The longest tests on a GPU", "gpu and slow"),
    _trained(
        "cifar_vgg",
        "VGG-11 on CIFAR-10, with and without BN",
        ("model.depth=5", "model.width=2", "train.steps=2", "train.batch_size=32", "grid.train.lr=[0.1, 0.3]"),
        {"none": 80.0, "before": 83.0},
    ),
    _trained(
        "batch_size",
        "Batch sizes",
        (
            "model.width=4",
            "model.norm.groups=2",
            "zip={train.batch_size: [16, 32], train.lr: [0.01, 0.01], train.epochs: [1, 1]}",
        ),
    ),
    _trained("cifar_resnet_depth", "Depths of residual networks", SMALL_RESNET),
    _trained("fixup", "Fixup beside BN", (*SMALL_RESNET, "model.norm.groups=2")),
)
"""The most important first."""
