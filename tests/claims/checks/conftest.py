"""Shared by tests of checks: the digits are read once, and no pictures are drawn of the runs that checks look at."""

from functools import cache

import pytest

from bnexp.config.data import DataSettings
from bnexp.data import dataset
from bnexp.data import sources as digits
from bnexp.data.raw import RawImages
from bnexp.runner import run as runner


@cache
def known() -> RawImages:
    return digits.read(DataSettings())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dataset.READERS, "digits", lambda settings: known())
    monkeypatch.setattr(runner, "write_report_files", lambda *args: [])
