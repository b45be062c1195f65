"""How the inputs of layers change: over time, through the layers before them, and from training to evaluation."""

from collections.abc import Iterator, Mapping
from math import gcd
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bnexp.config.probes import ProbeSettings
from bnexp.data.dataset import Split
from bnexp.nn.norm import BatchNorm, Norm, refit_statistics, running_norms, train_mode
from bnexp.nn.own.surgery import Placed
from bnexp.probes.networks import Batch, Networks, Theta
from bnexp.probes.prober import ProbeContext, Value, chosen, norms

TINY = 1e-12
"""Added where units that never vary would be divided by nothing."""
PERCENTILES = (15, 50, 85)
RANKED = 2048
"""The most numbers of a trial from which percentiles are taken, evenly spread over units and samples."""


def drift(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield how far the means and deviations of units moved since the probe was taken last, and percentiles.

    mean_j |μ' − μ| / σ and mean_j |log(σ' / σ)| of what comes into activations and norm layers, of what norm layers
    normalised (before γ and β), and of what they hand on; of what comes into activations also percentiles over all
    samples and units (Ioffe & Szegedy 2015, arXiv:1502.03167, figure 1, which has one unit).
    """
    for layer in chosen(settings, context.networks.activations):
        percentiles_PK = _percentiles(context.samples("inputs", layer, settings.batches or 1))
        for percentile, value_K in zip(PERCENTILES, percentiles_PK, strict=True):
            yield layer, f"drift.p{percentile}", value_K
    for layer, moments_K2C in _distributions(context, settings):
        if (then_K2C := context.memory.get(f"drift.{layer}")) is not None:
            (mean_KC, deviation_KC), (was_mean_KC, was_deviation_KC) = moments_K2C.unbind(1), then_K2C.unbind(1)
            yield layer, "drift.mean", ((mean_KC - was_mean_KC).abs() / (was_deviation_KC + TINY)).mean(1)
            yield layer, "drift.deviation", ((deviation_KC + TINY) / (was_deviation_KC + TINY)).log().abs().mean(1)
        context.memory[f"drift.{layer}"] = moments_K2C


def covariate_shift(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield how much of a layer's gradient is undone by the update of the layers before it.

    G is the gradient before the update, G' the gradient on the same batch with the layers before already updated
    (Santurkar et al. 2018, arXiv:1805.11604, definition 2.1): ‖G − G'‖, relative to ‖G‖, and the cosine between them.
    γ, β, biases and scalars move with the layer that they follow. No layer comes before the first one.
    """
    update, batch = context.update, context.last_batch()
    if update is None or batch is None:
        return
    networks, before = context.networks, update.before
    if not networks.learned:
        return
    now, moved = networks.theta(), dict(before)
    _, gradient = networks.gradient(before, batch)
    looked_at = chosen(settings, networks.learned)
    for place, (layer, own) in enumerate(_by_layer(networks, before)):
        weight = f"{layer}.weight"
        if layer in looked_at:
            g = gradient[weight].double()
            other = networks.gradient(moved, batch)[1][weight].double() if place else g
            yield layer, "covariate_shift", norms(g - other)
            yield layer, "covariate_shift.relative", norms(g - other) / norms(g)
            yield layer, "covariate_shift.cosine", (g * other).flatten(1).sum(1) / (norms(g) * norms(other))
        moved |= {name: now[name] for name in own}


