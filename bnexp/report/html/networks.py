"""What the probes saw inside the networks, as pictures for the page, each with how to read it and where it misleads."""

from base64 import b64encode
from dataclasses import dataclass

from bnexp.analysis.study import Study
from bnexp.report.figures.probes.pictures import probe_figures
from bnexp.report.figures.sheet import picture


@dataclass(frozen=True)
class Words:
    """What is said about a picture."""

    heading: str
    kind: str
    """What it is, for who can't see it."""
    reading: str
    trap: str


@dataclass(frozen=True)
class NetworkPicture:
    """A picture of the page."""

    id: str
    words: Words
    source: str
    """The SVG as a data URI: it is drawn apart from the page, so no name in it is more than text."""


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
"""By the name of the picture."""


def network_pictures(study: Study) -> tuple[NetworkPicture, ...]:
    """Return the pictures that the study's probes have something for, without titles: the page has headings."""
    return tuple(
        NetworkPicture(name, WORDS[name], _uri(picture(figure, "svg")))
        for name, figure in probe_figures(study, title="")
    )


def _uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg).decode()}"
