"""`bnexp compare` and `report`: BN against no BN over one or many runs, as tables, pictures and a page."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Json, Quiet, RunNames, Runs
from bnexp.cli.output import freeze_imports, print_comparisons, print_json
from bnexp.config.text import listed
from bnexp.errors import InputError, check_installed
from bnexp.screen import plain, print_line, warn

if TYPE_CHECKING:
    from bnexp.analysis.comparison import Comparison
    from bnexp.analysis.study import Study
    from bnexp.store.reader import RunRecord


class View(StrEnum):
    """The tables of a comparison that are shown."""

    main = "main"
    equal = "equal"
    sequence = "sequence"
    ladder = "ladder"
    overall = "overall"
    best = "best"
    robust = "robust"
    diverged = "diverged"
    evaluation = "evaluation"
    time = "time"
    tuning = "tuning"
    all = "all"


class Format(StrEnum):
    """How a comparison is written."""

    table = "table"
    md = "md"
    csv = "csv"
    json = "json"
    latex = "latex"


Metric = Annotated[str | None, typer.Option(help="Column of trials.csv to compare; default: final test accuracy.")]
Baseline = Annotated[str | None, typer.Option(help="Arm that the others are compared to; default: none.")]
Threshold = Annotated[
    float, typer.Option(help="Accuracy to reach; the tables say how many epochs and seconds it took.")
]
Views = Annotated[
    View,
    typer.Option(
        "--view",
        metavar="VIEW",
        help=f"Tables to show: {listed(View, 'or')}; main: all but time and tuning.",
    ),
]
Filter = Annotated[str | None, typer.Option("--filter", help='Trials to compare, e.g. "train.lr>0.1 and arm!=after".')]
By = Annotated[
    list[str] | None,
    typer.Option("--by", help="Swept setting that keeps its rows; the others are averaged over. Repeatable."),
]
Sort = Annotated[str | None, typer.Option(help="Column to sort the rows by, the best first, e.g. difference.")]
Top = Annotated[int | None, typer.Option(min=1, help="Show only this many rows.")]
OnlyChanged = Annotated[bool, typer.Option("--only-changed", help="Leave out settings that have a single value.")]
Formats = Annotated[Format, typer.Option("--format", help="Format of the tables; csv: the rows of the view.")]
Columns = Annotated[
    str | None,
    typer.Option(help="Columns to show, by header or field, in this order: 'arm,mean,difference,p'. Default: all."),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Exit with 1 if a warning says that a table could mislead (that arms were tuned doesn't count).",
    ),
]
Plan = Annotated[
    float | None,
    typer.Option(
        "--plan", metavar="WIDTH", help="How many seeds narrow the interval of a difference to +-WIDTH, e.g. 0.005."
    ),
]
Difference = Annotated[
    float | None,
    typer.Option(
        "--difference", help="With --plan: how often the pairs settle a true difference of this size, e.g. 0.01."
    ),
]
Across = Annotated[
    str | None,
    typer.Option("--across", metavar="KEY", help="Compare at each value of a setting, in one table, e.g. data.name."),
]
Plot = Annotated[bool, typer.Option("--plot", help="Draw the learning curves in the terminal, too.")]


def compare(
    runs_wanted: RunNames = None,
    metric: Metric = None,
    baseline: Baseline = None,
    threshold: Threshold = 0.9,
    view: Views = View.main,
    condition: Filter = None,
    by: By = None,
    sort: Sort = None,
    top: Top = None,
    only_changed: OnlyChanged = False,
    form: Formats = Format.table,
    columns: Columns = None,
    check: Check = False,
    plot: Plot = False,
    plan: Plan = None,
    difference: Difference = None,
    across: Across = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the arms of finished or running experiments, with intervals over seeds.

    Named runs are joined by their settings; without a name every experiment is compared by itself.
    """
    from bnexp.analysis.across import with_across
    from bnexp.analysis.fairness import avoidable
    from bnexp.analysis.planning import with_plan
    from bnexp.analysis.runs import compare_study, one_by_one, ordered, study_of
    from bnexp.analysis.tuned_runs import why_no_tuning, with_tuning
    from bnexp.store.finding import find_together

    freeze_imports()

    def compared(some: "Sequence[RunRecord]") -> "tuple[Study, Comparison]":
        """Return the study of some runs and its comparison, as the options ask for it."""
        study = study_of(some, condition=condition, metric=metric)
        comparison = compare_study(
            study, metric=metric, baseline=baseline, threshold=threshold, by=by, only_changed=only_changed
        )
        comparison = ordered(comparison, sort, top)
        if view in (View.tuning, View.all):
            comparison = with_tuning(comparison, study)
        if view == View.tuning and not comparison.tuning:
            raise InputError(f"--view tuning: {why_no_tuning(study)}")
        if across is not None:
            comparison = with_across(comparison, study, across)
        return study, comparison if plan is None else with_plan(comparison, plan, difference)

    _check_plan(plan, difference, across)
    chosen = _names(columns)
    shown = one_by_one(find_together(runs_wanted or [], runs, warn), compared, warn)
    tables = "plan" if plan is not None else "across" if across else view
    if not quiet:
        print_comparisons(shown, view=tables, form=Format.json if as_json else form, columns=chosen, plot=plot)
    if check and any(avoidable(study, comparison) for study, comparison in shown):
        raise typer.Exit(1)


