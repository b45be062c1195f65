"""Batch norm in evaluation: fixed statistics, two ways to compute them, and folding into the weights beside it.

Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.1 and algorithm 2; Jacob et al. 2018, arXiv:1712.05877, section 3.2.
"""

from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.claims.checks.networks import (
    DIGIT,
    Moment,
    compare,
    difference,
    last_moments,
    layers_of,
    moments,
    noise,
    randomize_norms,
    untrained_network,
    within,
)
from bnexp.claims.runs import Finding
from bnexp.deploy.folding import Unfoldable, folded
from bnexp.deploy.timing import in_turn
from bnexp.nn.layers import Linear
from bnexp.nn.norm import BatchNorm, refit_statistics
from bnexp.nn.plain_layers import to_torch

SAME_ANSWER = 1e-6
"""Largest difference of logits, relative to the largest logit."""
BY_HAND = 1e-10
"""Relative difference between two ways to compute statistics in float64."""
AGREED = 0.02
"""Share of the images that two methods may classify differently once training has settled."""
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 3, "width": 50, "activation": "relu"},
    "vgg": {"family": "vgg", "depth": 5, "width": 4, "activation": "relu"},
}
BATCH = 32


def eval_is_deterministic(steps: int = 60) -> Iterator[Finding]:
    """Yield how much a trained network's answers change in a second pass, and with other images in the batch."""
    for name, model in NETWORKS.items():
        trained = last_moments(model=model, train={"steps": steps, "record_at": [steps], "batch_size": BATCH})
        (moment,) = trained.values()
        yield from _answers(name, moment)


def two_inference_methods(steps: int = 600) -> Iterator[Finding]:
    """Yield how far running averages and statistics of the training set are apart, from the same weights."""
    seen = moments(
        model=NETWORKS["mlp"],
        train={"steps": steps, "record_at": [1, 10, 200, steps], "batch_size": BATCH, "precision": "fp64"},
    )
    *early, last = (moment for moment in seen if moment.step)
    for moment in early:
        yield _disagreement(moment, tested=False)
    yield _disagreement(last, tested=True)
    yield _population_variance(last)


@torch.no_grad()
def _answers(name: str, moment: Moment) -> Iterator[Finding]:
    network, x_NP = moment.network().double(), moment.test_inputs().double()
    before = {key: buffer.clone() for key, buffer in network.named_buffers()}
    whole_NC = network(x_NP[None])[0]
    again = float((network(x_NP[None])[0] - whole_NC).abs().max())
    yield within(f"{name} in evaluation: all {len(x_NP)} test images twice", again, 0, "logits differ by {}")
    alone_NC = torch.cat([network(x_P[None, None])[0] for x_P in x_NP])
    what, found = "each image alone, or with all others", "logits differ by {} of the largest, in float64"
    yield compare(f"{name} in evaluation: {what}", alone_NC, whole_NC, SAME_ANSWER, found)
    moved = sum(not buffer.equal(before[key]) for key, buffer in network.named_buffers())
    yield Finding(f"{name} in evaluation: running statistics", f"{moved} of {len(before)} have changed", moved, 0)
    yield _mixed(name, network, x_NP, whole_NC)


def _mixed(name: str, network: nn.Module, x_NP: Float[Tensor, "N P"], whole_NC: Float[Tensor, "N C"]) -> Finding:
    """Measure how much answers change in training mode, where they depend on the other images of the batch."""
    mixed_NC = _in_training(network, x_NP)
    apart = difference(mixed_NC, whole_NC)
    order_N = torch.randperm(len(x_NP), generator=torch.Generator().manual_seed(0))
    other_NC = torch.empty_like(mixed_NC).index_copy_(0, order_N, _in_training(network, x_NP[order_N]))
    other = float((mixed_NC.argmax(1) != other_NC.argmax(1)).double().mean())
    return Finding(
        f"{name} in training mode, where the note would be right",
        f"with the statistics of {BATCH} test images, logits differ by {apart:.0%} of the largest from those in "
        f"evaluation, and {other:.1%} of the images change class when they come with other ones",
    )


