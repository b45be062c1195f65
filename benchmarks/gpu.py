"""What a GPU makes of a sweep: against the plain loop, against one trial, and against its own kernels."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from benchmarks.rivals import in_memory
from benchmarks.study import Loaded, load_study
from benchmarks.timing import in_turn, timed, wait
from bnexp.config.load import resolve
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training.graphs import updater
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from bnexp.training.numerics import dtype_of, numerics

FEW, STEPS = 4, 50
SYNCHRONIZING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""Calls that make the host wait; cudaMemcpyAsync is another name."""


def run(device: torch.device, rounds: int = 3) -> str:
    """Return the findings as Markdown."""
    return "\n\n".join([_against_loop(device, rounds), _kernel_share(device), _whole_epoch(device)])


def _against_loop(device: torch.device, rounds: int) -> str:
    loaded = load_study(["seeds=10"], device)
    study = loaded.study
    few = [study.arms[i * len(study.arms) // FEW + 2] for i in range(FEW)]
    _all(loaded)
    _few(loaded, few[:1])
    times = in_turn({"bnexp": partial(_all, loaded), "loop": partial(_few, loaded, few)}, rounds)
    count = sum(len(group.trials) for group in loaded.groups)
    loop = times["loop"].median * count / FEW
    return (
        f"`init_scale` with 10 seeds, {count} trials: bnexp {times['bnexp']} s; the plain loop over tensors in GPU "
        f"memory {loop:.0f} s, extrapolated from {FEW} trials ({times['loop']} s); {loop / times['bnexp'].median:.0f}× "
        f"(to reach: 100×), {rounds} rounds."
    )


def _all(loaded: Loaded) -> None:
    for group in loaded.groups:
        for _ in train(group, loaded.data):
            pass


def _few(loaded: Loaded, arms: list[tuple[float, bool]]) -> None:
    for scale, norm in arms:
        in_memory.train(loaded.study, scale, norm)


def _kernel_share(device: torch.device) -> str:
    loaded = load_study(["seeds=10"], device)
    shares = []
    for group in loaded.groups:
        step = _stepper(group, loaded.data, device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as seen:
            _repeat(step, STEPS)
            wait()
        seconds = timed(partial(_repeat, step, STEPS))
        kernels = kernel_seconds(seen.key_averages())
        shares.append(f"{', '.join(group.arms)} {100 * kernels / seconds:.0f} % of {1000 * seconds / STEPS:.2f} ms")
    return f"Share of a step's time in kernels, {STEPS} steps of each group: {'; '.join(shares)} (to reach: 80 %)."


def kernel_seconds(events: Iterable[FunctionEventAvg]) -> float:
    """Return the seconds of kernels, without the operations that launch them, which carry the same time again."""
    return sum(event.self_device_time_total for event in events if event.device_type == DeviceType.CUDA) / 1e6


def _whole_epoch(device: torch.device) -> str:
    config = resolve(
        {
            "name": "epoch",
            "data": {"name": "mnist", "val_size": 0},
            "model": {"depth": 10, "width": 100, "activation": "sigmoid"},
            "arms": ["none", "before", "after"],
            "train": {"epochs": 1, "batch_size": 128},
            "seeds": 8,
        },
        "the benchmark",
    )
    found = []
    for group in groups(trials(config)):
        step = _stepper(group, _noise(group, device), device)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as seen:
            _repeat(step, 60_000 // 128)
        waits = sum(event.count for event in seen.key_averages() if event.key in SYNCHRONIZING)
        seconds = timed(partial(_repeat, step, 60_000 // 128))
        # The profiler itself waits once, when it stops.
        found.append(f"{', '.join(group.arms)} {seconds:.2f} s and {waits} waiting calls")
    return (
        "An epoch of 60,000 images at batch 128, 10 × 100 sigmoid, 8 seeds an arm (made-up images of MNIST's shape): "
        f"{'; '.join(found)} (to reach: no host synchronisation inside the epoch)."
    )


def _repeat(act: Callable[[], None], times: int) -> None:
    for _ in range(times):
        act()


def _stepper(group: TrialGroup, data: Dataset, device: torch.device) -> Callable[[], None]:
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


def _noise(group: TrialGroup, device: torch.device) -> Dataset:
    images = torch.randint(256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(10, (60_000,), generator=torch.Generator().manual_seed(1))
    split = Split(images.flatten(1).to(device), labels.to(device))
    none = Split(split.images_NP[:0], split.labels_N[:0])
    scaling = fit(images, "standard", {}, device, dtype_of(group.settings.train.precision))
    return Dataset(DataShape((1, 28, 28), 10, 60_000, 0, 0), split, none, none, scaling)
