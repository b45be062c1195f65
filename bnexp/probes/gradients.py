"""How large gradients and updates are, layer by layer, and how much a gradient depends on its batch.

Batch norm doesn't mind the scale of the weights before it, L(αW) = L(W), and their gradient goes with 1/α: arms are
compared by what stays, ‖g‖·‖W‖. What a step changes goes with η·‖g‖/‖W‖, and so with η/α².
"""

from collections.abc import Iterator, Sequence
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from bnexp.config.probes import ProbeSettings
from bnexp.probes.moment import Moment, Value, norms, wanted
from bnexp.probes.networks import Theta


def gradient_norm(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield ‖g‖ of every weight: as it is, as training clips it, over the root of its size, over ‖W‖, and times ‖W‖.

    At activations ‖∂L/∂h‖; of the network the slope of its logarithm against the layers' number: below 0 where the
    gradient grows on its way back, by a factor of e^−slope per layer.
    """
    networks, passes = moment.networks, moment.passes(settings.batches or 1)
    theta, gradient = networks.theta(), _mean([each.gradient for each in passes])
    matrices = moment.clip([each.flatten(1) for each in gradient.values()])
    clipped = dict(zip(gradient, matrices, strict=True))
    for layer in networks.weights:
        if wanted(settings, layer):
            norm_K, weight = norms(gradient[f"{layer}.weight"]), theta[f"{layer}.weight"]
            yield layer, "gradient_norm", norm_K
            yield layer, "gradient_norm.clipped", norms(clipped[f"{layer}.weight"])
            yield layer, "gradient_norm.rms", norm_K / sqrt(weight[0].numel())
            yield layer, "gradient_norm.relative", norm_K / norms(weight)
            yield layer, "gradient_norm.scale_free", norm_K * norms(weight)
    # Over all batches the loss is their mean, and its gradient falls on each batch's activations.
    hidden_LK = [
        torch.stack([_of_trials(each.gradient_at[layer], networks.trials) for each in passes]).square().sum(0).sqrt()
        / len(passes)
        for layer in networks.activations
    ]
    for layer, norm_K in zip(networks.activations, hidden_LK, strict=True):
        if wanted(settings, layer):
            yield layer, "gradient_norm.activation", norm_K
    if len(hidden_LK) > 1:
        yield "", "gradient_norm.slope", _slope(torch.stack(hidden_LK).log())


def update_ratio(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield ‖W' − W‖ / ‖W‖ of every weight for the update that was really made: momentum, decay and clipping in it."""
    if moment.update is None:
        return
    now, before = moment.networks.theta(), moment.update.before
    for layer in moment.networks.weights:
        if wanted(settings, layer):
            weight = before[f"{layer}.weight"]
            yield layer, "update_ratio", norms(now[f"{layer}.weight"] - weight) / norms(weight)


def gradient_noise(moment: Moment, settings: ProbeSettings) -> Iterator[Value]:
    """Yield the trace of the gradient's covariance over batches drawn with replacement, also relative to ‖mean‖².

    It falls as 1/B with the batch size (McCandlish et al. 2018, arXiv:1812.06162, section 2.2).
    """
    theta, count = moment.networks.theta(), settings.batches or 16
    total: dict[str, Tensor] = {}
    squares_K = torch.zeros_like(moment.rate_K, dtype=torch.float64)
    for batch in moment.drawn_batches(count):
        _, gradient = moment.networks.gradient(theta, batch)
        for name, each in gradient.items():
            total[name] = total[name] + each.double() if name in total else each.double()
            squares_K += norms(each).square()
    mean_square_K = sum_of_squares({name: each / count for name, each in total.items()})
    # The mean of the squares less the square of the mean; rounding may leave less than nothing.
    trace_K = (squares_K - count * mean_square_K).clamp(min=0) / (count - 1)
    yield "", "gradient_noise", trace_K
    yield "", "gradient_noise.relative", trace_K / mean_square_K


def sum_of_squares(theta: Theta) -> Float[Tensor, " K"]:
    """Return ‖θ‖² of every trial over all tensors."""
    return torch.stack([norms(tensor).square() for tensor in theta.values()]).sum(0)


def _mean(gradients: Sequence[Theta]) -> Theta:
    if len(gradients) == 1:
        return gradients[0]
    return {name: torch.stack([each[name] for each in gradients]).mean(0) for name in gradients[0]}


def _of_trials(x: Tensor, trials: int) -> Float[Tensor, " K"]:
    """Return each trial's norm of what a layer handed on."""
    return norms(x if x.ndim == 3 else x.unflatten(1, (trials, -1)).transpose(0, 1))


def _slope(y_LK: Float[Tensor, "L K"]) -> Float[Tensor, " K"]:
    """Return the least-squares slope of each column against the row's number."""
    number_L = torch.arange(len(y_LK), dtype=y_LK.dtype, device=y_LK.device)
    centred_L = number_L - number_L.mean()
    return (centred_L[:, None] * y_LK).sum(0) / centred_L.square().sum()
