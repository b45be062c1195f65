"""A figure of a benchmark beside what it is to reach."""

from collections.abc import Iterable
from dataclasses import dataclass

from bnexp.report.table import MISSING, plain_table, to_markdown


@dataclass(frozen=True)
class Figure:
    """One line of a table, and one entry of the JSON."""

    what: str
    value: float
    unit: str
    """Follows the value: "×", " %", " images/s"."""
    n: str
    """Over how many of what: "3 rounds"."""
    at_least: float | None = None
    at_most: float | None = None
    published: float | None = None
    """What others report, to be near."""
    detail: str = ""
    """The numbers behind the value."""

    @property
    def target(self) -> str:
        """The target; empty if there is none."""
        limits = {"≥": self.at_least, "≤": self.at_most, "near": self.published}
        return ", ".join(f"{sign} {limit:g}{self.unit}" for sign, limit in limits.items() if limit is not None)

    @property
    def reached(self) -> bool | None:
        """Whether the value is within its limits; None where it has none."""
        if self.at_least is None and self.at_most is None:
            return None
        low, high = self.at_least, self.at_most
        return (low is None or self.value >= low) and (high is None or self.value <= high)


def table(figures: Iterable[Figure]) -> str:
    """Return figures as Markdown."""
    verdicts = {True: "yes", False: "no", None: MISSING}
    rows = [
        (
            each.what,
            _number(each.value) + each.unit,
            each.target or MISSING,
            verdicts[each.reached],
            each.n,
            each.detail,
        )
        for each in figures
    ]
    return to_markdown(plain_table(("what", "found", "to reach", "reached", "n", "from"), rows))


def _number(value: float) -> str:
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
