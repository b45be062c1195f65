"""The pictures inside the page, which Matplotlib draws: probes, test images, the ladder and the tuning curve."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

from matplotlib.figure import Figure

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.misclassified import Misclassified
from bnexp.analysis.study import Study
from bnexp.report.figures.frame import svg_uri
from bnexp.report.figures.ladder import ladder_figure
from bnexp.report.figures.misclassified import misclassified_figure
from bnexp.report.figures.pictures import probe_figures
from bnexp.report.figures.tuning_curve import tuning_figure

Place = Literal["ladder", "tuning", "probes", "images"]
"""A section of the page."""


@dataclass(frozen=True)
class Words:
    """The words around a picture."""

    heading: str
    kind: str
    """Alternative text: the kind of picture."""
    reading: str
    trap: str


WORDS = {
    "gradient_norms": Words(
        "Gradients by layer",
        "Heat maps of the gradient’s norm times the weights’, layers over steps, one map per arm.",
        "A map per arm: where it darkens towards the bottom, the gradient vanishes on its way to the first layers; "
        "where a column has one colour, all layers get their share.",
        "The norm is multiplied by that of the weights; raw norms of arms with BN and without don’t compare.",
    ),
    "activations": Words(
        "Inputs of the activations",
        "Bands from the 15th to the 85th percentile over steps, with the median, in three layers of every arm.",
        "A level band is a distribution that stays; a band that moves or widens is what Ioffe and Szegedy called "
        "internal covariate shift.",
        "A steady band doesn’t prove that BN helps because of it: bands can be steady where learning is slow.",
    ),
    "saturation": Words(
        "Units that don’t pass gradients on",
        "Lines of a share over steps, one per layer, in one panel per arm.",
        "The share of activations at their flat ends, or of units that are zero for every image, layer by layer.",
        "Counted on a fixed set of images: a unit that is silent here may answer to others.",
    ),
    "landscape_bands": Words(
        "The loss along the gradient",
        "Bands over steps, one per arm: the loss, the gradient’s change and the effective smoothness.",
        "The narrower a band, the better the gradient foretells what a step will do, and the larger the steps may be.",
        "A network that hardly learns has narrow bands, too; and steps are multiples of each arm’s own learning rate.",
    ),
    "slices": Words(
        "The loss around the trained weights",
        "Contours of the loss over two directions, one panel per arm.",
        "Contours that lie far apart are a flat place, long and narrow ones a place that is steep in one direction.",
        "Two random directions of very many: what looks convex here need not be, and one seed shows one place.",
    ),
    "covariate_shift": Words(
        "How layers disturb one another",
        "Lines of the relative shift and of the cosine over steps, one per layer, in one panel per arm.",
        "A relative shift near 0 with a cosine near 1 says that a layer’s gradient holds although the layers before it "
        "have moved.",
        "It grows with the updates: an arm that hardly learns has hardly a shift, and BN may well have the larger one "
        "(Santurkar et al. 2018).",
    ),
}
"""Texts by the names of their pictures."""

MISCLASSIFIED = Words(
    "Images that one gets wrong and the other right",
    "Grids of test images with their labels and the classes predicted: those that an arm gets wrong and the baseline "
    "right, and the other way round, arm by arm.",
    "The images on which an arm and the baseline differ in the most seeds; their numbers are below.",
    "They are picked because they differ: they are extremes, not typical, and don’t say why. Two trainings of one arm "
    "with different seeds differ in many images, too; the last column of the table says in how many.",
)

TUNING = Words(
    "Accuracy by number of tries",
    "Lines of the accuracy of each arm’s best setting over the number of settings tried, with bands.",
    "Compare the arms at equal numbers of tries, or look how many tries one needs for what the other reaches at the "
    "end. If a line lies above at every number of tries, its arm wasn’t only tuned better.",
    "How fast a line rises depends on the settings that were there to try. Validation images choose the setting, so "
    "their accuracy flatters it; that on test images doesn’t.",
)

LADDER = Words(
    "What takes BN apart",
    "Each arm’s differences to {baseline} at the left and to whole batch normalization at the right, the best arm on "
    "top.",
    "An arm near zero at the right does as well as whole batch normalization; one near zero at the left does no better "
    "than {baseline}.",
    "Both panels are of the same trials.",
)


@dataclass(frozen=True)
class Picture:
    """A picture in the page."""

    id: str
    words: Words
    source: str
    """Its data URI."""


def pictures(study: Study, comparison: Comparison, images: Misclassified | None) -> Mapping[Place, Sequence[Picture]]:
    """Return the pictures by their place in the page; places without one are left out.

    Args:
        study: the trials.
        comparison: of that study.
        images: test images on which arms disagree.
    """
    found: dict[Place, list[Picture]] = {}

    def add(place: Place, name: str, words: Words, figure: Figure | None) -> None:
        if figure:
            found.setdefault(place, []).append(Picture(name, words, svg_uri(figure)))

    if comparison.ladder:
        words = _about(LADDER, study.label(comparison.baseline))
        add("ladder", "ladder", words, ladder_figure(study, comparison, title=""))
    if comparison.tuning:
        add("tuning", "tuning", TUNING, tuning_figure(study, comparison, title=""))
    for name, figure in probe_figures(study, title=""):
        add("probes", name, WORDS[name], figure)
    if images:
        add("images", "misclassified", MISCLASSIFIED, misclassified_figure(study, images, title=""))
    return found


def _about(words: Words, baseline: str) -> Words:
    return Words(*(text.replace("{baseline}", baseline) for text in astuple(words)))
