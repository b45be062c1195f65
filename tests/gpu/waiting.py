"""Calls that wait for the GPU, made errors."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def no_waiting() -> Iterator[None]:
    """Make every call that waits for the GPU an error, and only here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says once that it may not notice every such call
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
