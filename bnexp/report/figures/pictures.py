"""All pictures that apply to a study, as Matplotlib figures and as files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

from matplotlib.backend_bases import get_registered_canvas_class
from matplotlib.figure import Figure

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.misclassified import misclassified
from bnexp.analysis.study import Study, is_number
from bnexp.analysis.tuned_runs import why_no_tuning
from bnexp.config.text import listed
from bnexp.errors import InputError, nearest
from bnexp.report.figures.curves import curves_figure
from bnexp.report.figures.differences import difference_figure
from bnexp.report.figures.frame import FileKind, figure_bytes
from bnexp.report.figures.heat_map import heat_map_figure
from bnexp.report.figures.ladder import ladder_figure
from bnexp.report.figures.misclassified import misclassified_figure
from bnexp.report.figures.probe_landscape import landscape_bands_figure, slices_figure
from bnexp.report.figures.probe_layers import (
    activations_figure,
    covariate_shift_figure,
    gradient_norms_figure,
    saturation_figure,
)
from bnexp.report.figures.probe_panels import Probed, make_probed
from bnexp.report.figures.sweep import sweep_figure, usable_range_figure
from bnexp.report.figures.tuning_curve import tuning_figure
from bnexp.report.style import short_keys
from bnexp.store.checkpoints import IMAGES, Checkpoints
from bnexp.store.files import replace

FILES: tuple[FileKind, ...] = ("png", "svg", "pdf")
LACKING = {"misclassified": "no two arms have predictions for the same test images, or none that differ"}
"""Why a picture other than those of probes has nothing to show."""

PROBE_FIGURES: dict[str, Callable[[Probed], Figure | None]] = {
    "gradient_norms": gradient_norms_figure,
    "activations": activations_figure,
    "saturation": saturation_figure,
    "landscape_bands": landscape_bands_figure,
    "slices": slices_figure,
    "covariate_shift": covariate_shift_figure,
}
"""Functions by the names of their pictures; each returns None if its probe was not taken."""


@dataclass(frozen=True)
class Picture:
    """A picture that applies to a study."""

    figure: Callable[[], Figure | None]
    """Draws it; returns None if nothing was measured for it."""
    empty: str = ""
    """The reason if it would show nothing yet."""


def draw(kind: str, study: Study, comparison: Comparison) -> Figure:
    """Return the picture of a kind: one of the names of `pictures`.

    Raises:
        InputError: the study has no such picture, or nothing to show in it yet.
    """
    there = pictures(study, comparison)
    if kind not in there:
        raise InputError(f"{kind}: no such picture here{nearest(kind, list(there))}; there are {', '.join(there)}")
    if reason := there[kind].empty:
        raise InputError(f"{kind}: nothing to show yet, {reason}")
    if figure := there[kind].figure():
        return figure
    raise InputError(f"{kind}: nothing to show, {LACKING.get(kind, 'its probe was not taken')}")


def pictures(study: Study, comparison: Comparison) -> dict[str, Picture]:
    """Return the pictures that apply, by name.

    These are curves, time, over_<setting>, differences, ladder, tuning, ranges, heat_map, misclassified,
    and those of probes.

    Args:
        study: the trials and their curves; with its probes for the pictures of those.
        comparison: of that study.
    """
    results = dict(_results(study, comparison))
    if study.probes is not None:
        probed = make_probed(study, study.title)
        results |= {name: Picture(partial(make, probed)) for name, make in PROBE_FIGURES.items()}
    return results


def _results(study: Study, comparison: Comparison) -> Iterator[tuple[str, Picture]]:
    rows, metric = comparison.rows, comparison.metric
    recorded = "" if (study.curves["step"] > 0).any() else "nothing is recorded after the start of training"
    finished = "" if comparison.finished else "no trial has ended"
    measured = finished or ("" if any(row.mean is not None for row in rows) else "no mean is finite")
    paired = finished or ("" if any(row.pairs for row in rows) else "no trial has a finished partner")
    yield "curves", Picture(partial(curves_figure, study, metric), recorded)
    if recorded or study.curves["seconds"].max() > 0:
        yield "time", Picture(partial(curves_figure, study, metric, timed=True), recorded)
    if not comparison.data_sets:
        for key, name in short_keys(comparison.grid_keys).items():
            # Settings that only change together don't get an axis each.
            if len({repr(row.point) for row in rows}) > len({repr(row.point | {key: None}) for row in rows}):
                yield f"over_{name}", Picture(partial(sweep_figure, study, comparison, key), measured)
    if any(row.arm != comparison.baseline for row in rows):
        yield "differences", Picture(partial(difference_figure, study, comparison), paired)
    if comparison.ladder:
        yield "ladder", Picture(partial(ladder_figure, study, comparison, study.title), paired)
    if any(config.tuned for config in study.configs.values()):
        missing = "" if comparison.tuning else why_no_tuning(study)
        yield "tuning", Picture(partial(tuning_figure, study, comparison, study.title), missing)
    if comparison.robustness:
        yield "ranges", Picture(partial(usable_range_figure, study, comparison), finished)
    if not comparison.data_sets and (crossed := crossed_keys(comparison)):
        yield "heat_map", Picture(partial(heat_map_figure, study, comparison, *crossed), finished)
    if having := [run for run in study.records.values() if Checkpoints(run.path).has_images]:
        damaged = "" if all(run.images for run in having) else f"checkpoints/{IMAGES} is damaged"
        yield "misclassified", Picture(partial(_misclassified_figure, study, comparison), damaged)


def _misclassified_figure(study: Study, comparison: Comparison) -> Figure | None:
    found = misclassified(study, comparison)
    return misclassified_figure(study, found, study.title) if found else None


def probe_figures(study: Study, *, title: str) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture of the study's probes."""
    if study.probes is None:
        return
    probed = make_probed(study, title)
    for name, make in PROBE_FIGURES.items():
        if figure := make(probed):
            yield name, figure


