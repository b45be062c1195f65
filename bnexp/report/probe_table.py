"""What probes found, as a table: a row per arm, grid point, layer and value, over the seeds."""

from collections.abc import Sequence

import pandas as pd

from bnexp.report.labels import counted, short_keys, value_text
from bnexp.report.table import Table

SLICE = "landscape_slice"
"""Its many values are for a picture, not for a table."""


def probe_table(trials: pd.DataFrame, probes: pd.DataFrame, grid_keys: Sequence[str]) -> Table:
    """Return the mean, the least and the largest value over the trials that differ in nothing but the seed.

    Args:
        trials: trials.csv of the run.
        probes: rows of probes.csv, of one moment per trial.
        grid_keys: columns of the swept settings.
    """
    short = short_keys(grid_keys)
    sliced = probes["probe"].str.startswith(SLICE)
    shown = probes[~sliced].merge(trials[["trial", "arm", *grid_keys]], on="trial")
    # Without any name of a layer there is nothing to tell apart.
    columns = [*grid_keys, "arm", *(["layer"] if (shown["layer"] != "").any() else []), "probe"]
    rows = []
    for key, values in shown.groupby(columns, sort=False, dropna=False)["value"]:
        numbers = (values.mean(), values.min(), values.max())
        rows.append((*map(value_text, key), str(len(values)), *map(_number, numbers)))
    notes = [f"{SLICE}: {counted(int(sliced.sum()), 'value')}; bnexp report draws them"] if sliced.any() else []
    headers = (*(short.get(column, column) for column in columns), "n", "mean", "least", "largest")
    return Table(headers, tuple(rows), notes=tuple(notes))


def _number(value: float) -> str:
    return f"{value:.4g}"
