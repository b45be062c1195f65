"""Shared by all tests: shapes and types of functions that take tensors are checked while they run."""

import gc

import torch
from jaxtyping import install_import_hook

install_import_hook(["bnexp.data", "bnexp.nn", "bnexp.probes", "bnexp.training"], "beartype.beartype")

# The tests' products are tiny: a second thread only waits for the first, for minutes where cores are busy.
torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Leave what the tests import out of the search for garbage, which running out of memory asks for."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Put it back, or modules written in C complain of leaks as Python ends."""
    gc.unfreeze()
