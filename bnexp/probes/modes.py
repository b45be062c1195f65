"""What the statistics that evaluation normalises with make of a network's accuracy."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.data.dataset import Split
from bnexp.nn.norm import RunningNorm
from bnexp.nn.population import refit_statistics
from bnexp.probes.moment import Moment, Value
from bnexp.probes.networks import Batch


@torch.no_grad()
def mode_gap(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the accuracy with the statistics of the batch, running ones and those of the population, and how often the
    first and the last predict what the running ones do.

    On test images, or validation images where there are none, in batches of the training's size and file order.
    Population statistics are averages over the training images (Ioffe & Szegedy 2015, algorithm 2). No dropout,
    no noise.
    """
    networks, split = moment.networks, _split(moment)
    networks.restore()
    networks.module.eval()
    running_KN = _predictions(moment, split)
    count = settings.batches or len(moment.data.train)
    refit_statistics(networks.module, (batch.x_SBP for batch in moment.batches(count)))
    population_KN = _predictions(moment, split)
    for norm in networks.norms.values():
        if isinstance(norm, RunningNorm):
            norm.train()
    batch_KN = _predictions(moment, split)
    labels_N = split.labels_N[: batch_KN.shape[1]]
    for name, predictions_KN in (("batch", batch_KN), ("running", running_KN), ("population", population_KN)):
        yield "", f"mode_gap.{name}", (predictions_KN == labels_N).double().mean(1)
    for name, predictions_KN in (("batch", batch_KN), ("population", population_KN)):
        yield "", f"mode_gap.{name}_agreement", (predictions_KN == running_KN).double().mean(1)


def _split(moment: Moment) -> Split:
    data = moment.data
    return next(split for split in (data.test, data.val, data.train) if len(split) > 1)


def _predictions(moment: Moment, split: Split) -> Int[Tensor, "K N"]:
    """Return the class that each network finds likeliest; a last batch of one image joins the one before it."""
    networks, theta, found = moment.networks, moment.networks.theta(), []
    size, count = moment.batch_size, len(split)
    ends = [*range(size, count - 1, size), count]
    for first, end in zip([0, *ends], ends, strict=False):
        x_1BP: Float[Tensor, "1 B P"] = moment.data.inputs(split.images_NP[first:end])[None]
        found.append(networks.logits(theta, Batch(x_1BP, split.labels_N[None, first:end], 0, 0)).argmax(-1))
    return torch.cat(found, 1)