def _check_plan(plan: float | None, difference: float | None, across: str | None) -> None:
    """Refuse options that don't go together."""
    if difference is not None and plan is None:
        raise InputError("--difference: needs --plan WIDTH")
    if plan is not None and across:
        raise InputError("--across: can't be combined with --plan")


def _names(columns: str | None) -> list[str]:
    """Return the columns asked for.

    Raises:
        InputError: there is no name among them.
    """
    chosen = [name.strip() for name in (columns or "").split(",") if name.strip()]
    if columns is not None and not chosen:
        raise InputError("--columns: expected names of columns with commas in between")
    return chosen


RENEWED = 10
"""The fewest seconds from one page to the next, with --follow; the page reloads at the same pace."""
Pictures = Annotated[
    bool, typer.Option("--pictures/--no-pictures", help="Write the pictures, or the page alone, which is faster.")
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        help="Write the page again for new records until the run has ended; only then the pictures. Ctrl-C stops.",
    ),
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write event files for TensorBoard, too.")]
MLflow = Annotated[
    str | None, typer.Option("--mlflow", metavar="URI", help="Hand the run over to MLflow, e.g. sqlite:///mlflow.db.")
]
WandB = Annotated[bool, typer.Option("--wandb", help="Hand the run over to W&B; offline with WANDB_MODE=offline.")]
Trackio = Annotated[bool, typer.Option("--trackio", help="Hand the run over to Trackio's local database.")]
Project = Annotated[
    str | None, typer.Option("--project", help="Project, or MLflow's experiment. Default: the experiment's name.")
]


