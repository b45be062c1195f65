"""What probes found as a table, and what was read of the data sets as lines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bnexp.config.text import counted, escaped
from bnexp.data.catalog import DataShape, Named
from bnexp.records import PROBE_COLUMNS
from bnexp.report.style import short_keys, value_text
from bnexp.report.table import Table, plain_table
from bnexp.store.tables import probe_of

SLICE = "landscape_slice"
"""Its many values are for a picture, not for a table."""


def probe_table(
    trials: pd.DataFrame, found: Sequence[Mapping[str, Any]], grid_keys: Sequence[str], taken: Sequence[str] = ()
) -> Table:
    """Return the mean, the least and the largest value over the trials that differ in nothing but the seed.

    Args:
        trials: trials.csv of the run.
        found: rows of probes.csv, of one moment per trial.
        grid_keys: columns of the swept settings.
        taken: the probes, of which a note says where one found nothing to measure.
    """
    short, probes = short_keys(grid_keys), pd.DataFrame(found, columns=PROBE_COLUMNS)
    sliced = probes["probe"].str.startswith(SLICE)
    shown = probes[~sliced].merge(trials[["trial", "arm", *grid_keys]], on="trial")
    # Without any name of a layer there is nothing to tell apart.
    columns = [*grid_keys, "arm", *(["layer"] if (shown["layer"] != "").any() else []), "probe"]
    rows = []
    for key, values in shown.groupby(columns, sort=False, dropna=False)["value"]:
        numbers = (values.mean(), values.min(), values.max())
        rows.append((*map(value_text, key), str(len(values)), *map(_number, numbers)))
    notes = [f"{SLICE}: {counted(int(sliced.sum()), 'value')}; bnexp report draws them"] if sliced.any() else []
    names = set(probes["probe"].map(probe_of))
    notes += [f"{name}: there is nothing to measure in these networks" for name in taken if name not in names]
    headers = (*(short.get(column, column) for column in columns), "n", "mean", "least", "largest")
    return plain_table(headers, rows, notes=notes)


def _number(value: float) -> str:
    return f"{value:.4g}"


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
    image = "×".join(map(str, shape.image))
    return f"{shape.classes} classes, {image}, {shape.train} training, {shape.val} validation, {shape.test} test images"
