"""The arithmetic of each precision, and the library switches for it."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from bnexp.config.train import TrainSettings

SMALL_UPDATE = 5e7
"""Below this an update takes one thread. On two cores, two were no faster than one at 0.9e7 (hands_on_elu) and 1.9e7
(quickstart), and 1.7 times as fast at 1.9e8 (init_scale); where another program wants the cores, two small ones that
wait for each other took two to five times as long."""

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's numbers of its two settings, see mallopt(3)."""


def dtype_of(precision: str) -> torch.dtype:
    """Return the type that parameters and images are kept in: bf16 and tf32 only shorten products."""
    return torch.float64 if precision == "fp64" else torch.float32


def totals_dtype(device: torch.device) -> torch.dtype:
    """Return the type of sums over many images or steps: float64, which Apple's GPUs don't have."""
    return torch.float32 if device.type == "mps" else torch.float64


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def numerics(settings: TrainSettings, device: torch.device) -> Iterator[None]:
    """Set the switches while a group trains, and put them back; a GPU is made the current one.

    Denormal numbers are flushed to zero on the CPU: with tiny initial weights they slow products down
    and carry no information.
    """
    if device.type == "cpu":
        _keep_freed_memory()
    products, tf32 = torch.get_float32_matmul_precision(), settings.precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    before = _flushes_denormals()
    flushed = device.type == "cpu" and torch.set_flush_denormal(True)
    try:
        # Streams and graphs belong to the current GPU, and no GPU is -1. Convolutions have a switch of their own, and
        # their algorithms are worth trying out: nearly all batches have one shape.
        with (
            torch.cuda.device(device if device.type == "cuda" else -1),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=tf32),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        if flushed:
            torch.set_flush_denormal(before)


def full_precision(settings: TrainSettings) -> TrainSettings:
    """Return the settings with products in full precision, for exact measurements."""
    return settings if settings.precision == "fp64" else settings.model_copy(update={"precision": "fp32"})


@contextmanager
def threads(macs: int, device: torch.device) -> Iterator[None]:
    """Use one thread for small updates, and put the count back.

    Args:
        macs: multiply-accumulates of a forward pass, over the trials that compute at once; an update takes about 6
            operations for each.
        device: the setting matters on the CPU alone.
    """
    before = torch.get_num_threads()
    with torch_threads(1 if device.type == "cpu" and macs < SMALL_UPDATE else before):
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let operations use so many threads, and put the count back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _keep_freed_memory() -> None:
    """Let the process keep memory that tensors freed, for the next tensors; it goes back when the process ends.

    By default glibc hands every large block back to the system, which clears it page by page when the next step
    asks for it again. On two cores the first run of init_scale in a process made 320,000 to 390,000 page faults and
    took 6.7 to 6.9 s; this way 19,000 to 21,000 and 4.7 to 5.7 s (three runs each, in turn). Huge pages (torch's
    THP_MEM_ALLOC_ENABLE) took 5.4 to 8.0 s.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, 2**25)  # the largest that glibc takes
        library.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def _flushes_denormals() -> bool:
    # torch can set this but not read it.
    return bool((torch.tensor(1e-310, dtype=torch.float64) * 0.5) == 0)


def autocast(settings: TrainSettings, device: torch.device) -> AbstractContextManager[object]:
    """Return the context for a forward pass: bfloat16 products under bf16, no change otherwise."""
    # Entering one that is not enabled takes a thirtieth of a small update.
    return torch.autocast(device.type, torch.bfloat16) if settings.precision == "bf16" else nullcontext()
