"""How what layers see changes: over time, by the layers before them, and from training to evaluation."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.nn.norm import BatchNorm
from bnexp.probes.moment import Moment, Value, norms, wanted
from bnexp.probes.networks import Networks, Theta

TINY = 1e-12
"""Added where units that never vary would be divided by nothing."""
PERCENTILES = (15, 50, 85)


def drift(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield how far the means and deviations of units moved since the probe was taken last, and percentiles.

    mean_j |μ' − μ| / σ and mean_j |log(σ' / σ)| of what comes into activations and norm layers, of what norm layers
    normalised (before γ and β), and of what they hand on; of what comes into activations also percentiles over all
    samples and units (Ioffe & Szegedy 2015, arXiv:1502.03167, figure 1, which has one unit).
    """
    for layer, x_KNC in _distributions(moment, settings):
        if layer in moment.networks.activations:
            for percentile, value_K in zip(PERCENTILES, _percentiles(x_KNC), strict=True):
                yield layer, f"drift.p{percentile}", value_K
        deviation_KC, mean_KC = torch.std_mean(x_KNC.double(), 1, correction=0)
        then = moment.memory.get(f"drift.{layer}")
        if then is not None:
            was_mean_KC, was_deviation_KC = then[:, 0], then[:, 1]
            moved_KC = (mean_KC - was_mean_KC).abs() / (was_deviation_KC + TINY)
            grown_KC = ((deviation_KC + TINY) / (was_deviation_KC + TINY)).log().abs()
            yield layer, "drift.mean", moved_KC.mean(1)
            yield layer, "drift.deviation", grown_KC.mean(1)
        moment.memory[f"drift.{layer}"] = torch.stack([mean_KC, deviation_KC], 1)


def covariate_shift(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield how much of a layer's gradient is undone by the update of the layers before it.

    G is the gradient that the update began with, G' the same with the layers before already moved, on the same batch
    (Santurkar et al. 2018, arXiv:1805.11604, definition 2.1): ‖G − G'‖, relative to ‖G‖, and the cosine between
    them. γ, β, biases and scalars move with the layer that they follow. Of the first layer nothing can come before.
    """
    update, batch = moment.update, moment.last_batch()
    if update is None or batch is None:
        return
    networks, before = moment.networks, update.before
    now, moved = networks.theta(), dict(before)
    _, gradient = networks.gradient(before, batch)
    for layer, own in _by_layer(networks, before):
        weight = f"{layer}.weight"
        if wanted(settings, layer):
            g = gradient[weight].double()
            first = layer == networks.weights[0]
            other = g if first else networks.gradient(moved, batch)[1][weight].double()
            yield layer, "covariate_shift", norms(g - other)
            yield layer, "covariate_shift.relative", norms(g - other) / norms(g)
            yield layer, "covariate_shift.cosine", (g * other).flatten(1).sum(1) / (norms(g) * norms(other))
        moved |= {name: now[name] for name in own}


@torch.no_grad()
def variance_shift(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield, of every batch norm layer, how far the variance that it meets in evaluation is from the one it divides by.

    max(v / v', v' / v) with v met in evaluation and v' the running variance; and with v' estimated anew in training
    mode, dropout included, which leaves out that averages lag (Li et al. 2019, arXiv:1801.05134). Mean over units.
    """
    networks = moment.networks
    layers = [name for name, norm in networks.norms.items() if isinstance(norm, BatchNorm) and wanted(settings, name)]
    if not layers:
        return
    count = settings.batches or 16
    networks.restore()
    running = {layer: networks.norms[layer].get_buffer("running_var").double().clone() for layer in layers}
    trained = _input_variances(moment, layers, count, training=True)
    networks.restore()
    met = _input_variances(moment, layers, count, training=False)
    for layer in layers:
        yield layer, "variance_shift", _ratio(met[layer], running[layer])
        yield layer, "variance_shift.reestimated", _ratio(met[layer], trained[layer])


def _distributions(moment: Moment, settings: ProbeSettings) -> Iterator[tuple[str, Float[Tensor, "K N C"]]]:
    networks, passes = moment.networks, moment.passes(settings.batches or 1)

    def together(kind: str, layer: str) -> Tensor:
        return torch.cat([networks.samples(getattr(each, kind)[layer]) for each in passes], 1)

    for layer in networks.activations:
        if wanted(settings, layer):
            yield layer, together("inputs", layer)
    for layer, norm in networks.norms.items():
        if wanted(settings, layer):
            y_KNC = together("outputs", layer)
            yield f"{layer}.input", together("inputs", layer)
            yield f"{layer}.normalized", (y_KNC - norm.beta[:, None]) / norm.gamma[:, None]
            yield f"{layer}.output", y_KNC


def _percentiles(x_KNC: Float[Tensor, "K N C"]) -> Float[Tensor, "P K"]:
    """Return percentiles over samples and units, the lower of two neighbours."""
    sorted_KM = x_KNC.flatten(1).sort(1).values
    places = [int(percentile / 100 * (sorted_KM.shape[1] - 1)) for percentile in PERCENTILES]
    return sorted_KM[:, places].T


def _by_layer(networks: Networks, theta: Theta) -> Iterator[tuple[str, list[str]]]:
    """Yield every weight layer with the names of the parameters that move with it: up to the next layer's weight."""
    starts = [f"{layer}.weight" for layer in networks.weights]
    own: list[list[str]] = [[]]
    for name in theta:
        if name in starts[1:]:
            own.append([])
        own[-1].append(name)
    yield from zip(networks.weights, own, strict=True)


def _input_variances(moment: Moment, layers: list[str], count: int, *, training: bool) -> dict[str, Tensor]:
    """Return the variance of what comes into layers: in training mode within batches on average, else over all."""
    networks, theta = moment.networks, moment.networks.theta()
    sums: dict[str, Tensor] = {}
    for batch in moment.drawn_batches(count):
        networks.module.train(training)
        with networks.watching() as (inputs, _):
            networks.logits(theta, batch)
        for layer in layers:
            x_KNC = networks.samples(inputs[layer]).double()
            found = torch.stack([x_KNC.mean(1), x_KNC.square().mean(1), x_KNC.var(1)]) / count
            sums[layer] = sums[layer] + found if layer in sums else found
    if training:
        return {layer: within_KC for layer, (_, _, within_KC) in sums.items()}
    return {layer: square_KC - mean_KC.square() for layer, (mean_KC, square_KC, _) in sums.items()}


def _ratio(v_KC: Tensor, other_KC: Tensor) -> Float[Tensor, " K"]:
    ratio_KC = (v_KC.clamp(min=0) + TINY) / (other_KC + TINY)
    return torch.maximum(ratio_KC, 1 / ratio_KC).mean(1)
