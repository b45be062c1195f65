"""Shared by tests of checks: the digits are read once, and no pictures are drawn of the runs that checks look at."""

from functools import cache

import pytest

from bnexp.config.data import DataSettings
from bnexp.data import raw
from bnexp.data.raw import RawImages
from bnexp.runner import run as runner

read_digits = raw.read_digits
"""Before the fixture below replaces it."""


@cache
def known() -> RawImages:
    return read_digits(DataSettings())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnexp.data.raw.read_digits", lambda settings: known())
    monkeypatch.setattr(runner, "write_report_files", lambda *args: [])
