"""`bnexp export`: one trained network for use without bnexp."""

from pathlib import Path
from typing import Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Json, Quiet, RunName, Runs
from bnexp.errors import BnexpError

Number = Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="Its number, as in trials.csv.")]
To = Annotated[
    Path | None, typer.Option("--to", help="Folder to write into; default: export/trial-NNN in the run folder.")
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
    """Write a trial as weights.safetensors and a model.py that needs PyTorch and safetensors only.

    The network takes pixels from 0 to 255. What is written is read back first, and compared with the one in bnexp.
    If only ONNX fails, the other files are kept, and the exit code is 1.
    """
    from bnexp.cli.output import print_json
    from bnexp.screen import plain, print_line, warn
    from bnexp.store.finding import find_run

    run = find_run(written, runs, warn)
    from bnexp.deploy.export import export_trial  # imports torch

    exported = export_trial(run, trial, to, fold=folded, onnx=onnx)
    if as_json:
        print_json(exported.as_json())
    elif not quiet:
        print_line(plain(exported.summary()))
    if exported.failed:
        raise BnexpError(exported.failed)
