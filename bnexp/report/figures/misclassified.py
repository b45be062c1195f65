"""Grids of test images that an arm gets wrong and the baseline gets right, and the other way round.

Lengths in a grid are in places: a place is as wide as an image and the gap beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bnexp.analysis.misclassified import Disagreement, Misclassified, ShownImage
from bnexp.analysis.study import Study
from bnexp.report.figures.frame import LINE, NARROW, SMALL, join_caption, new_figure, shorten_text
from bnexp.report.misclassified import count_texts
from bnexp.report.style import GREY, point_title
from bnexp.store.checkpoints import KeptImages

ACROSS = 8
"""Images in a row."""
_PLACE = (NARROW - 0.2) / ACROSS
"""Width of a place in inches."""
_WIDE = 0.9
"""Width of an image in places."""
_LINE = 0.85 * LINE / _PLACE
"""Height of a line of text; there is one above each image, and one below."""
_HEAD, _GAP = 1.3 * _LINE, 0.3 * _LINE
"""Height of a grid's title; the space below a row."""


@dataclass(frozen=True)
class _Grid:
    """The images of one arm and direction."""

    title: str
    seeds: int
    images: Sequence[ShownImage]

    def height(self, row: float) -> float:
        return _HEAD + -(-len(self.images) // ACROSS) * row


def misclassified_figure(study: Study, found: Misclassified, title: str) -> Figure | None:
    """Return the figure: two grids per arm; None where there is no image to show."""
    grids = [grid for arm in found.arms for grid in _grids(study, arm, found)]
    if not any(grid.images for grid in grids):
        return None
    *_, height, width = found.images.images_MCHW.shape
    high = _WIDE * min(max(height / width, 0.25), 4.0)
    sizes = [grid.height(high + 2 * _LINE + _GAP) for grid in grids]
    inches = sum(sizes) * _PLACE + 0.1
    figure, body = new_figure(title=title, caption=_caption(study, found), handles=[], width=NARROW, height=inches)
    panels = body.subplots(len(grids), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, grid, size in zip(panels, grids, sizes, strict=True):
        axes.set(xlim=(0, ACROSS), ylim=(size, 0), aspect="equal", anchor="NW")
        axes.axis("off")
        _draw_grid(axes, grid, found.images, high)
    return figure


def _grids(study: Study, arm: Disagreement, found: Misclassified) -> Iterator[_Grid]:
    names, (losses, gains) = (study.label(arm.arm), study.label(arm.baseline)), found.shown(arm)
    for (wrong, right), count, shown in ((names, arm.lost, losses), (names[::-1], arm.won, gains)):
        title = f"Wrong: {wrong}. Right: {right}. {' '.join(count_texts(count)).strip()} images"
        yield _Grid(shorten_text(title, NARROW - 0.4, SMALL), arm.seeds, shown)


def _draw_grid(axes: Axes, grid: _Grid, kept: KeptImages, high: float) -> None:
    axes.text(0.05, _HEAD / 2, grid.title, size=SMALL, weight="bold", va="center", parse_math=False)
    for number, image in enumerate(grid.images):
        left = number % ACROSS + (1 - _WIDE) / 2
        top = _HEAD + number // ACROSS * (high + 2 * _LINE + _GAP) + _LINE
        picture_CHW = kept.images_MCHW[kept.numbers_M.searchsorted(image.number)]
        # Three channels are colours. Of any other number of channels the mean is drawn, in grey.
        picture = np.moveaxis(picture_CHW, 0, 2) if len(picture_CHW) == 3 else np.mean(picture_CHW, axis=0)
        extent = (left, left + _WIDE, top + high, top)
        axes.imshow(
            picture, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none", aspect=axes.get_aspect()
        )
        axes.add_patch(Rectangle((left, top), _WIDE, high, fill=False, edgecolor=GREY, linewidth=0.4))
        classes = f"{image.label} as {image.predicted}"
        seeds = f"{image.wrong}/{grid.seeds}, {image.partner_wrong}/{grid.seeds}"
        for text, y, colour in ((classes, top - _LINE / 2, "black"), (seeds, top + high + _LINE / 2, GREY)):
            axes.text(left + _WIDE / 2, y, text, size=SMALL - 1, color=colour, ha="center", va="center")


def _caption(study: Study, found: Misclassified) -> str:
    first, seeds = found.arms[0], max(arm.seeds for arm in found.arms)
    counts = f"counts: of {len(first.labels_N):,} test images"
    return join_caption(
        f"at {point_title(first.point)}" if first.point else "",
        f"{counts}, the mean over {seeds} seeds with its 95 % interval" if seeds > 1 else f"{counts}, one seed",
        "shown are the images on which the two differ in the most seeds, of equals the first",
        "above an image: its label, and the class most often predicted in its place",
        f"below: in how many seeds the arm is wrong, and in how many the baseline ({study.label(first.baseline)})",
    )
