"""`bnexp probe`: measurements inside finished networks."""

from typing import Annotated, Any

import typer

from bnexp.cli.options import DEFAULT_RUNS, Device, Json, Quiet, RunName, Runs, Trials, Workers

Wanted = Annotated[
    list[str],
    typer.Option("--probe", help="Names with commas in between, or a mapping: '{name: landscape_slice, points: 21}'."),
]


def probe(
    written: RunName,
    wanted: Wanted,
    trials: Trials = None,
    device: Device = "auto",
    workers: Workers = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure inside the networks that a run ended with: sharpness, slices of the loss, what statistics do, and more.

    What is found goes into the run's late_probes.csv, and into the pictures of bnexp report.
    """
    from bnexp.cli.output import print_json, print_table, saying
    from bnexp.report.listings import probe_table
    from bnexp.screen import print_line, warn
    from bnexp.store.finding import find_run

    run = find_run(written, runs, warn)
    from bnexp.engines.local import Local  # imports torch
    from bnexp.runner.posthoc_probes import probe_run, probe_settings

    probes = probe_settings(wanted)
    say = saying(silent=as_json or quiet)
    found = probe_run(run, probes, trials or None, Local.on(device, workers), say)
    rows: list[dict[str, Any]] = [row for record in found for row in record.rows()]
    if as_json:
        print_json({"run": run.path.name, "rows": [row | {"value": _finite(row["value"])} for row in rows]})
    elif not quiet:
        print_table(probe_table(run.trials, rows, run.config.swept, [each.name for each in probes]))
        print_line(f"\n{run.path}: late_probes.csv")


def _finite(value: object) -> object:
    return value if isinstance(value, float) and abs(value) < float("inf") else None
