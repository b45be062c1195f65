"""`bnexp report`: pictures and a page that hold what a comparison says."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.compare import Baseline, Filter, Metric, Threshold
from bnexp.cli.options import DEFAULT_RUNS, Json, Quiet, RunNames, Runs

if TYPE_CHECKING:
    from bnexp.store.reader import RunRecord

TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write event files for TensorBoard, too.")]


def report(
    runs_wanted: RunNames = None,
    metric: Metric = None,
    baseline: Baseline = None,
    threshold: Threshold = 0.9,
    condition: Filter = None,
    tensorboard: TensorBoard = False,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write figures and one self-contained HTML page into a run's folder, or for several runs beside them.

    Several runs that are named are joined by their settings into report.html and report/ in the folder of the runs.
    """
    from bnexp.analysis.runs import compare_study, one_by_one, study_of
    from bnexp.cli.output import print_json
    from bnexp.report.figures.pictures import pictures_left_out
    from bnexp.report.summary import write_report
    from bnexp.screen import plain, print_line, warn
    from bnexp.store.finding import find_together

    if tensorboard:
        from bnexp.errors import check_installed

        check_installed("tensorboard")
    together = find_together(runs_wanted or [], runs, warn)

    def pages(some: "Sequence[RunRecord]") -> list[Path]:
        study = study_of(some, condition=condition, metric=metric, probed=True)
        comparison = compare_study(study, metric=metric, baseline=baseline, threshold=threshold)
        for line in pictures_left_out(study, comparison):
            warn(f"left out: {line}")
        events = [write_tensorboard(run) for run in some] if tensorboard else []
        return [*write_report(study, comparison, *_places(some, runs)), *events]

    written = [path for paths in one_by_one(together, pages, warn) for path in paths]
    if as_json:
        print_json([str(path) for path in written])
    elif not quiet:
        print_line(plain("\n".join(map(str, written))))


def write_tensorboard(run: "RunRecord") -> Path:
    """Write the event files of a run into its folder, and return their folder.

    Raises:
        InputError: TensorBoard isn't installed.
    """
    from bnexp.report.tensorboard import write_events

    events = run.path / "tensorboard"
    write_events(run, events)
    return events


def _places(some: "Sequence[RunRecord]", runs: Path) -> tuple[Path, Path]:
    """Return where the page goes, and the folder of the pictures."""
    if len(some) == 1:
        return some[0].path / "report.html", some[0].path
    return runs / "report.html", runs / "report"
