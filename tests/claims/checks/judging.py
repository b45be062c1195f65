"""What tests of checks share: whether the findings of one hold, and which don't."""

from collections.abc import Iterable

from bnexp.claims.runs import Finding, Measured


def failing(yielded: Iterable[Finding | Measured]) -> list[str]:
    """What the findings that don't hold looked at; there has to be one that could."""
    findings = [each for each in yielded if isinstance(each, Finding)]
    assert any(each.error is not None for each in findings)
    assert all(each.what and each.found for each in findings)
    return [each.what for each in findings if not each.holds]
