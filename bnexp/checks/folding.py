"""Batch norm folded into the weights beside it: which weights, the same answers, the refusals, and the time it saves.

Jacob et al. 2018, arXiv:1712.05877, section 3.2.
"""

from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.checks.comparing import difference, short
from bnexp.checks.small import DIGIT, fresh, noise, worn
from bnexp.checks.times import in_turn
from bnexp.claims.findings import Finding
from bnexp.nn.folding import NORMS, Unfoldable, folded
from bnexp.nn.linear import Linear
from bnexp.nn.norm import BatchNorm
from bnexp.nn.plain import plain

SAME_LOGITS = 1e-10
"""Of logits, relative to the largest, in float64."""
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
    """Yield what folding changes of answers and times, and where it isn't possible.

    Args:
        rounds: in which the times are taken.
    """
    yield from _by_formula()
    yield _columns()
    for name, model in FOLDED.items():
        yield _same_logits(name, worn(fresh(model)))
    for name, model in REFUSED.items():
        yield _refused(name, worn(fresh(model)))
    for batch in (1, 256):
        yield _times(batch, rounds)


@torch.no_grad()
def _by_formula() -> Iterator[Finding]:
    """Yield whether the first layer has become what the formula says."""
    network = worn(fresh(MLP))
    layer = next(module for module in network.modules() if isinstance(module, Linear))
    norm = next(module for module in network.modules() if isinstance(module, BatchNorm))
    made = next(module for module in folded(network).modules() if isinstance(module, nn.Linear))
    scale_O = norm.gamma[0] / (norm.running_var[0] + norm.eps).sqrt()
    weight_OI, bias_O = (layer.get_parameter(name)[0] for name in ("weight", "bias"))
    formulas = {
        "W' = diag(γ/√(v + ε)) W scales the rows of a weight (out, in)": (made.weight, scale_O[:, None] * weight_OI),
        "b' = β + (b − m) γ/√(v + ε)": (made.bias, norm.beta[0] + (bias_O - norm.running_mean[0]) * scale_O),
    }
    for what, pair in formulas.items():
        error = difference(*pair)
        yield Finding(what, f"relative error {short(error)}", error, SAME_LOGITS)


def _columns() -> Finding:
    """Fold a layer x W + b whose weight is (in, out), numbers made up, and compare with torch's own batch norm."""
    x_BI, weight_IO = noise(2, UNITS, UNITS)
    bias_O, gamma_O, beta_O, mean_O, root_O = noise(5, UNITS, seed=1)
    variance_O = root_O.square() + 0.1
    expected_BO = F.batch_norm(x_BI @ weight_IO + bias_O, mean_O, variance_O, gamma_O, beta_O, eps=EPS)
    scale_O = gamma_O / (variance_O + EPS).sqrt()
    shift_O = beta_O + (bias_O - mean_O) * scale_O
    error = difference(x_BI @ (weight_IO @ scale_O.diag()) + shift_O, expected_BO)
    wrong = difference(x_BI @ (scale_O.diag() @ weight_IO) + shift_O, expected_BO)
    return Finding(
        "W' = W diag(γ/√(v + ε)) scales the columns of a weight (in, out)",
        f"relative error {short(error)}; with its rows scaled, outputs are {wrong:.0%} off",
        error,
        SAME_LOGITS,
    )


@torch.no_grad()
def _same_logits(name: str, network: nn.Module) -> Finding:
    x_NP = noise(IMAGES, 64)
    made = folded(network)
    error = difference(made(x_NP.unflatten(1, DIGIT)), network(x_NP[None])[0])
    left = sum(isinstance(layer, NORMS) for layer in made.modules())
    removed = sum(isinstance(layer, BatchNorm) for layer in network.modules())
    found = f"{removed} BN layers gone; logits differ by {short(error)} of the largest"
    # A norm layer that is left is as bad as another answer.
    return Finding(name, found, error + left, SAME_LOGITS)


def _refused(name: str, network: nn.Module) -> Finding:
    """Look for the refusal: folding would change the answers there."""
    try:
        folded(network)
    except Unfoldable as reason:
        return Finding(f"{name} can't be folded", f"refused: {reason}", 0, 0)
    return Finding(f"{name} can't be folded", "folded all the same", 1, 0)


def _times(batch: int, rounds: int) -> Finding:
    """Time a network of convolutions as torch.nn has it, with its norm layers and folded."""
    network = worn(fresh(VGG | {"width": 16, "bias": "auto"}, dtype=torch.float32))
    before, after = plain(network), folded(network)
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
