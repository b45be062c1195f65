"""What a GPU makes of a sweep: against the plain loop, against one trial, and against its own kernels."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from unittest import mock

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import profile, supported_activities

from benchmarks import trials_at_once
from benchmarks.gpu.figures import Figure
from benchmarks.rivals import in_memory
from benchmarks.study import Loaded, load_study
from benchmarks.timing import in_turn, timed, wait
from bnexp.config.load import resolve
from bnexp.config.text import counted
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training import work
from bnexp.training.graphs import updater
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from bnexp.training.numerics import dtype_of, numerics

FEW = 4
TEN_SEEDS = ("seeds=10",)
EPOCH, BATCH = 60_000, 128
SYNCHRONIZING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""Calls that make the host wait; cudaMemcpyAsync is another name."""

Act = Callable[[], None]


def against_loop(device: torch.device, overrides: Sequence[str] = TEN_SEEDS, rounds: int = 3) -> Iterator[Figure]:
    """Time init_scale beside a plain loop over tensors on the same device."""
    loaded = load_study(list(overrides), device)
    arms = loaded.study.arms
    few = [arms[(2 * number + 1) * len(arms) // (2 * FEW)] for number in range(FEW)]
    _all(loaded)
    _few(loaded, few[:1])
    times = in_turn({"bnexp": partial(_all, loaded), "loop": partial(_few, loaded, few)}, rounds)
    count = sum(len(group.trials) for group in loaded.groups)
    loop = times["loop"].median * count / FEW
    yield Figure(
        f"{count} trials of init_scale: faster than the plain loop, tensors in GPU memory, by",
        loop / times["bnexp"].median,
        "×",
        counted(rounds, "round"),
        at_least=100,
        detail=f"bnexp {times['bnexp']} s; loop {loop:.1f} s, extrapolated from {FEW} trials: {times['loop']} s",
    )


def _all(loaded: Loaded) -> None:
    for group in loaded.groups:
        for _ in train(group, loaded.data):
            pass


def _few(loaded: Loaded, arms: list[tuple[float, bool]]) -> None:
    for scale, norm in arms:
        in_memory.train(loaded.study, scale, norm)


def at_once(
    device: torch.device, overrides: Sequence[str] = (), sizes: Sequence[int] = trials_at_once.SIZES, rounds: int = 3
) -> Iterator[Figure]:
    """Time more and more trials at once, over one."""
    seconds = trials_at_once.medians(device, rounds, sizes, overrides)
    for size in sizes[1:]:
        yield Figure(
            f"{size} trials of init_scale with BN at once: the time of one, times",
            seconds[size] / seconds[1],
            "×",
            counted(rounds, "round"),
            at_most=4 if size == max(sizes) else None,
            detail=f"{1000 * seconds[size]:.1f} ms; one trial: {1000 * seconds[1]:.1f} ms",
        )


def kernel_share(device: torch.device, overrides: Sequence[str] = TEN_SEEDS, steps: int = 50) -> Iterator[Figure]:
    """Tell how much of an update's time the GPU is at work."""
    loaded = load_study(list(overrides), device)
    for group in loaded.groups:
        step = _stepper(group, loaded.data, device)
        with profile(activities=supported_activities(), acc_events=True) as seen:
            _repeat(step, steps)
            wait()
        seconds = timed(partial(_repeat, step, steps))
        yield Figure(
            f"Share of an update in kernels, {_named(group)}",
            100 * kernel_seconds(seen.key_averages()) / seconds,
            " %",
            counted(steps, "update"),
            at_least=80,
            detail=f"{1000 * seconds / steps:.3f} ms an update",
        )


def fused(
    device: torch.device, studies: Sequence[Sequence[str]] = (TEN_SEEDS, ()), steps: int = 200, rounds: int = 5
) -> Iterator[Figure]:
    """Time updates with the kernels of `bnexp/nn/fused.py` over the same without them."""
    for overrides in studies:
        loaded = load_study(list(overrides), device)
        for group in loaded.groups:
            acts = {}
            for switch in (False, True):
                with mock.patch.object(work, "FUSED_KERNELS", switch):
                    acts[f"{switch}"] = partial(_repeat, _stepper(group, loaded.data, device), steps)
            without, fewer = (each.median / steps for each in in_turn(acts, rounds).values())
            yield Figure(
                f"An update of {_named(group)} with fused kernels: the time of one without, times",
                fewer / without,
                "×",
                counted(rounds, "round"),
                at_most=0.95,
                detail=f"{1000 * fewer:.3f} ms over {1000 * without:.3f} ms",
            )


def kernel_seconds(events: Iterable[FunctionEventAvg]) -> float:
    """Return the seconds of kernels, without the operations that launch them, which carry the same time again."""
    return sum(event.self_device_time_total for event in events if event.device_type == DeviceType.CUDA) / 1e6


def whole_epoch(device: torch.device, images: int = EPOCH, seeds: int = 8) -> Iterator[Figure]:
    """Count the calls of an epoch that wait: of made-up images of MNIST's shape, ten layers of 100, sigmoid."""
    config = resolve(
        {
            "name": "epoch",
            "data": {"name": "mnist", "val_size": 0},
            "model": {"depth": 10, "width": 100, "activation": "sigmoid"},
            "arms": ["none", "before", "after"],
            "train": {"epochs": 1, "batch_size": BATCH},
            "seeds": seeds,
        },
        "the benchmark",
    )
    steps = images // BATCH
    for group in groups(trials(config)):
        step = _stepper(group, _noise(group, device, images), device)
        _waits(step)  # what only the first one does
        # The profiler waits itself when it stops, after one update as after many.
        waits = _waits(partial(_repeat, step, 1 + steps)) - _waits(step)
        seconds = timed(partial(_repeat, step, steps))
        yield Figure(
            f"Calls that wait in an epoch of {images:,} images, batch {BATCH}, 10 × 100 sigmoid, {_named(group)}",
            waits,
            "",
            counted(steps, "update"),
            at_most=0,
            detail=f"{seconds:.2f} s an epoch",
        )


def _waits(act: Act) -> int:
    with profile(activities=supported_activities(), acc_events=True) as seen:
        act()
    return sum(event.count for event in seen.key_averages() if event.key in SYNCHRONIZING)


def _named(group: TrialGroup) -> str:
    return f"{counted(len(group.trials), 'trial')}, {', '.join(group.arms)}"


def _repeat(act: Act, times: int) -> None:
    for _ in range(times):
        act()


def _stepper(group: TrialGroup, data: Dataset, device: torch.device) -> Act:
    """Return an act that makes one update from a batch that lies on the device already."""
    settings = group.settings.train
    with numerics(settings, device):
        train_state = GroupTrainState(group, data)
        update = updater(train_state)
    batch_SB = torch.randint(len(data.train), (len(group.shared_seeds), settings.batch_size), device=device)
    rate_K1 = torch.full((len(group.trials), 1), settings.lr, device=device, dtype=dtype_of(settings.precision))
    number = torch.full((), 2, dtype=torch.int64, device=device)

    def act() -> None:
        update(batch_SB, rate_K1, number)

    act()
    wait()
    return act


def _noise(group: TrialGroup, device: torch.device, count: int) -> Dataset:
    images = torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(10, (count,), generator=torch.Generator().manual_seed(1))
    scaling = fit(images, "standard", {}, device, dtype_of(group.settings.train.precision))
    split = Split(scaling.kept(images.flatten(1)), labels.to(device))
    none = Split(split.images_NP[:0], split.labels_N[:0])
    return Dataset(DataShape((1, 28, 28), 10, count, 0, 0), split, none, none, scaling)
