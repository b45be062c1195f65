"""`bnexp doctor`: what this machine has, and whether its devices compute what they should."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.options import Json, Quiet
from bnexp.cli.output import print_json, print_table
from bnexp.config.text import counted, gibibytes
from bnexp.errors import BnexpError
from bnexp.report.table import MISSING, Table, plain_table
from bnexp.screen import plain, print_line

if TYPE_CHECKING:
    from bnexp.doctor.examination import Finding
    from bnexp.doctor.facts import Facts

Tried = Annotated[str | None, typer.Option("--device", help="Device to try: cpu, cuda, cuda:i or mps. Default: all.")]

WIDTH, LABEL = 80, 13
"""Columns of the screen, and of its labels."""


def doctor(device: Tried = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Show what this machine has, and try its devices: norm layers, products and training steps.

    The results are compared with float64. If something is wrong, it is named, and the exit code is 1.
    """
    from bnexp.doctor.examination import Examined, examine
    from bnexp.doctor.facts import facts
    from bnexp.engines.devices import all_devices, choose_devices

    devices = choose_devices(device) if device else all_devices()
    seen = facts(all_devices())
    if not (as_json or quiet):
        print_line(plain("\n".join(_lines(seen))) + "\n")
    found = [finding for each in devices for finding in examine(each)]
    if as_json:
        print_json(asdict(Examined(**vars(seen), checks=found)))
    elif not quiet:
        print_table(_table(found))
    if wrong := [finding.wrong for finding in found if finding.wrong]:
        raise BnexpError("\n".join(wrong))


def _lines(seen: "Facts") -> Iterator[str]:
    for label, text in _facts(seen):
        yield from wrap(f"{label:{LABEL}}{text}", WIDTH, subsequent_indent=" " * LABEL, break_long_words=False)


def _facts(seen: "Facts") -> Iterator[tuple[str, str]]:
    has = {name: number or "none" for name, number in seen.versions.items()}
    yield "versions", f"bnexp {has['bnexp']}, Python {has['python']}, torch {has['torch']}, NumPy {has['numpy']}"
    yield "", f"CUDA {has['cuda']}, cuDNN {has['cudnn']}, driver {has['driver']}"
    for each in seen.devices:
        memory = f"{gibibytes(each.free)} of {gibibytes(each.bytes)} free"
        cores = f"{counted(seen.cores, 'core')}, {counted(seen.threads, 'thread')}, " if each.device == "cpu" else ""
        yield each.device, f"{each.name}, {cores}{memory}"
    places = {place: [name for name, other in seen.data.items() if other == place] for place in seen.data.values()}
    for number, (place, names) in enumerate(places.items()):
        where = place or f"not in {seen.data_folder}, downloaded on first use"
        yield "" if number else "data", f"{', '.join(names)}: {where}"
    yield from seen.extras.items()


def _table(found: "Sequence[Finding]") -> Table:
    from bnexp.doctor.examination import CHECKS

    rows = {(each.device, each.precision): list[str]() for each in found}
    for each in found:
        share = MISSING if each.share is None else f"{each.share:.0%}"
        rows[each.device, each.precision].append("wrong" if each.wrong else share)
    notes = ["Errors, in % of those that rounding explains: above 100 % something is wrong."]
    absent = dict.fromkeys(f"{each.check}: not on this device ({each.device})" for each in found if _is_absent(each))
    headers = ("device", "in", *(check.column for check in CHECKS))
    return plain_table(headers, [(*key, *row) for key, row in rows.items()], notes=[*notes, *absent])


def _is_absent(finding: "Finding") -> bool:
    return finding.share is None and not finding.wrong
