"""Every figure that a comparison has something for, as PNG to look at and as SVG to put into a document."""

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.study import METRICS, Study, is_number
from bnexp.config.text import listed
from bnexp.report.figures.curves import curves_figure, default_curve_metric
from bnexp.report.figures.differences import difference_figure
from bnexp.report.figures.heat_map import heat_map_figure
from bnexp.report.figures.probe_gradients import gradient_norms_figure
from bnexp.report.figures.probe_landscape import landscape_bands_figure, slices_figure
from bnexp.report.figures.probe_layers import activations_figure, covariate_shift_figure, saturation_figure
from bnexp.report.figures.probe_panels import Probed, make_probed
from bnexp.report.figures.ranges import usable_range_figure
from bnexp.report.figures.sheet import picture
from bnexp.store.files import replace

FIGURES: dict[str, Callable[[Probed, str], Figure | None]] = {
    "gradient_norms": gradient_norms_figure,
    "activations": activations_figure,
    "saturation": saturation_figure,
    "landscape_bands": landscape_bands_figure,
    "slices": slices_figure,
    "covariate_shift": covariate_shift_figure,
}
"""By the name of the file."""

_PROBE_FIGURES: tuple[Literal["png", "svg"], ...] = ("png", "svg")


def write_probe_pictures(study: Study, folder: Path) -> tuple[Path, ...]:
    """Write those of FIGURES that the study's probes have something for; return the files.

    Args:
        study: the trials and their probes.
        folder: where the files go; it has to be there.
    """
    written = []
    for name, figure in probe_figures(study, title=study.question or study.name):
        for kind in _PROBE_FIGURES:
            path = folder / f"{name}.{kind}"
            replace(path, picture(figure, kind))
            written.append(path)
    return tuple(written)


def probe_figures(study: Study, *, title: str) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture."""
    if study.probes is None:
        return
    probed = make_probed(study.trials, study.probes, grid_keys=study.grid_keys, arms=study.arms)
    for name, make in FIGURES.items():
        if figure := make(probed, title):
            yield name, figure


_KINDS: tuple[Literal["png", "svg"], ...] = ("png", "svg")


def write_pictures(study: Study, comparison: Comparison, folder: Path) -> tuple[Path, ...]:
    """Write curves, time, differences, ranges and heat_map, as far as they apply and show something; return the files.

    Args:
        study: the trials and their curves.
        comparison: of that study.
        folder: where the files go; it has to be there.
    """
    written = []
    for name, reason, draw in _kinds(study, comparison):
        if reason:
            continue
        figure = draw()
        for kind in _KINDS:
            path = folder / f"{name}.{kind}"
            replace(path, picture(figure, kind))
            written.append(path)
    return tuple(written)


def figures(study: Study, comparison: Comparison) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name of every picture that shows something, and what draws it; those of probes come last."""
    yield from ((name, draw) for name, reason, draw in _kinds(study, comparison) if not reason)
    for name, figure in probe_figures(study, title=study.question or study.name):
        yield name, lambda drawn=figure: drawn  # type: ignore[misc]


def pictures_left_out(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """Return a line for each reason why pictures that apply would show nothing yet."""
    by_reason: dict[str, list[str]] = {}
    for name, reason, _ in _kinds(study, comparison):
        if reason:
            by_reason.setdefault(reason, []).append(name)
    return tuple(f"{listed(names)}: {reason}" for reason, names in by_reason.items())


def _kinds(study: Study, comparison: Comparison) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """Yield of each picture that applies its name, why it would show nothing, if so, and what draws it."""
    title, arms, rows, metric = study.question or study.name, study.arms, comparison.rows, comparison.metric
    recorded = "" if (study.curves["step"] > 0).any() else "nothing is recorded after the start of training"
    finished = "" if comparison.finished else "no trial has ended"
    paired = finished or ("" if any(row.pairs for row in rows) else "no trial has a finished partner")
    yield "curves", recorded, lambda: _curves(study, metric, title, timed=False)
    if recorded or study.curves["seconds"].max() > 0:
        yield "time", recorded, lambda: _curves(study, metric, title, timed=True)
    if any(row.arm != comparison.baseline for row in rows):
        yield (
            "differences",
            paired,
            lambda: difference_figure(rows, baseline=comparison.baseline, arms=arms, metric=metric, title=title),
        )
    if comparison.robustness:
        tried = {row.axis: study.trials[row.axis].dropna().unique().tolist() for row in comparison.robustness}
        yield (
            "ranges",
            finished,
            lambda: usable_range_figure(comparison.robustness, arms=arms, title=title, tried=tried),
        )
    if not comparison.data_sets and (crossed := _crossed(comparison)):
        x, y = crossed
        yield "heat_map", finished, lambda: heat_map_figure(rows, x=x, y=y, arms=arms, metric=metric, title=title)


def _curves(study: Study, metric: str, title: str, *, timed: bool) -> Figure:
    """Return the curves of the accuracy that goes with the metric, where it was recorded."""
    column = METRICS[metric]
    if study.curves[column].isna().all():
        column = default_curve_metric(study.curves)
    return curves_figure(
        study.trials,
        study.curves,
        grid_keys=study.grid_keys,
        arms=study.arms,
        column=column,
        title=title,
        timed=timed,
    )


def _crossed(comparison: Comparison) -> tuple[str, str] | None:
    """Return the first two grid keys of numbers that are crossed: not one value of the one at each of the other."""
    points = [row.point for row in comparison.rows]
    numbers = [key for key in comparison.grid_keys if all(is_number(point[key]) for point in points)]
    for x, y in combinations(numbers, 2):
        pairs = {(point[x], point[y]) for point in points}
        if len(pairs) > max(len({at for at, _ in pairs}), len({at for _, at in pairs})):
            return x, y
    return None
