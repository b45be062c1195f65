"""The table of claims: a line for each regime, and for each other measure where they are asked for."""

from collections.abc import Sequence

from bnexp.report.claims.rows import Row
from bnexp.report.comparison_table import Column, filled, number_text, p_text
from bnexp.report.table import Table

NOTES = (
    "regime: equal, all arms with the same settings; tuned, every arm with what it chose on validation images, with "
    "seeds of its own; measured, side by side by a check; exact, a check that holds or fails",
    "Δ: mean and 95 % t interval over the paired seeds; a number above 0 agrees with the claim, a ratio (×) above 1",
    "p (Holm): of the paired t test, and adjusted for the number of claims that are judged together",
    "epochs to threshold: median, censored; diverged: of all trials; s/step: arm / baseline",
    "verdict: OPPOSITE, the interval is below 0; SUPPORTED, above 0 and its mean at least the margin; TOO SMALL, its "
    "upper end is below the margin; INCONCLUSIVE, else. It holds for the setting that was tested, and no other",
    "published: † from memory of the paper, unverified",
)


def claims_table(rows: Sequence[Row], title: str = "", *, everything: bool = False) -> Table:
    """Return the table of claims.

    Args:
        rows: as from bnexp.report.claims.rows.
        title: above the table.
        everything: also the measures that stand beside those that decide.
    """
    first = {row.claim: row.measure for row in reversed(rows) if row.decides}
    shown = [row for row in rows if everything or row.decides or row.measure == first.get(row.claim)]
    return filled(_columns(everything), shown, title, NOTES)


def change_text(row: Row) -> str:
    """Write a change with its interval; a ratio as ×."""
    if row.change is None:
        return "-"
    mean, low, high = row.change
    form = "×{:.3g}" if row.ratio else "{:+.3g}"
    return form.format(mean) + ("" if low is None or high is None else f" [{form.format(low)}, {form.format(high)}]")


def verdict_text(row: Row) -> str:
    """Write a verdict with what is to be said about it."""
    return "; ".join((row.verdict, *row.reasons))


def spread_text(values: tuple[float, float | None] | None) -> str:
    """Write a mean and a standard deviation."""
    if values is None:
        return "-"
    mean, deviation = values
    return f"{mean:.3g}" if deviation is None else f"{mean:.3g} ± {deviation:.2g}"


def _columns(everything: bool) -> list[Column[Row]]:
    return [
        ("claim", lambda row: row.claim),
        *([("measure", lambda row: row.measure or "-")] if everything else []),
        ("regime", lambda row: row.regime),
        ("rates", lambda row: " | ".join(row.rates) or "-"),
        ("n", lambda row: "-" if row.n is None else str(row.n)),
        ("baseline", lambda row: _named(row, 0)),
        ("arm", lambda row: _named(row, 1)),
        ("Δ [interval]", change_text),
        ("d_z", lambda row: number_text(row.effect, ".2f")),
        ("p (Holm)", lambda row: "-" if row.p is None else f"{p_text(row.p)} ({p_text(row.p_holm)})"),
        ("epochs to threshold", lambda row: " | ".join(row.time_to) or "-"),
        ("diverged", lambda row: " | ".join(row.diverged) or "-"),
        ("s/step", lambda row: "-" if row.step_ratio is None else f"×{row.step_ratio:.2f}"),
        ("verdict", verdict_text),
        ("published", lambda row: "; ".join(row.published) or "-"),
    ]


def _named(row: Row, place: int) -> str:
    values = (row.baseline, row.treated)[place]
    return "-" if row.arms is None else f"{row.arms[place]} {spread_text(values)}"