def report(
    runs_wanted: RunNames = None,
    metric: Metric = None,
    baseline: Baseline = None,
    threshold: Threshold = 0.9,
    condition: Filter = None,
    pictures: Pictures = True,
    tensorboard: TensorBoard = False,
    follow: Follow = False,
    mlflow: MLflow = None,
    wandb: WandB = False,
    trackio: Trackio = False,
    project: Project = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write pictures and one self-contained HTML page into a run's folder, or for several runs beside them.

    Several named runs are joined by their settings; report.html and report/ are then in the folder of the runs.
    Trackers get a run for every trial and a summary for every arm; the same command again updates them.
    """
    from bnexp.analysis.runs import compare_study, one_by_one, study_of
    from bnexp.analysis.tuned_runs import with_tuning
    from bnexp.report.summary import write_report
    from bnexp.store.finding import find_some, find_together

    freeze_imports()
    targets = _targets(mlflow, project, wandb=wandb, trackio=trackio)
    for extra in [*(["tensorboard"] if tensorboard else []), *targets]:
        check_installed(extra)
    told, say = list[str](), _warning_once()

    def pages(some: "Sequence[RunRecord]", reload: int | None) -> list[Path]:
        """Write all files of some runs, hand the runs over to trackers, and return the files."""
        study = study_of(some, condition=condition, metric=metric, probed=True)
        comparison = with_tuning(compare_study(study, metric=metric, baseline=baseline, threshold=threshold), study)
        drawn = pictures and reload is None
        if drawn:
            _say_left_out(study, comparison, say)
        if comparison.finished < comparison.planned:
            say(f"{study.name}: {comparison.finished} of {comparison.planned} trials have ended so far")
        folder, place = (some[0].path, some[0].path) if len(some) == 1 else (runs, runs / "report")
        try:
            written = write_report(study, comparison, folder / "report.html", place if drawn else None, reload)
        except OSError as error:
            raise InputError(f"{folder}: can't be written ({error.strerror}); report on a copy of it") from error
        told.extend(hand_over(run, name, target, project) for name, target in targets.items() for run in some)
        return [*written, *([write_tensorboard(run) for run in some] if tensorboard else [])]

    def write(reload: int | None) -> list[Path]:
        told.clear()
        together = find_together(runs_wanted or [], runs, say)
        return [path for paths in one_by_one(together, lambda some: pages(some, reload), say) for path in paths]

    show = partial(_show_files, told=told, as_json=as_json, quiet=quiet)
    if follow:
        _write_again([run.path for run in find_some(runs_wanted or [], runs)], write, show)
    else:
        show(write(None))


def _say_left_out(study: "Study", comparison: "Comparison", say: Callable[[str], None]) -> None:
    from bnexp.report.figures.pictures import pictures_left_out  # Matplotlib: not for the page alone

    for line in pictures_left_out(study, comparison):
        say(f"left out: {line}")


def _show_files(written: Sequence[Path], told: Sequence[str], *, as_json: bool, quiet: bool) -> None:
    """Print the files that were written, and what was handed over to trackers; in JSON the files alone, on a line."""
    if as_json:
        print_json([str(path) for path in written], indent=None)
    elif not quiet:
        print_line(plain("\n".join([*map(str, written), *told])))


def _targets(mlflow: str | None, project: str | None, *, wandb: bool, trackio: bool) -> dict[str, str]:
    """Return where each requested tracker keeps its runs; empty for the usual place.

    Raises:
        InputError: a project, but no tracker.
    """
    asked = {"mlflow": mlflow, "wandb": "" if wandb else None, "trackio": "" if trackio else None}
    targets = {name: target for name, target in asked.items() if target is not None}
    if project and not targets:
        raise InputError("--project: needs --mlflow, --wandb or --trackio")
    return targets


def _warning_once() -> Callable[[str], None]:
    """Return a function that warns about something, but only once."""
    said: set[str] = set()

    def say(line: str) -> None:
        if line not in said:
            said.add(line)
            warn(line)

    return say


def _write_again(
    runs: Sequence[Path], write: Callable[[int | None], list[Path]], show: Callable[[list[Path]], None]
) -> None:
    """Write pages now and whenever their runs have changed, until none trains any more; show each file the first time.

    The last page doesn't reload any more.
    """
    from bnexp.store.following import changes, pulse

    shown: list[Path] = []
    try:
        for over in changes(runs, RENEWED):
            if new := [path for path in write(None if over else RENEWED) if path not in shown]:
                show(new)
            shown += new
    except KeyboardInterrupt:
        return  # the way to stop
    for run in runs:
        ended = pulse(run).state == "ended"
        warn(f"{run.name}: {'ended' if ended else 'stopped; the same bnexp run continues it'}")


def hand_over(run: "RunRecord", tracker: str, target: str, project: str | None) -> str:
    """Hand a run over to a tracker, and return a sentence that says where to find it.

    Raises:
        InputError: the tracker refuses, or a file of the run can't be read.
    """
    from bnexp.report.trackers.registry import TRACKERS
    from bnexp.report.trackers.tracked import tracked_runs

    return TRACKERS[tracker](tracked_runs(run), project or run.config.name, target)


def write_tensorboard(run: "RunRecord") -> Path:
    """Write the event files of a run into its folder, and return their folder.

    Raises:
        InputError: TensorBoard isn't installed.
    """
    from bnexp.report.tensorboard import write_events

    events = run.path / "tensorboard"
    write_events(run, events)
    return events
