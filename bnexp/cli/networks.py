"""`bnexp probe`, `fold` and `export`: what can be done with the networks that a run ended with."""

from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from bnexp.cli.options import DEFAULT_RUNS, Device, Json, Quiet, RunName, Runs, Trials, Workers
from bnexp.cli.output import print_json, print_table, say_code, saying
from bnexp.errors import BnexpError
from bnexp.screen import plain, print_line, warn

Wanted = Annotated[
    list[str],
    typer.Option(
        "--probe",
        help="Names such as sharpness,mode_gap, or a mapping: '{name: landscape_slice, points: 21}'.",
    ),
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
    """Measure inside the networks that a run ended with: sharpness, slices of the loss, batch statistics, and more.

    The values go into the run's late_probes.csv, and into the pictures of bnexp report.
    """
    from bnexp.report.listings import probe_table
    from bnexp.store.finding import find_run

    run = find_run(written, runs, warn)
    say_code(run.config, silent=as_json or quiet)
    from bnexp.engines.local import Local  # imports torch
    from bnexp.runner.posthoc_probes import probe_run, probe_settings

    probes = probe_settings(wanted)
    found = probe_run(run, probes, trials or None, Local.on(device, workers), saying(silent=as_json or quiet))
    rows: list[dict[str, Any]] = sorted((row for record in found for row in record.rows()), key=itemgetter("trial"))
    if as_json:
        print_json({"run": run.path.name, "rows": [row | {"value": _finite(row["value"])} for row in rows]})
    elif not quiet:
        print_table(probe_table(run.trials, rows, run.config.swept, [each.name for each in probes]))
        print_line(f"\n{run.path}: late_probes.csv")


def _finite(value: object) -> object:
    return value if isinstance(value, float) and abs(value) < float("inf") else None


Time = Annotated[bool, typer.Option("--timing/--no-timing", help="Time the networks before and after, also compiled.")]


def fold(
    written: RunName,
    trials: Trials = None,
    timing: Time = True,
    device: Device = "auto",
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fold batch norm into the weights beside it, where that is exact; check it on images, and time the difference.

    Writes nothing; bnexp export --folded writes a folded trial.
    """
    from bnexp.store.finding import find_run

    run = find_run(written, runs, warn)
    say_code(run.config, silent=as_json or quiet)
    from bnexp.deploy.folded_run import fold_run
    from bnexp.deploy.folding import TOLERANCE
    from bnexp.engines.devices import choose_device  # imports torch

    say = saying(silent=as_json or quiet)
    found = fold_run(run, trials or None, choose_device(device), timing=timing, say=say)
    if as_json:
        print_json(found.as_json())
    elif not quiet:
        print_table(*found.tables())
    if found.inexact:
        numbers = ", ".join(map(str, found.inexact))
        raise BnexpError(
            f"{run.path}: trials {numbers}: the logits differ by more than {TOLERANCE:g} of the largest one in "
            "float64, which rounding doesn't explain: a fault of bnexp; don't use the folded networks"
        )


Number = Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="Its number, as in trials.csv.")]
To = Annotated[
    Path | None,
    typer.Option("--to", help="Folder to write into; default: export/trial-NNN or trial-NNN-folded in the run folder."),
]
Folded = Annotated[bool, typer.Option("--folded", help="Fold norm layers into the weights beside them.")]
Onnx = Annotated[bool, typer.Option("--onnx", help="Write model.onnx, too.")]


def export(
    written: RunName,
    trial: Number,
    to: To = None,
    folded: Folded = False,
    onnx: Onnx = False,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trial as weights.safetensors and a model.py that needs only PyTorch and safetensors.

    The network takes pixels from 0 to 255. The files are read back and compared with the network in bnexp. If only ONNX
    fails, the other files are kept, and the exit code is 1.
    """
    from bnexp.store.finding import find_run

    run = find_run(written, runs, warn)
    say_code(run.config, silent=as_json or quiet)
    from bnexp.deploy.export import export_trial  # imports torch

    exported = export_trial(run, trial, to, fold=folded, onnx=onnx)
    if as_json:
        print_json(exported.as_json())
    elif not quiet:
        print_line(plain(exported.summary()))
    if exported.failed:
        raise BnexpError(exported.failed)
