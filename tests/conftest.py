"""Shared by all tests: shapes and types of functions that take tensors are checked while they run."""

import atexit
import gc
import os
from collections.abc import Iterator

import jaxtyping
import pytest
import torch

from tests import shapes

jaxtyping.jaxtyped = shapes.once(jaxtyping.jaxtyped)
jaxtyping.install_import_hook(["bnexp.data", "bnexp.nn", "bnexp.probes", "bnexp.training"], "beartype.beartype")

from tests import once  # noqa: E402
from tests.gpu.pretended_cuda import PretendedCuda  # noqa: E402
from tests.gpu.stand_in import cpu_in_place  # noqa: E402
from tests.helpers import leave_out_report  # noqa: E402

# The tests' products are tiny: a second thread only waits for the first, for minutes where cores are busy.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def fast() -> Iterator[None]:
    """Read commands, digits and configurations once, wait for no disk, and draw nothing at the end of a run.

    No test's files outlive a power cut, and to draw takes most of the time of a tiny run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bnexp.report.summary.curves_png", lambda run: b"not drawn")
        once.remember(patch)
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def pretended_cuda(monkeypatch: pytest.MonkeyPatch) -> PretendedCuda:
    """Streams, and graphs that can be captured, without a GPU."""
    found = PretendedCuda()
    found.take_over(monkeypatch)
    return found


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is shown of a run at its end."""
    leave_out_report(monkeypatch)


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=[pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU]), "stand-in"])
def gpu(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A GPU; and the CPU in its place, so that no test of a GPU goes without ever being run."""
    if request.param == "cuda":
        yield torch.device("cuda")
    else:
        with cpu_in_place() as device:
            yield device


# Nothing that is imported becomes garbage.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what the tests import out of the search for garbage, which running out of memory asks for."""
    gc.enable()
    gc.freeze()
    atexit.register(gc.unfreeze)  # or modules written in C complain of leaks as Python ends
