"""Run the parts of `make gpu` one after the other, whatever becomes of each: `python -m benchmarks.gpu [PART ...]`."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.documents import FOLDER, ROOT
from benchmarks.gpu.parts import PARTS, Found, Part, data_overrides
from benchmarks.gpu.records import Outcome, Record, read, section
from bnexp.config.text import listed
from bnexp.data.machine import shared_folder
from bnexp.doctor.facts import facts
from bnexp.engines.devices import all_devices
from bnexp.store.finding import RUNS_VARIABLE

LIMIT, GRACE = 480.0, 50.0
"""Seconds until a part is interrupted, and those it may then take to save what it has: nine minutes together."""
LINES = 200
"""Lines of a failure that are kept."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str
    interrupted: bool
    """Its time was over."""


def run_process(words: Sequence[str], limit: float = LIMIT, grace: float = GRACE) -> Ended:
    """Run Python, and interrupt it where it takes too long, as Ctrl-C does."""
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            return _ended(process, limit, interrupted=False)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                return _ended(process, grace, interrupted=True)
            os.killpg(process.pid, signal.SIGKILL)
            return _ended(process, None, interrupted=True)
        except KeyboardInterrupt:  # which only reaches this process
            os.killpg(process.pid, signal.SIGINT)
            raise


def _ended(process: subprocess.Popen[str], limit: float | None, *, interrupted: bool) -> Ended:
    out, err = process.communicate(timeout=limit)
    return Ended(process.returncode, out, err, interrupted)


def run_part(part: Part, machine: dict[str, Any], *, rehearse: bool = False, limit: float = LIMIT) -> Record:
    """Run a part and return what came of it, a failure included."""
    overrides = () if rehearse else data_overrides(part.data)
    words = part.rehearsal if rehearse else (*part.words, *(overrides or ()))
    outcome: Outcome
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    if overrides is None:
        found, outcome, reason = Found(), "left out", f"no {part.data} in {shared_folder()}"
    else:
        found, outcome, reason = _judged(part, run_process(words, limit))
    seconds = time.perf_counter() - clock
    command = shlex.join(("python", *words)).replace(str(shared_folder()), "$BNEXP_DATA")
    return Record(part.name, command, rehearse, outcome, reason, started, seconds, machine, found.figures, found.table)


def _judged(part: Part, ended: Ended) -> tuple[Found, Outcome, str]:
    try:
        found, unread = part.read(ended.out), ""
    except Exception as error:  # whatever a command that failed has printed
        found, unread = Found(), f"What it printed can't be read: {type(error).__name__}: {error}\n"
    if ended.interrupted:
        return found, "unfinished", found.left or f"{unread}it was interrupted when its time was over"
    if ended.code or unread:
        said = (found.wrong or ended.err.strip() or ended.out.strip()).replace(f"{ROOT}/", "").splitlines()[-LINES:]
        return found, "failed", "\n".join([f"{unread}Exit code {ended.code}.", *said])
    return found, "unfinished" if found.left else "done", found.left


def main(words: Sequence[str]) -> int:
    """Run the parts that are named, or all, and keep what comes of each at once."""
    arguments = _arguments(words)
    if not (arguments.rehearse or torch.cuda.is_available()):
        print("no CUDA device here; --rehearse runs every part on the CPU, with tiny numbers", file=sys.stderr)
        return 2
    folder = arguments.results or (ROOT / ".gpu" / "rehearsal" if arguments.rehearse else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[RUNS_VARIABLE] = str(folder / "runs" if arguments.rehearse else ROOT / "runs" / "gpu")
    seen = facts(all_devices())
    machine = {key: value for key, value in asdict(seen).items() if key in ("versions", "cores", "devices")}
    outcomes = []
    for part in (each for each in PARTS if each.name in arguments.parts or not arguments.parts):
        print(f"{part.name} ({part.title}), at most {(LIMIT + GRACE) / 60:.0f} minutes", flush=True)
        record = run_part(part, machine, rehearse=arguments.rehearse)
        record.write(folder)
        (folder / "tables.md").write_text(section(read(folder)) + "\n", encoding="utf-8")
        print(f"\n{record.text}\n", flush=True)
        outcomes.append(record.outcome)
    print(f"JSON of every part and tables.md are in {folder}")
    return int("failed" in outcomes)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names))
    parser.add_argument("--results", type=Path, help="folder for what comes out; default: benchmarks/gpu/results")
    parser.add_argument("--rehearse", action="store_true", help="run tiny forms on the CPU, without a GPU")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.parts) - set(names):
        parser.error(f"no part is called {listed(sorted(unknown), 'or')}; there are {listed(names)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
