"""Activations, gradients and updates, layer by layer, on the same images at every step, in training mode.

Batch norm makes the loss invariant to the scale of the weights before it, L(αW) = L(W), and their gradient is
proportional to 1/α: arms are compared by ‖g‖·‖W‖, which doesn't depend on α. The change by a step is proportional to
η·‖g‖/‖W‖, and so to η/α².
"""

from collections.abc import Iterator
from math import sqrt

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bnexp.config.probes import ProbeSettings
from bnexp.probes.prober import ProbeContext, Value, chosen, mean_gradient, norms, sum_of_squares

LOW, HIGH = 0.05, 0.95
"""Outside of these a sigmoid is saturated, and a tanh beyond ±HIGH."""


def saturation(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the share of (sample, unit) of every sigmoid and tanh that are in the flat parts of the curve."""
    for layer, kind in chosen(settings, context.networks.activations).items():
        if isinstance(kind, nn.Sigmoid | nn.Tanh):
            h_KNC = context.samples("outputs", layer, settings.batches or 1)
            flat_KNC = h_KNC.abs() > HIGH if isinstance(kind, nn.Tanh) else (h_KNC < LOW) | (h_KNC > HIGH)
            yield layer, "saturation", _share(flat_KNC, h_KNC)


def dead_units(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the share of every ReLU's units that are 0 for all samples, and the share of zeros.

    In images a unit is a channel.
    """
    for layer, kind in chosen(settings, context.networks.activations).items():
        if isinstance(kind, nn.ReLU):
            h_KNC = context.samples("outputs", layer, settings.batches or 1)
            yield layer, "dead_units", _share((h_KNC <= 0).all(1, keepdim=True), h_KNC)
            yield layer, "dead_units.zeros", _share(h_KNC <= 0, h_KNC)


def rank(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield r = tr(M)² / ‖M‖² with M = HHᵀ/N for the units H of every activation layer, and its share of the most it
    can be (Daneshmand et al. 2020, arXiv:2003.01652).

    The true rank is no smaller.
    """
    for layer in chosen(settings, context.networks.activations):
        h_KNC = context.samples("outputs", layer, settings.batches or 1).double()
        _, samples, units = h_KNC.shape
        # H Hᵀ and Hᵀ H have the same trace and the same norm.
        moments = h_KNC.mT @ h_KNC if units <= samples else h_KNC @ h_KNC.mT
        trace_K = moments.diagonal(dim1=1, dim2=2).sum(1)
        rank_K = trace_K.square() / moments.square().sum((1, 2))
        yield layer, "rank", rank_K
        yield layer, "rank.share", rank_K / min(samples, units)


@torch.no_grad()
def batch_spread(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield, of the outputs of every weight layer, the variance over batches of a unit's batch mean, relative to the
    unit's variance over all images, as the mean over units.

    About 1/B where batches are drawn at random.
    """
    networks, theta = context.networks, context.networks.theta()
    found: dict[str, list[Tensor]] = {layer: [] for layer in chosen(settings, networks.weights)}
    for batch in context.drawn_batches(settings.batches or 16):
        with networks.watching() as (_, outputs):
            networks.loss(theta, batch)
        for layer, sums in found.items():
            a_KNC = networks.samples(networks.whole(layer, outputs[layer])).double()
            sums.append(torch.stack([a_KNC.mean(1), a_KNC.square().mean(1)]))
    for layer, sums in found.items():
        mean_bKC, square_bKC = torch.stack(sums, 1)
        variance_KC = square_bKC.mean(0) - mean_bKC.mean(0).square()
        yield layer, "batch_spread", (mean_bKC.var(0) / variance_KC).mean(1)


def _share(hits_KNC: Bool[Tensor, "K _ C"], of_KNC: Float[Tensor, "K N C"]) -> Float[Tensor, " K"]:
    """Return the share of hits; NaN if any value is not a number."""
    share_K = hits_KNC.sum((1, 2)).double() / hits_KNC[0].numel()
    return torch.where(of_KNC.sum((1, 2)).isnan(), torch.nan, share_K)


def gradient_norm(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield ‖g‖ of every weight that is trained: as it is, as training clips it, over the root of its size, over ‖W‖,
    and times ‖W‖.

    At activations ‖∂L/∂h‖; of the network the slope of its logarithm against the layers' number: below 0 where the
    gradient grows on its way back, by a factor of e^−slope per layer.
    """
    networks, passes = context.networks, context.passes(settings.batches or 1)
    theta, gradient = networks.theta(), mean_gradient([each.gradient for each in passes])
    matrices = context.clip([each.flatten(1) for each in gradient.values()])
    clipped = dict(zip(gradient, matrices, strict=True))
    for layer in chosen(settings, networks.learned):
        norm_K, weight = norms(gradient[f"{layer}.weight"]), theta[f"{layer}.weight"]
        yield layer, "gradient_norm", norm_K
        yield layer, "gradient_norm.clipped", norms(clipped[f"{layer}.weight"])
        yield layer, "gradient_norm.rms", norm_K / sqrt(weight[0].numel())
        yield layer, "gradient_norm.relative", norm_K / norms(weight)
        yield layer, "gradient_norm.scale_free", norm_K * norms(weight)
    # Over all batches the loss is their mean, and its gradient falls on each batch's activations.
    hidden = {
        layer: torch.stack([_of_trials(each.gradient_at[layer], networks.trials) for each in passes])
        .square()
        .sum(0)
        .sqrt()
        / len(passes)
        for layer in networks.activations
    }
    for layer, norm_K in chosen(settings, hidden).items():
        yield layer, "gradient_norm.activation", norm_K
    if len(hidden) > 1:
        yield "", "gradient_norm.slope", _slope(torch.stack(list(hidden.values())).log())


def update_ratio(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield ‖W' − W‖ / ‖W‖ of every weight for the update that was really made: momentum, decay and clipping in it."""
    if context.update is None:
        return
    now, before = context.networks.theta(), context.update.before
    for layer in chosen(settings, context.networks.learned):
        weight = before[f"{layer}.weight"]
        yield layer, "update_ratio", norms(now[f"{layer}.weight"] - weight) / norms(weight)


def gradient_noise(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the trace of the gradient's covariance over batches drawn with replacement, also relative to ‖mean‖².

    It falls as 1/B with the batch size (McCandlish et al. 2018, arXiv:1812.06162, section 2.2).
    """
    theta, count = context.networks.theta(), settings.batches or 16
    total: dict[str, Tensor] = {}
    squares_K = torch.zeros_like(context.rate_K, dtype=torch.float64)
    for batch in context.drawn_batches(count):
        _, gradient = context.networks.gradient(theta, batch)
        for name, each in gradient.items():
            total[name] = total[name] + each.double() if name in total else each.double()
            squares_K += norms(each).square()
    mean_square_K = sum_of_squares({name: each / count for name, each in total.items()})
    # The mean of the squares minus the square of the mean; rounding may make it negative.
    trace_K = (squares_K - count * mean_square_K).clamp(min=0) / (count - 1)
    yield "", "gradient_noise", trace_K
    yield "", "gradient_noise.relative", trace_K / mean_square_K


def _of_trials(x: Tensor, trials: int) -> Float[Tensor, " K"]:
    """Return each trial's norm of a layer's output."""
    return norms(x if x.ndim == 3 else x.unflatten(1, (trials, -1)).transpose(0, 1))


def _slope(y_LK: Float[Tensor, "L K"]) -> Float[Tensor, " K"]:
    """Return the least-squares slope of each column against the row's number."""
    number_L = torch.arange(len(y_LK), dtype=y_LK.dtype, device=y_LK.device)
    centred_L = number_L - number_L.mean()
    return (centred_L[:, None] * y_LK).sum(0) / centred_L.square().sum()
