"""What the layers hand on: saturated and dead units, the rank of a layer, and how far batches differ.

All on the same images at every moment, in training mode.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bnexp.config.probes import ProbeSettings
from bnexp.probes.moment import Moment, Value, wanted

LOW, HIGH = 0.05, 0.95
"""Outside of these a sigmoid is saturated, and a tanh beyond ±HIGH."""


def saturation(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the share of (sample, unit) of every sigmoid and tanh that are in the flat parts of the curve."""
    for layer, kind in moment.networks.activations.items():
        if isinstance(kind, nn.Sigmoid | nn.Tanh) and wanted(settings, layer):
            h_KNC = moment.samples("outputs", layer, settings.batches or 1)
            flat_KNC = h_KNC.abs() > HIGH if isinstance(kind, nn.Tanh) else (h_KNC < LOW) | (h_KNC > HIGH)
            yield layer, "saturation", _share(flat_KNC, h_KNC)


def dead_units(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the share of every ReLU's units that are 0 for all samples, and the share of zeros.

    In images a unit is a channel.
    """
    for layer, kind in moment.networks.activations.items():
        if isinstance(kind, nn.ReLU) and wanted(settings, layer):
            h_KNC = moment.samples("outputs", layer, settings.batches or 1)
            yield layer, "dead_units", _share((h_KNC <= 0).all(1, keepdim=True), h_KNC)
            yield layer, "dead_units.zeros", _share(h_KNC <= 0, h_KNC)


def rank(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield r = tr(M)² / ‖M‖² with M = HHᵀ/N for the units H of every activation layer, and its share of the most it
    can be (Daneshmand et al. 2020, arXiv:2003.01652).

    The true rank is no smaller.
    """
    for layer in moment.networks.activations:
        if wanted(settings, layer):
            h_KNC = moment.samples("outputs", layer, settings.batches or 1).double()
            _, samples, units = h_KNC.shape
            # H Hᵀ and Hᵀ H have the same trace and the same norm.
            moments = h_KNC.mT @ h_KNC if units <= samples else h_KNC @ h_KNC.mT
            trace_K = moments.diagonal(dim1=1, dim2=2).sum(1)
            rank_K = trace_K.square() / moments.square().sum((1, 2))
            yield layer, "rank", rank_K
            yield layer, "rank.share", rank_K / min(samples, units)


@torch.no_grad()
def batch_spread(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield, of the outputs of every weight layer, the variance over batches of a unit's batch mean, relative to the
    unit's variance over all images, as the mean over units.

    About 1/B where batches are drawn at random.
    """
    networks, theta = moment.networks, moment.networks.theta()
    found: dict[str, list[Tensor]] = {layer: [] for layer in networks.weights if wanted(settings, layer)}
    for batch in moment.drawn_batches(settings.batches or 16):
        with networks.watching() as (_, outputs):
            networks.loss(theta, batch)
        for layer, sums in found.items():
            a_KNC = networks.samples(outputs[layer]).double()
            sums.append(torch.stack([a_KNC.mean(1), a_KNC.square().mean(1)]))
    for layer, sums in found.items():
        mean_bKC, square_bKC = torch.stack(sums, 1)
        variance_KC = square_bKC.mean(0) - mean_bKC.mean(0).square()
        yield layer, "batch_spread", (mean_bKC.var(0) / variance_KC).mean(1)


def _share(hits_KNC: Bool[Tensor, "K _ C"], of_KNC: Float[Tensor, "K N C"]) -> Float[Tensor, " K"]:
    """Return the share of hits, which of anything that isn't a number is none either."""
    share_K = hits_KNC.sum((1, 2)).double() / hits_KNC[0].numel()
    return torch.where(of_KNC.sum((1, 2)).isnan(), torch.nan, share_K)
