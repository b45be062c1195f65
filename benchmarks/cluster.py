"""How much one driver can listen to, with many trials on many workers, and what a cluster adds to short groups."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import sqrt
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ray
import torch

from benchmarks.cluster_driver import Heard, listen, nodes
from benchmarks.cluster_worker import Pretence
from benchmarks.study import CONFIG
from benchmarks.timing import Timed
from bnexp.config.load import load
from bnexp.engines.cluster.session import ray_cluster
from bnexp.engines.engine import EngineChoice
from bnexp.engines.messages import INTERVAL
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run as run_plan
from bnexp.store import writer
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.writer import RunWriter

NODES, CPUS = 4, 16
WORKERS = NODES * CPUS
SIZE = 156
"""Trials of a group: 64 groups are 10,000 trials."""
BUSY = 0.2
"""Share of a CPU that the driver should not exceed."""
HOLD = 8.0
"""Seconds for which groups keep their workers, so that the next ones need others."""
LEAD = 2.0
"""Seconds until all groups have begun."""
PARTS: dict[str, tuple[Any, str]] = {
    "rows of records (`RunWriter.append`)": (RunWriter, "append"),
    "of these, numbers as text (`record_lines`)": (writer, "record_lines"),
    "ends of trials (`RunWriter.end`)": (RunWriter, "end"),
    "final weights (`Checkpoints.finish`)": (Checkpoints, "finish"),
    "waiting for messages (`ray.wait`)": (ray, "wait"),
    "reading messages (`ray.get`)": (ray, "get"),
}
"""Functions that the loop is made of, by where they are looked up."""


def run() -> str:
    """Return the tables as Markdown."""
    with nodes(NODES, CPUS) as address, ray_cluster("cpu", address, 1.0):
        started = _start()
        busy = {every: _in_turn(every, records) for every, records in ((1, 15), (5, 5), (10, 3))}
        waiting = {many: listen(many, 1, Pretence(2, every=0.5)) for many in (64, 256, 1024)}
        found = [
            f"{WORKERS} workers took {started:.0f} s to start on {NODES} nodes of {CPUS} made-up CPUs.",
            _throughput(),
            _busy(busy),
            _parts(),
            _waiting(waiting),
            _limits(busy, waiting),
            _rounds(),
        ]
    return "\n\n".join([*found, _real()])


def _start() -> float:
    """Return the seconds until so many workers are there that all groups begin at once."""
    started = time.perf_counter()
    while True:
        begun = time.perf_counter()
        if listen(WORKERS, 1, Pretence(1, rest=HOLD)).whole < HOLD + 2:
            return begun - started


def _in_turn(every: float, records: int) -> Heard:
    """Let 64 groups of 156 trials say a record every so many seconds, none at the same time as another."""
    begin = time.time() + LEAD
    return listen(WORKERS, SIZE, Pretence(records, every, begin, others=WORKERS, rest=1.0))


def _throughput() -> str:
    lines = [
        "| workers | trials each | messages at least | records/s | rows/s | messages/s | CPU µs per row | busy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for workers in (1, 8, WORKERS):
        for size in (1, 16, SIZE):
            for interval in (INTERVAL, 0.0):
                records = max(10, min(1000, 40_000 // (workers * size), 8_000 // workers))
                heard = listen(workers, size, Pretence(records, begin=time.time() + LEAD, interval=interval))
                rates = map(heard.per_second, (heard.records, heard.rows, heard.messages))
                cost = 1e6 * heard.spent.process / heard.rows
                apart = f"{interval:g} s apart" if interval else "as they come"
                lines.append(f"| {workers} | {size} | {apart} | {' | '.join(rates)} | {cost:.0f} | {heard.busy:.0%} |")
    return "\n".join(lines)


def _busy(found: Mapping[int, Heard]) -> str:
    lines = [
        "| a record every | rows/s | messages/s | busy | to reach | the loop | of it the recorder "
        "| seconds late: median (most) | end of a group |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for every, heard in found.items():
        shares = [f"{part / heard.spent.wall:.1%}" for part in (heard.spent.loop, heard.writing)]
        rates = map(heard.per_second, (heard.rows, heard.messages))
        lines.append(
            f"| {every} s | {' | '.join(rates)} | {heard.busy:.1%} | {BUSY:.0%} | {' | '.join(shares)} | {heard.lag} "
            f"| {1000 * heard.ending / WORKERS:.0f} ms |"
        )
    return "\n".join(lines)


def _parts() -> str:
    taken = dict.fromkeys(PARTS, 0.0)

    def clocked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            before = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                taken[part] += time.thread_time() - before

        return call

    with ExitStack() as stack:
        for part, (owner, name) in PARTS.items():
            stack.enter_context(patch.object(owner, name, clocked(part, getattr(owner, name))))
        heard = _in_turn(1.0, 15)
    lines = ["| part of the loop | of its CPU |", "|---|---|"]
    return "\n".join([*lines, *(f"| {part} | {seconds / heard.loop:.0%} |" for part, seconds in taken.items())])


def _waiting(found: Mapping[int, Heard]) -> str:
    lines = ["| groups on 64 workers | seconds | CPU ms per message | busy |", "|---|---|---|---|"]
    for groups, heard in found.items():
        lines.append(f"| {groups:,} | {heard.whole:.1f} | {1000 * _per_message(heard):.2f} | {heard.busy:.0%} |")
    return "\n".join(lines)


def _limits(busy: Mapping[int, Heard], waiting: Mapping[int, Heard]) -> str:
    """Return the groups of 156 trials that can train at once, where a record costs more with each of them."""
    few, many = min(waiting), max(waiting)
    # Their number falls steadily while they are listened to.
    growth = max(1e-9, (_per_message(waiting[many]) - _per_message(waiting[few])) / ((many - few) / 2))
    lines = ["| a record every | groups (trials) with the driver busy at 20 % | at 100 % |", "|---|---|---|"]
    for every, heard in busy.items():
        alone = max(0.0, _per_message(heard) - WORKERS * growth)
        most = [(sqrt(alone**2 + 4 * growth * share * every) - alone) / (2 * growth) for share in (BUSY, 1.0)]
        lines.append(f"| {every} s | {' | '.join(f'{groups:,.0f} ({groups * SIZE:,.0f})' for groups in most)} |")
    return "\n".join(lines)


def _per_message(heard: Heard) -> float:
    return heard.spent.process / heard.messages


def _rounds(rounds: int = 2) -> str:
    lines = ["| workers | groups of 10 s | seconds | over the training | to reach |", "|---|---|---|---|---|"]
    for workers in (4, 8, WORKERS):
        heard = listen(rounds * workers, 16, Pretence(10, every=1.0), seats=WORKERS // workers)
        added = heard.whole / (10 * rounds) - 1
        lines.append(f"| {workers} | {rounds * workers} | {heard.whole:.2f} | {added:.1%} | 5 % |")
    return "\n".join(lines)


def _real(rounds: int = 2) -> str:
    config = ["seeds=2", "arms=[before]", "grid.model.depth=[4,5,6]"]
    seconds: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
    with nodes(1, 1) as address, _one_thread():
        for _ in range(rounds):
            for name, found in seconds.items():
                found.append(_trained(name, address if name == "ray" else None, config))
    lines = ["| engine | start-up, seconds | training, seconds | added | to reach |", "|---|---|---|---|---|"]
    local, far = ([after for _, after in each] for each in seconds.values())
    added = Timed(tuple(100 * (b / a - 1) for a, b in zip(local, far, strict=True)))
    for name, times in seconds.items():
        start, training = (Timed(each) for each in zip(*times, strict=True))
        share = f"{added} % | 5 %" if name == "ray" else " | "
        lines.append(f"| {name} | {start} | {training} | {share} |")
    return "\n".join(lines)


def _trained(engine: str, address: str | None, overrides: list[str]) -> tuple[float, float]:
    """Return the seconds until the first record, and from there to the last."""
    events: list[float] = []
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as runs,
        EngineChoice("cpu", engine, address=address).entered() as where,
    ):
        plan = prepare(load(CONFIG, overrides), Path(runs), where)
        run_plan(plan, watch=lambda event: events.append(time.perf_counter()))
    return events[0] - started, events[-1] - events[0]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
