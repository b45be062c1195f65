"""Every test of a GPU runs on a stand-in for it, which minds what a GPU minds."""

from pathlib import Path

import pytest
import torch

from bnexp.training.graphs import no_waiting
from tests.gpu.stand_in import MEMORY, cpu_in_place

TESTS = Path(__file__).parents[1]


def test_what_is_marked_gpu_has_a_stand_in() -> None:
    marked = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py") if "mark.gpu" in path.read_text()}
    assert marked == {"conftest.py", Path(__file__).relative_to(TESTS).as_posix()}, "use the fixture gpu instead"


def test_a_call_that_waits_is_an_error_where_a_test_says_so() -> None:
    with cpu_in_place():
        number = torch.ones(1)
        with no_waiting(), pytest.raises(RuntimeError, match="synchronizing"):
            number.item()
        assert number.item() == 1


def test_memory_runs_out_where_a_test_limits_it() -> None:
    with cpu_in_place():
        torch.cuda.set_per_process_memory_fraction(4096 / MEMORY)
        kept = [torch.zeros(1024, dtype=torch.uint8) for _ in range(4)]
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(1)
        kept.clear()
        assert len(torch.zeros(4096, dtype=torch.uint8)) == 4096
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.zeros(4097)