def crossed_keys(comparison: Comparison) -> tuple[str, str] | None:
    """Return the first two crossed grid keys, numbers before others; None without any.

    Keys that `zip` pairs up are not crossed: each value of one comes with a single value of the other.
    """
    points = [row.point for row in comparison.rows]
    numbers = [key for key in comparison.grid_keys if all(is_number(point[key]) for point in points)]
    for x, y in (*combinations(numbers, 2), *combinations(comparison.grid_keys, 2)):
        pairs = {(repr(point[x]), repr(point[y])) for point in points}
        if len(pairs) > max(len({at for at, _ in pairs}), len({at for _, at in pairs})):
            return (x, y) if is_number(points[0][x]) else (y, x)
    return None


def writers(study: Study, comparison: Comparison, folder: Path) -> list[Callable[[], list[Path]]]:
    """Return a function for each picture that may show something: it writes PNG, SVG and PDF and returns the files.

    Args:
        study: the trials, their curves and their probes.
        comparison: of that study.
        folder: for the files; it has to exist.
    """

    def write(name: str, picture: Picture) -> list[Path]:
        figure = picture.figure()
        return [_written(figure, folder / f"{name}.{kind}", kind) for kind in FILES] if figure else []

    for kind in FILES:
        get_registered_canvas_class(kind)  # imports the writers of files once, before workers fork
    there = pictures(study, comparison).items()
    return [partial(write, name, picture) for name, picture in there if not picture.empty]


def _written(figure: Figure, path: Path, kind: FileKind) -> Path:
    replace(path, figure_bytes(figure, kind))
    return path


def pictures_left_out(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """Return each reason why pictures would show nothing yet, in a line with their names."""
    by_reason: dict[str, list[str]] = {}
    for name, picture in _results(study, comparison):
        if picture.empty:
            by_reason.setdefault(picture.empty, []).append(name)
    return tuple(f"{listed(names)}: {reason}" for reason, names in by_reason.items())
