"""Trying a device: every check in every precision, and the results."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite

import torch

from bnexp.config.train import TrainSettings
from bnexp.doctor.facts import Facts
from bnexp.doctor.operations import Deviations, convolution, norm, product, running_statistics
from bnexp.doctor.rounding import PRECISIONS
from bnexp.doctor.updates import graph, repeats
from bnexp.errors import InputError
from bnexp.training.numerics import numerics


@dataclass(frozen=True)
class Check:
    """Something that a device should do right."""

    name: str
    column: str
    """Its name over a column of the screen."""
    run: Callable[[torch.device, TrainSettings], Deviations]
    """Yields how far each quantity is off; nothing if the device can't do this."""


CHECKS = (
    Check("batch norm", "batch", norm("batch")),
    Check("running statistics", "running", running_statistics),
    Check("layer norm", "layer", norm("layer")),
    Check("group norm", "group", norm("group")),
    Check("convolution", "conv", convolution),
    Check("product", "product", product),
    Check("two equal steps", "repeats", repeats),
    Check("graph and eager", "graph", graph),
)


@dataclass(frozen=True)
class Finding:
    """The outcome of a check on a device in a precision."""

    device: str
    precision: str
    check: str
    share: float | None
    """The error divided by the error that rounding explains, for the quantity that is furthest off: up to 1 is right.
    None if the device can't compute this, or no number comes out."""
    wrong: str = ""
    """What is wrong, in a line; empty if nothing is."""


@dataclass(frozen=True, kw_only=True)
class Examined(Facts):
    """What this machine has, and whether its devices compute what they should."""

    checks: Sequence[Finding]


def examine(device: torch.device, precisions: Collection[str] = tuple(PRECISIONS)) -> Iterator[Finding]:
    """Try a device in some precisions."""
    for precision in precisions:
        for check in CHECKS:
            yield outcome(check, device, precision)


def outcome(check: Check, device: torch.device, precision: str) -> Finding:
    """Return the result of a check."""

    def found(share: float | None, wrong: str = "") -> Finding:
        where = f"{device}, {precision}, {check.name}: "
        return Finding(str(device), precision, check.name, share, wrong and where + wrong)

    train = TrainSettings(precision=precision)
    try:
        with numerics(train, device):
            deviations = list(check.run(device, train))
    except Exception as error:  # a device may fail in any way
        said = str(error).strip() or type(error).__name__
        return found(None, f"can't be computed: {said.splitlines()[0]}")
    if not deviations:
        return found(None)
    furthest = max(deviations, key=lambda each: each.share)
    off = f"{furthest.quantity} is off by {furthest.error:.1e}, rounding explains {furthest.allowed:.1e}"
    return found(furthest.share if isfinite(furthest.share) else None, off if furthest.share > 1 else "")


@cache
def faults(device: torch.device, precision: str) -> Sequence[str]:
    """Return what is wrong with a device in a precision; a process tries it only once."""
    return [each.wrong for each in examine(device, [precision]) if each.wrong]


def refuse_faulty(device: torch.device, precisions: Collection[str]) -> None:
    """Do nothing if a device computes what it should.

    Raises:
        InputError: it doesn't; the message names everything that is wrong.
    """
    if wrong := [fault for precision in precisions for fault in faults(device, precision)]:
        raise InputError("\n".join([f"--device {device}: it doesn't compute what it should; use --device cpu", *wrong]))
