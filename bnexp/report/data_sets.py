"""Lines about the data sets of an experiment: their sizes, what was found in them, and probable mistakes."""

from collections.abc import Iterable

from bnexp.config.text import escaped
from bnexp.data.catalog import DataShape, Named

MOST_SHOWN = 3
"""Data sets whose sizes are written out."""


def data_lines(sets: Iterable[Named]) -> list[str]:
    """Write the sizes of the first few sets, then all findings but warnings."""
    sets = list(sets)
    sizes = list(dict.fromkeys(f"data: {name}, {_sizes(shape)}" for name, shape in sets))
    more = [f"data: {len(sizes) - MOST_SHOWN} other sizes"] if len(sizes) > MOST_SHOWN else []
    notes = dict.fromkeys(f"  {escaped(line)}" for _, shape in sets for line in shape.findings.lines())
    return [*sizes[:MOST_SHOWN], *more, *notes]


def data_warnings(sets: Iterable[Named]) -> list[str]:
    """Write what is probably a mistake in the data."""
    return list(dict.fromkeys(f"data: {name}: {line}" for name, shape in sets for line in shape.findings.warnings))


def _sizes(shape: DataShape) -> str:
    image = shape.size.replace("x", "×")
    return f"{shape.classes} classes, {image}, {shape.train} training, {shape.val} validation, {shape.test} test images"
