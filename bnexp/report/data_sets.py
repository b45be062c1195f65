"""Lines about the data sets of an experiment: their sizes, what was found in them, and probable mistakes."""

from collections.abc import Iterable

from bnexp.config.text import escaped
from bnexp.data.catalog import DataShape, Named

MOST_SHOWN = 3
"""The most data sets whose sizes are written out."""


SPLITS = {"val": "validation", "test": "test"}


def data_lines(sets: Iterable[Named], split: str = "fixed") -> list[str]:
    """Write the sizes of the first few sets, what each seed draws, and all findings except warnings.

    Args:
        sets: names and shapes, one shape for each.
        split: the setting data.split of their trials.
    """
    sets = list(sets)
    sizes = list(dict.fromkeys(f"data: {name}, {_sizes(shape)}" for name, shape in sets))
    more = [f"data: {len(sizes) - MOST_SHOWN} other sizes"] if len(sizes) > MOST_SHOWN else []
    notes = dict.fromkeys(f"  {escaped(line)}" for _, shape in sets for line in shape.findings.lines())
    drawn = [name for key, name in SPLITS.items() if any(key in shape.drawn for _, shape in sets)]
    own = f"  each seed draws {' and '.join(drawn)} images of its own (data.split: per_seed)"
    return [*sizes[:MOST_SHOWN], *more, *([own] if drawn and split == "per_seed" else []), *notes]


def data_warnings(sets: Iterable[Named]) -> list[str]:
    """Write probable mistakes in the data."""
    return list(dict.fromkeys(f"data: {name}: {line}" for name, shape in sets for line in shape.findings.warnings))


def _sizes(shape: DataShape) -> str:
    image = shape.size.replace("x", "×")
    return f"{shape.classes} classes, {image}, {shape.train} training, {shape.val} validation, {shape.test} test images"
