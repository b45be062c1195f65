"""Shared by tests of checks: the digits are read once, networks are small, nothing is timed and no picture drawn."""

from collections.abc import Iterable
from functools import cache

import pytest

from bnexp.claims.checks import evaluation, formulas
from bnexp.claims.runs import Finding, Measured
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
    monkeypatch.setattr(evaluation, "NETWORKS", {"mlp": {"depth": 2, "width": 16, "activation": "relu"}})
    monkeypatch.setattr(evaluation, "in_turn", lambda acts, rounds, times: [[2.0], [1.0]])
    monkeypatch.setattr(formulas, "MOMENTA", (0.01, 0.1))
    monkeypatch.setattr(formulas, "MODEL", formulas.MODEL | {"width": 8})


def failing(yielded: Iterable[Finding | Measured]) -> list[str]:
    """What the findings that don't hold looked at; there has to be one that could."""
    findings = [each for each in yielded if isinstance(each, Finding)]
    assert any(each.error is not None for each in findings)
    assert all(each.what and each.found for each in findings)
    return [each.what for each in findings if not each.holds]
