"""Telling errors of too little memory from others, and giving back what a broken training held."""

import gc

import torch


def out_of_memory(error: BaseException | None) -> bool:
    """Tell whether memory ran out, in this error or in one that it hides: a capture that breaks off raises its own."""
    if error is None:
        return False
    # On the CPU torch raises no type of its own.
    here = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
    return here or out_of_memory(error.__cause__ or error.__context__)


def release_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