def _in_training(network: nn.Module, x_NP: Float[Tensor, "N P"]) -> Float[Tensor, "N C"]:
    """Return the logits of a network in training mode, batch by batch, and set it to evaluation mode again."""
    network.train()
    logits_NC = torch.cat([network(x_BP[None])[0] for x_BP in x_NP.split(BATCH)])
    network.eval()
    return logits_NC


@torch.no_grad()
def _disagreement(moment: Moment, *, tested: bool) -> Finding:
    """Compare both methods' classes of the test images; only at the end do they have to agree."""
    x_NP, labels_N = moment.test_inputs(), moment.data.test.labels_N
    logits = [network(x_NP[None])[0] for network in (moment.network(), _refitted(moment))]
    said = [logits_NC.argmax(1) for logits_NC in logits]
    ema, population = (float((classes_N == labels_N).double().mean()) for classes_N in said)
    # Even logits that aren't finite have a class.
    numbers = all(bool(logits_NC.isfinite().all()) for logits_NC in logits)
    apart = float((said[0] != said[1]).double().mean()) if numbers else float("nan")
    return Finding(
        f"running averages against statistics of the training set, after {moment.step} steps",
        f"{apart:.1%} of the test images in different classes; accuracy {ema:.3f} and {population:.3f}",
        apart if tested else None,
        AGREED if tested else None,
    )


def _refitted(moment: Moment) -> nn.Module:
    """Return the network with the statistics of its training images, taken batch by batch in the order of the file."""
    network = moment.network()
    refit_statistics(network, (x_BP[None] for x_BP in _batches(moment)))
    return network


