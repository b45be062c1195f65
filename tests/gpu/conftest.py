"""Shared by what is rehearsed."""

from collections.abc import Iterator

import pytest

from tests.gpu.fake_cuda import fake_cuda


@pytest.fixture
def fake_device() -> Iterator[None]:
    """Let tensors of a CUDA device be fake ones."""
    with fake_cuda():
        yield
