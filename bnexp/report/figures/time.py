"""Accuracy against seconds of training: what an arm's epochs cost, beside what they bring."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from bnexp.report.figures.curves import curve_figure
from bnexp.report.panels import make_panels


def time_figure(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    grid_keys: Sequence[str],
    arms: Sequence[str],
    column: str,
    title: str,
    max_panels: int = 16,
) -> Figure:
    """Return the learning curves over time, a small panel per grid point; column is an accuracy of curves.csv.

    A trial's seconds are its share of the time of the group that it trained in, so arms can be held
    against each other where their groups were equally large.
    """
    panels = make_panels(trials, curves, grid_keys=grid_keys, arms=arms, column=column, limit=max_panels, timed=True)
    return curve_figure(panels, arms=arms, label=column.replace("_", " "), title=title)
