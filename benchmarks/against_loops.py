"""init_scale, 32 trials: bnexp against programs that train one network at a time, quiet and busy, and the floor."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.busy import busy_program, planned, train
from benchmarks.rivals import in_memory, loader, numpy_book
from benchmarks.study import Study, load_study
from benchmarks.timing import Timed, in_turn

Program = Callable[[Study, float, bool], float]
SIDE, PRODUCTS = 2048, 10
"""Size and number of the matrix products that tell the machine's rate."""
FEW = 4
"""Trials that slow programs train; their time for all is extrapolated."""
PEERS: dict[str, tuple[Program, str, str]] = {
    "plain PyTorch, tensors in memory": (in_memory.train, "1.8×", "2.5×"),
    "NumPy, float64": (numpy_book.train, "4×", "6×"),
    "plain PyTorch, torchvision and DataLoader": (loader.train, "12×", "18×"),
}
"""Programs that train all trials, with the ratio to reach and the ratio to aim at."""


def _lightning(study: Study, scale: float, norm: bool, bare: bool = False) -> float:
    from benchmarks.rivals import lightning_trainer  # an extra, which the other benchmarks do without

    return lightning_trainer.train(study, scale, norm, bare)


LIGHTNING: dict[str, tuple[Program, str, str]] = {
    "Lightning Trainer and DataLoader": (_lightning, "25×", "35×"),
    "the same without logger, checkpoints, bars, summary": (partial(_lightning, bare=True), "", ""),
}
"""Programs that train only a few trials."""
BUSY: dict[str, Program] = {
    "plain PyTorch, tensors in memory": in_memory.train,
    "Lightning Trainer and DataLoader": _lightning,
}
"""Programs that train a few trials beside a busy program as well."""


def run(rounds: int = 3) -> str:
    """Return the table as Markdown."""
    loaded = load_study([], torch.device("cpu"))
    study, ours = loaded.study, partial(train, planned(loaded.config))
    few = [study.arms[i * len(study.arms) // FEW + 2] for i in range(FEW)]
    programs: dict[str, Callable[[], object]] = {"bnexp": ours, "floor": _products}
    programs |= {name: partial(_all, program, study, study.arms) for name, (program, _, _) in PEERS.items()}
    programs |= {name: partial(_all, program, study, few) for name, (program, _, _) in LIGHTNING.items()}
    # What only a first call pays: threads, imports.
    in_memory.train(study, *few[0])
    _lightning(study, *few[0])
    times = in_turn(programs, rounds)
    beside = {"bnexp": ours} | {name: partial(_all, program, study, few) for name, program in BUSY.items()}
    with busy_program():
        busy = in_turn(beside, rounds)
    return "\n\n".join([_table(times, study, rounds), _busy_table(busy, study)])


def _all(program: Program, study: Study, arms: list[tuple[float, bool]]) -> list[float]:
    return [program(study, scale, norm) for scale, norm in arms]


def _products() -> None:
    a, b = torch.rand(2, SIDE, SIDE)
    for _ in range(PRODUCTS):
        a @ b


def _busy_table(times: dict[str, Timed], study: Study) -> str:
    ours, trials = times["bnexp"], len(study.arms)
    rows = [
        "| beside a program that keeps a core busy | seconds: median (range) | bnexp is faster by | expected |",
        "|---|---|---|---|",
        f"| bnexp | {ours} | | |",
    ]
    for name in BUSY:
        whole = times[name].median * trials / FEW
        few = f"{whole:.0f}, extrapolated from {FEW} trials: {times[name]}"
        rows.append(f"| {name} | {few} | {whole / ours.median:.1f}× | 20× |")
    return "\n".join(rows)


def _table(times: dict[str, Timed], study: Study, rounds: int) -> str:
    ours = times["bnexp"]
    rate = PRODUCTS * 2 * SIDE**3 / times["floor"].median
    floor = study.operations() / rate
    rows = [
        "| program | seconds: median (range) | bnexp is faster by | to reach | to aim at |",
        "|---|---|---|---|---|",
        f"| bnexp | {ours} | | | |",
    ]
    for name, (_, least, aim) in PEERS.items():
        rows.append(f"| {name} | {times[name]} | {times[name].median / ours.median:.1f}× | {least} | {aim} |")
    trials = len(study.arms)
    for name, (_, least, aim) in LIGHTNING.items():
        whole = times[name].median * trials / FEW
        few = f"{whole:.0f}, extrapolated from {FEW} trials: {times[name]}"
        rows.append(f"| {name} | {few} | {whole / ours.median:.1f}× | {least} | {aim} |")
    return "\n".join(
        [
            f"{trials} trials, {study.steps} steps of {study.batch_size} images, {len(study.measured_at)} measurements "
            f"on {len(study.labels_N)} images; {rounds} rounds, the programs in turn.",
            "",
            *rows,
            "",
            f"Floor: {study.operations() / 1e9:.0f} Gflop in matrix products, at {rate / 1e9:.0f} Gflop/s (float32, "
            f"{SIDE} × {SIDE}, measured in the same rounds) {floor:.2f} s. bnexp takes {ours.median / floor:.2f} times "
            "that (to reach 2, to aim at 1.4).",
        ]
    )