@torch.no_grad()
def variance_shift(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """For every layer that divides by a running variance in evaluation, yield how far that is from the actual variance.

    max(v / v', v' / v) with the variance v in evaluation and the running variance v'; and the same with v' measured
    again in training mode, dropout included, so that the lag of averages plays no part (Li et al. 2019,
    arXiv:1801.05134). Mean over units, in recurrent layers over units and time steps.
    """
    networks = context.networks
    found = {name: _inner(norm) for name, norm in chosen(settings, networks.norms).items()}
    layers = {name: norm for name, norm in found.items() if getattr(norm, "running_var", None) is not None}
    if not layers:
        return
    count = settings.batches or 16
    networks.restore()
    running = {layer: _running_variance(norm).clone() for layer, norm in layers.items()}
    trained = _input_variances(context, layers, count, training=True)
    networks.restore()
    met = _input_variances(context, layers, count, training=False)
    for layer in layers:
        # Units that never vary, such as those from the state before the first time step, still have 1 in the average.
        constant_KC = (met[layer] == 0) & (trained[layer] == 0)
        yield layer, "variance_shift", _ratio(met[layer], running[layer].masked_fill(constant_KC, 0))
        yield layer, "variance_shift.reestimated", _ratio(met[layer], trained[layer])


def _distributions(context: ProbeContext, settings: ProbeSettings) -> Iterator[tuple[str, Float[Tensor, "K 2 C"]]]:
    """Yield the mean and the deviation of every unit at every measured place."""
    networks, batches = context.networks, settings.batches or 1
    for layer in chosen(settings, networks.activations):
        yield layer, _mean_and_deviation(context.samples("inputs", layer, batches))
    for layer, norm in chosen(settings, networks.norms).items():
        output_K2C = _mean_and_deviation(context.samples("outputs", layer, batches))
        gamma_KC, beta_KC = _scale_and_shift(_inner(norm), output_K2C[:, 0])
        beta_K2C = torch.stack([beta_KC, torch.zeros_like(beta_KC)], 1)
        yield f"{layer}.input", _mean_and_deviation(context.samples("inputs", layer, batches))
        yield f"{layer}.normalized", (output_K2C - beta_K2C) / torch.stack([gamma_KC, gamma_KC.abs()], 1)
        yield f"{layer}.output", output_K2C


def _mean_and_deviation(x_KNC: Float[Tensor, "K N C"]) -> Float[Tensor, "K 2 C"]:
    # torch.std_mean goes through the numbers once, and takes eight times as long.
    mean_KC = x_KNC.mean(1)
    deviation_KC = (x_KNC - mean_KC[:, None]).square().mean(1).sqrt()
    return torch.stack([mean_KC, deviation_KC], 1).double()


def _percentiles(x_KNC: Float[Tensor, "K N C"]) -> Float[Tensor, "P K"]:
    """Return percentiles over samples and units, the lower of two neighbours."""
    x_KM = x_KNC.mT.flatten(1)  # in the order in which they lie in memory
    numbers = x_KM.shape[1]
    stride = -(-numbers // RANKED)
    # A common divisor would show the same places of every picture, a corner at worst.
    while gcd(stride, numbers) > 1:
        stride += 1
    x_KM = x_KM[:, ::stride]
    places = [int(percentile / 100 * (x_KM.shape[1] - 1)) for percentile in PERCENTILES]
    return torch.stack([x_KM.kthvalue(place + 1, 1).values for place in places])


def _by_layer(networks: Networks, theta: Theta) -> Iterator[tuple[str, list[str]]]:
    """Yield every layer whose weight is trained with the names of the parameters that move with it: up to the next
    such layer's weight."""
    starts = [f"{layer}.weight" for layer in networks.learned]
    own: list[list[str]] = [[]]
    for name in theta:
        if name in starts[1:]:
            own.append([])
        own[-1].append(name)
    yield from zip(networks.learned, own, strict=True)


def _inner(norm: nn.Module) -> Any:
    """Return a norm layer without its wrapper for the user's own networks."""
    return norm.layers[0] if isinstance(norm, Placed) else norm


def _scale_and_shift(norm: Any, like_KC: Float[Tensor, "K C"]) -> tuple[Float[Tensor, "K C"], Float[Tensor, "K C"]]:
    """Return γ and β, 1 and 0 where a layer of torch has none."""
    names = ("gamma", "beta") if isinstance(norm, Norm) else ("weight", "bias")
    gamma, beta = (getattr(norm, name, None) for name in names)
    gamma_KC = torch.ones_like(like_KC) if gamma is None else gamma.detach().view(len(like_KC), -1)
    return gamma_KC, torch.zeros_like(like_KC) if beta is None else beta.detach().view(len(like_KC), -1)


def _running_variance(norm: Any) -> Float[Tensor, "K C"]:
    """Return the variance that evaluation divides by; in recurrent layers C counts the features of all time steps."""
    running = norm.running_var
    by_row: Tensor = running.double().view(len(running), -1, running.shape[-1])
    return by_row.expand(-1, _steps(norm), -1).flatten(1)


def _steps(norm: nn.Module) -> int:
    return norm.steps if isinstance(norm, BatchNorm) else 1


def _input_variances(
    context: ProbeContext, layers: Mapping[str, nn.Module], count: int, *, training: bool
) -> dict[str, Float[Tensor, "K C"]]:
    """Return the variance of what comes into layers: in training mode within what statistics are taken over, on
    average, else over all.
    """
    networks, theta = context.networks, context.networks.theta()
    slices = context.settings.train.batch_size // context.settings.norm_batch
    sums: dict[str, Tensor] = {}
    for batch in context.drawn_batches(count):
        train_mode(networks.module) if training else networks.module.eval()
        with networks.watching() as (inputs, _):
            networks.logits(theta, batch)
        for layer, norm in layers.items():
            x_KNC = networks.samples(networks.whole(layer, inputs[layer])).double()
            x_KNC = x_KNC.unflatten(1, (_steps(norm), -1)).transpose(1, 2).flatten(2)
            x_KGNC = x_KNC.unflatten(1, (slices, -1))
            found = torch.stack([x_KNC.mean(1), x_KNC.square().mean(1), x_KGNC.var(2).mean(1)]) / count
            sums[layer] = sums[layer] + found if layer in sums else found
    if training:
        return {layer: within_KC for layer, (_, _, within_KC) in sums.items()}
    return {layer: square_KC - mean_KC.square() for layer, (mean_KC, square_KC, _) in sums.items()}


def _ratio(v_KC: Tensor, other_KC: Tensor) -> Float[Tensor, " K"]:
    ratio_KC = (v_KC.clamp(min=0) + TINY) / (other_KC + TINY)
    return torch.maximum(ratio_KC, 1 / ratio_KC).mean(1)


@torch.no_grad()
def mode_gap(context: ProbeContext, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the accuracy with the statistics of the batch, running ones and those of the population, and how often the
    first and the last predict what the running ones do.

    On test images, or validation images where there are none, in file order and batches as large as those that training
    takes statistics over. Population statistics are averages over the training images (Ioffe & Szegedy 2015, algorithm
    2). No dropout, no noise.
    """
    networks, data = context.networks, context.data
    split = next(split for split in (data.test, data.val, data.train) if len(split) > 1)
    networks.restore()
    networks.module.eval()
    running_KN = _predictions(context, split)
    count = settings.batches or len(data.train)
    size = context.settings.norm_batch
    refit_statistics(networks.module, (x for batch in context.batches(count) for x in batch.x_SBP.split(size, 1)))
    population_KN = _predictions(context, split)
    for norm in running_norms(networks.module):
        norm.train()
    batch_KN = _predictions(context, split)
    labels_N = split.labels_N[: batch_KN.shape[1]]
    for name, predictions_KN in (("batch", batch_KN), ("running", running_KN), ("population", population_KN)):
        yield "", f"mode_gap.{name}", (predictions_KN == labels_N).double().mean(1)
    for name, predictions_KN in (("batch", batch_KN), ("population", population_KN)):
        yield "", f"mode_gap.{name}_agreement", (predictions_KN == running_KN).double().mean(1)


def _predictions(context: ProbeContext, split: Split) -> Int[Tensor, "K N"]:
    """Return the class that each network finds likeliest; a last batch of one image joins the one before it."""
    networks, theta, found = context.networks, context.networks.theta(), []
    size, count = context.settings.norm_batch, len(split)
    ends = [*range(size, count - 1, size), count]
    for first, end in zip([0, *ends], ends, strict=False):
        x_1BP: Float[Tensor, "1 B P"] = context.data.inputs(split.images_NP[first:end])[None]
        found.append(networks.logits(theta, Batch(x_1BP, split.labels_N[None, first:end], 0, 0)).argmax(-1))
    return torch.cat(found, 1)