def _batches(moment: Moment) -> list[Float[Tensor, "B P"]]:
    x_NP = moment.data.inputs(moment.data.train.images_NP)
    return list(x_NP[: len(x_NP) // BATCH * BATCH].split(BATCH))


@torch.no_grad()
def _population_variance(moment: Moment) -> Finding:
    """Work the first layer's statistics out by hand: the mean over batches of m/(m − 1) times their variance."""
    refitted = _refitted(moment)
    norm, weights = layers_of(refitted, BatchNorm)[0], layers_of(refitted, Linear)[0]
    biased_C = torch.stack([weights(x_BP[None])[0].var(0, correction=0) for x_BP in _batches(moment)]).mean(0)
    without = difference(biased_C, norm.running_var[0])
    return compare(
        f"population variance as m/(m − 1) times the batches' mean variance, m = {BATCH}",
        norm.running_var[0],
        BATCH / (BATCH - 1) * biased_C,
        BY_HAND,
        f"relative error {{}}; without the factor it would be {without:.1%} too small",
    )


SAME_LOGITS = 1e-10
"""Largest difference of logits in float64, relative to the largest logit."""
VGG: dict[str, Any] = {"family": "vgg", "depth": 5, "width": 4, "activation": "relu", "bias": True}
RESNET: dict[str, Any] = {"family": "resnet", "depth": 8, "width": 4, "activation": "relu", "bias": True}
MLP: dict[str, Any] = {"depth": 3, "width": 32, "activation": "relu", "bias": True}
FOLDED = {
    "MLP, BN before the activation": MLP,
    "MLP, the same without hidden biases": MLP | {"bias": False},
    "MLP, BN after it, which goes into the next layer": MLP | {"norm": {"placement": "after", "input": True}},
    "VGG, BN before": VGG,
    "ResNet, BN before": RESNET,
}
REFUSED = {
    "VGG, BN after the activation": VGG | {"norm": "after"},
    "VGG, BN on the input": VGG | {"norm": {"input": True}},
    "ResNet, BN after the activation": RESNET | {"norm": "after"},
    "layer norm": MLP | {"norm": "layer"},
}
IMAGES = 64
UNITS, EPS = 24, 1e-5


def folds_away(rounds: int = 30) -> Iterator[Finding]:
    """Yield how folding changes answers and times, and which networks can't be folded."""
    yield from _by_formula()
    yield _columns()
    for name, model in FOLDED.items():
        yield _same_logits(name, randomize_norms(untrained_network(model)))
    for name, model in REFUSED.items():
        found, error = "folded all the same", 1
        try:  # folding would change the answers there
            folded(randomize_norms(untrained_network(model)))
        except Unfoldable as reason:
            found, error = f"refused: {reason}", 0
        yield Finding(f"{name} can't be folded", found, error, 0)
    for batch in (1, 256):
        yield _times(batch, rounds)


@torch.no_grad()
def _by_formula() -> Iterator[Finding]:
    """Compare the folded first layer with the formula."""
    network = randomize_norms(untrained_network(MLP))
    layer, norm = layers_of(network, Linear)[0], layers_of(network, BatchNorm)[0]
    made = layers_of(folded(network), nn.Linear)[0]
    scale_O = norm.gamma[0] / (norm.running_var[0] + norm.eps).sqrt()
    weight_OI, bias_O = (layer.get_parameter(name)[0] for name in ("weight", "bias"))
    what = "W' = diag(γ/√(v + ε)) W scales the rows of a weight (out, in)"
    yield compare(what, made.weight, scale_O[:, None] * weight_OI, SAME_LOGITS)
    shift_O = norm.beta[0] + (bias_O - norm.running_mean[0]) * scale_O
    yield compare("b' = β + (b − m) γ/√(v + ε)", made.bias, shift_O, SAME_LOGITS)


def _columns() -> Finding:
    """Fold a made-up layer x W + b, whose weight is (in, out), and compare with torch's own batch norm."""
    x_BI, weight_IO = noise(2, UNITS, UNITS)
    bias_O, gamma_O, beta_O, mean_O, root_O = noise(5, UNITS, seed=1)
    variance_O = root_O.square() + 0.1
    expected_BO = F.batch_norm(x_BI @ weight_IO + bias_O, mean_O, variance_O, gamma_O, beta_O, eps=EPS)
    scale_O = gamma_O / (variance_O + EPS).sqrt()
    shift_O = beta_O + (bias_O - mean_O) * scale_O
    wrong = difference(x_BI @ (scale_O.diag() @ weight_IO) + shift_O, expected_BO)
    return compare(
        "W' = W diag(γ/√(v + ε)) scales the columns of a weight (in, out)",
        x_BI @ (weight_IO @ scale_O.diag()) + shift_O,
        expected_BO,
        SAME_LOGITS,
        f"relative error {{}}; with its rows scaled, outputs are {wrong:.0%} off",
    )


@torch.no_grad()
def _same_logits(name: str, network: nn.Module) -> Finding:
    x_NP = noise(IMAGES, 64)
    made = folded(network)
    error = difference(made(x_NP.unflatten(1, DIGIT)), network(x_NP[None])[0])
    left = sum(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in made.modules())
    found = f"{len(layers_of(network, BatchNorm))} BN layers gone; logits differ by {{}} of the largest"
    # A norm layer that is left counts as a wrong answer.
    return within(name, error + left, SAME_LOGITS, found)


def _times(batch: int, rounds: int) -> Finding:
    """Time a convolutional torch.nn network, with its norm layers and folded."""
    network = randomize_norms(untrained_network(VGG | {"width": 16, "bias": "auto"}, dtype=torch.float32))
    before, after = to_torch(network), folded(network)
    x_BCHW = noise(batch, *DIGIT).float()

    @torch.no_grad()
    def answer(made: nn.Module) -> Tensor:
        logits_BC: Tensor = made(x_BCHW)
        return logits_BC

    slow, fast = in_turn([lambda: answer(before), lambda: answer(after)], rounds, times=3)
    return Finding(
        f"time for {'an image' if batch == 1 else f'{batch} images'} of 8 x 8, a VGG of 16 to 64 channels",
        f"{1e3 * median(slow):.2f} ms before and {1e3 * median(fast):.2f} ms after folding: "
        f"{median(slow) / median(fast):.2f} times as fast (medians of {rounds}, not compiled)",
    )
