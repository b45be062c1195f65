"""What probes found, as a table: a row per arm, grid point, layer and value, over the seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bnexp.records import PROBE_COLUMNS
from bnexp.report.labels import short_keys, value_text
from bnexp.report.table import Table
from bnexp.store.blocks import probe_of
from bnexp.words import counted

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
    return Table(headers, tuple(rows), notes=tuple(notes))


def _number(value: float) -> str:
    return f"{value:.4g}"
