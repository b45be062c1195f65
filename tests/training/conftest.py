"""What tests of training share."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def float64_scalars() -> Iterator[None]:
    """Let torch.optim keep its own step counts and products in float64: NAdam's float32 ones are off by 1e-8."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
