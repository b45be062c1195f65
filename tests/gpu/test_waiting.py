"""That calls which wait are errors, is put back whatever happens, and no warning about it is one."""

import warnings
from contextlib import suppress

import pytest
import torch

from bnexp.training.graphs import no_waiting


def test_the_switch_is_put_back_and_its_warning_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def switch(mode: str) -> None:
        modes.append(mode)
        if mode == "error":
            warnings.warn("a prototype feature", stacklevel=1)

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", switch)
    with suppress(KeyboardInterrupt), no_waiting():
        raise KeyboardInterrupt
    assert modes == ["error", "default"]
