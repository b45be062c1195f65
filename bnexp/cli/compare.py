"""`bnexp compare`: BN against no BN over one or many runs."""

from typing import Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Json, Quiet, RunNames, Runs

Metric = Annotated[str | None, typer.Option(help="Column of trials.csv to compare; default: final test accuracy.")]
Baseline = Annotated[str | None, typer.Option(help="Arm that the others are compared to; default: none.")]
Threshold = Annotated[float, typer.Option(help="Accuracy for `epochs to …`.")]


def compare(
    runs_wanted: RunNames = None,
    metric: Metric = None,
    baseline: Baseline = None,
    threshold: Threshold = 0.9,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the arms of finished or running experiments, with intervals over seeds."""
    from bnexp.analysis.runs import compare_run
    from bnexp.cli.output import print_json, print_table
    from bnexp.report.comparison_table import comparison_table
    from bnexp.report.summary import comparison_json
    from bnexp.store.reader import find_some

    found = find_some(runs_wanted or [], runs)
    compared = [(run, compare_run(run, metric=metric, baseline=baseline, threshold=threshold)) for run in found]
    if as_json:
        print_json([{"run": run.path.name, **comparison_json(comparison)} for run, comparison in compared])
    elif not quiet:
        for run, comparison in compared:
            print_table(comparison_table(comparison, title=run.path.name))
