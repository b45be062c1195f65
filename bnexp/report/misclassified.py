"""Tables of the test images on which arms and baseline disagree: how many, and those that are shown."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.misclassified import Disagreement, Misclassified, ShownImage
from bnexp.analysis.stats import Interval
from bnexp.analysis.study import Study
from bnexp.report.columns import column, count, number
from bnexp.report.style import point_title
from bnexp.report.table import Cell, Column, Table, plain_table


def count_texts(images: Interval) -> tuple[str, str]:
    """Write a mean number of images and its interval, which is empty where it has none."""
    return f"{images.mean:,.1f}", "" if images.low is None else f"[{images.low:,.1f}, {images.high:,.1f}]"


def images_table(study: Study, comparison: Comparison, arms: Sequence[Disagreement]) -> Table:
    """Return in how many test images each arm and the baseline disagree."""
    chosen = any((row.arm, row.point) == (row.baseline, arms[0].point) for row in comparison.best)
    baseline, seeds = study.label(arms[0].baseline), max(each.seeds for each in arms)
    kept = sum(each.seeds for each in arms), sum(each.planned for each in arms)
    notes = [
        f"Of {len(arms[0].labels_N):,} test images; mean over the pairs",
        " with its 95 % interval" if seeds > 1 else "",
        f", at {point_title(arms[0].point)}" if arms[0].point else "",
        f", which {baseline} chose on validation images." if chosen else ".",
        f" Predictions of {kept[0]} of {kept[1]} pairs are kept." if kept[0] < kept[1] else "",
    ]

    def images(header: str, name: str) -> Column[Any]:
        return column(header, [name], lambda found: Cell(*count_texts(found), found.mean))

    columns: list[Column[Any]] = [
        Column("arm", lambda row: study.label(row.arm), kind="arm"),
        column("pairs", ["seeds"], count),
        images(f"arm wrong, {baseline} right", "lost"),
        images(f"arm right, {baseline} wrong", "won"),
        images("both wrong", "both"),
        column(f"{baseline} wrong, right with another seed", ["between_seeds"], partial(number, digits=",.1f")),
    ]
    return Table(tuple(columns), arms, "Wrong and right", ("".join(notes),), name="misclassified-counts").known()


def shown_table(study: Study, found: Misclassified) -> Table:
    """Return the images that are shown, by their numbers."""

    def row(arm: Disagreement, image: ShownImage) -> tuple[str, ...]:
        wrong = (f"{count} of {arm.seeds}" for count in (image.wrong, image.partner_wrong))
        return study.label(arm.arm), str(image.number), str(image.label), str(image.predicted), *wrong

    shown = [row(arm, image) for arm in found.arms for images in found.shown(arm) for image in images]
    baseline = study.label(found.arms[0].baseline)
    headers = ("arm", "image", "label", "predicted", "seeds arm wrong", f"seeds {baseline} wrong")
    notes = ("Test images are counted from 0, in the order of the data set.",)
    return plain_table(headers, shown, "The images shown", notes, name="misclassified-shown")
