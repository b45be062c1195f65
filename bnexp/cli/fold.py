"""`bnexp fold`: trained networks without their norm layers."""

from typing import Annotated

import typer

from bnexp.cli.options import DEFAULT_RUNS, Device, Json, Quiet, RunName, Runs, Trials

Time = Annotated[bool, typer.Option("--timing/--no-timing", help="Time the networks before and after, compiled too.")]


def fold(
    written: RunName,
    trials: Trials = None,
    timing: Time = True,
    device: Device = "auto",
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fold batch norm into the weights beside it, where that is exact; prove it on images, and time the difference.

    Writes nothing; bnexp export --folded writes a trial so.
    """
    from bnexp.cli.output import print_json, print_table, saying
    from bnexp.errors import BnexpError
    from bnexp.screen import warn
    from bnexp.store.finding import find_run

    run = find_run(written, runs, warn)
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
