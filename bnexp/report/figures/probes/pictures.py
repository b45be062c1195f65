"""Every picture that the probes of a study have something for, as PNG to look at and as SVG to put into a document."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from bnexp.analysis.study import Study
from bnexp.report.figures.probes.activations import activations_figure
from bnexp.report.figures.probes.gradient_norms import gradient_norms_figure
from bnexp.report.figures.probes.landscape_bands import landscape_bands_figure
from bnexp.report.figures.probes.layer_lines import covariate_shift_figure, saturation_figure
from bnexp.report.figures.probes.probed import Probed, make_probed
from bnexp.report.figures.probes.slices import slices_figure
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

_KINDS: tuple[Literal["png", "svg"], ...] = ("png", "svg")


def write_probe_pictures(study: Study, folder: Path) -> tuple[Path, ...]:
    """Write those of FIGURES that the study's probes have something for; return the files.

    Args:
        study: the trials and their probes.
        folder: where the files go; it has to be there.
    """
    written = []
    for name, figure in probe_figures(study, title=study.question or study.name):
        for kind in _KINDS:
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
