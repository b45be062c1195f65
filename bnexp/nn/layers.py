"""Layers with the trial axis: linear, convolution, activations, dropout and Fixup's scalars; and the loss.

Activations of K trials have one of two layouts, x_KBC or x_BDHW.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.model import WeightKind
from bnexp.nn.plain_layers import AddScalar, Converter, ScaleByScalar, layer_from_state
from bnexp.streams import TrialRandom

Activations = Float[Tensor, "K B C"] | Float[Tensor, "B D H W"]
"""Outputs of fully connected layers, or of convolutions."""


def trials_of(network: nn.Module) -> int:
    """Return K, by which every parameter begins."""
    return len(next(network.parameters()))


def share_features(x_SBC: Float[Tensor, "S B C"], trials: int) -> Float[Tensor, "K B C"]:
    """Pass S inputs to K trials, each to K/S neighbours."""
    shared = len(x_SBC)
    if shared in (1, trials):
        return x_SBC.expand(trials, -1, -1)
    return x_SBC[:, None].expand(-1, trials // shared, -1, -1).flatten(0, 1)


def share_images(
    x_SBP: Float[Tensor, "S B P"], image: tuple[int, int, int], trials: int, *, apart: bool
) -> Float[Tensor, "B D H W"]:
    """Pass S inputs of C, H, W pixels to K trials, each to K/S neighbours; a single one stays one unless `apart`."""
    if len(x_SBP) > 1 or apart:
        x_SBP = share_features(x_SBP.flatten(1)[:, None], trials).reshape(trials, *x_SBP.shape[1:])
    x_BDHW: Tensor = x_SBP.unflatten(-1, image).transpose(0, 1).flatten(1, 2)
    return x_BDHW.contiguous(memory_format=torch.channels_last)


def pooled_features(x_BDHW: Float[Tensor, "B D H W"], trials: int) -> Float[Tensor, "K B C"]:
    """Return every channel's mean over all places."""
    mean_BKC: Tensor = x_BDHW.mean((2, 3)).unflatten(1, (trials, -1))
    return mean_BKC.transpose(0, 1)


def per_trial(numbers_K: Float[Tensor, " K"], x: Activations) -> Tensor:
    """Return one number per trial in a shape that broadcasts over the trial's activations."""
    if x.ndim == 3:
        return numbers_K[:, None, None]
    return numbers_K.repeat_interleave(x.shape[1] // len(numbers_K))[:, None, None]


def draws_for(x: Activations, trials: int, draw: Callable[..., Float[Tensor, "K ..."]]) -> Tensor:
    """Return random numbers of the shape of x; every trial draws (B, C), or (B, H, W, C)."""
    if x.ndim == 3:
        return draw(*x.shape[1:])
    batch, channels, height, width = x.shape
    # In the order in which activations lie in memory.
    return draw(batch, height, width, channels // trials).permute(1, 0, 4, 2, 3).flatten(1, 2)


STANDARDIZED_EPS, SCALED_EPS = 1e-5, 1e-4
"""Added to the variance of a unit's weights, and to that times their number."""


class _Weighted(nn.Module):
    """A layer with a weight of its own for every trial, as in torch.nn with the trials in front; zero at first.

    Attributes:
        weight: (K, out, in, …).
        bias: (K, out), or None.
        gain: (K, out), the learned factor on each unit's scaled weights, 1 at first; or None.
        fixup_gain: factor on the initial weights under fixup.
        activation_gain: factor on scaled weights, that of the activation whose outputs come in.
    """

    fixup_gain = activation_gain = 1.0

    def __init__(self, *shape: int, bias: bool, weights: WeightKind = "plain"):
        super().__init__()
        self._kind = weights
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[:2])) if bias else None
        self.gain = nn.Parameter(torch.ones(shape[:2])) if weights == "scaled" else None

    def used_weight(self) -> Float[Tensor, "K out in *kernel"]:
        """Return what inputs are multiplied with: the weight, or its standardised form.

        With mean μ and variance σ² of a unit's N weights, these are (W − μ)/√(σ² + ε) (Qiao et al. 2019,
        arXiv:1903.10520, section 3) or, with the activation's gain γ and the learned gain g, g γ (W − μ)/√(N σ² + ε)
        (Brock et al. 2021, arXiv:2101.08692, section 4).
        """
        if self._kind == "plain":
            return self.weight
        flat_KUN = self.weight.flatten(2)
        count = flat_KUN.shape[2]
        eps = STANDARDIZED_EPS if self.gain is None else SCALED_EPS / count
        made_KUN = F.layer_norm(flat_KUN, [count], eps=eps)
        if self.gain is not None:
            made_KUN = made_KUN * (self.gain * (self.activation_gain / count**0.5))[..., None]
        return made_KUN.view_as(self.weight)

    def _plain(self, kind: type[nn.Module], *sizes: int, **options: int) -> nn.Module:
        state = {"weight": self.used_weight()[0]} | ({} if self.bias is None else {"bias": self.bias[0]})
        _, units, features, *_ = self.weight.shape
        return layer_from_state(kind, state, features, units, *sizes, bias=self.bias is not None, **options)


def linear(
    x_SBC: Float[Tensor, "S B in"], weight_KUC: Float[Tensor, "K out in"], bias_KU: Float[Tensor, "K out"] | None
) -> Float[Tensor, "K B out"]:
    """Return W x + b of every trial; S inputs are shared by K/S neighbouring trials each.

    In memory the output is (K, out, B), which the next product, and batch norm with its K·out channels, read without a
    copy. A shared input isn't copied either: the rows of all weights that it is multiplied with are one matrix.
    """
    if len(x_SBC) == len(weight_KUC) and bias_KU is not None:
        return torch.baddbmm(bias_KU[..., None], weight_KUC, x_SBC.mT).mT
    y_KUB = product(x_SBC, weight_KUC)
    return (y_KUB if bias_KU is None else y_KUB + bias_KU.to(y_KUB.dtype)[..., None]).mT


def product(x_SBC: Float[Tensor, "S B in"], weight_KUC: Float[Tensor, "K out in"]) -> Float[Tensor, "K out B"]:
    """Return W x of every trial, as it lies in memory."""
    inputs, (trials, units, features) = len(x_SBC), weight_KUC.shape
    if trials % inputs:
        raise ValueError(f"{inputs} inputs can't be shared by {trials} trials")
    return torch.bmm(weight_KUC.view(inputs, -1, features), x_SBC.mT).view(trials, units, -1)


class Linear(_Weighted):
    """y = W x + b."""

    def __init__(self, trials: int, features: int, units: int, *, bias: bool = True, weights: WeightKind = "plain"):
        super().__init__(trials, units, features, bias=bias, weights=weights)

    def forward(self, x_SBC: Float[Tensor, "S B in"]) -> Float[Tensor, "K B out"]:
        """Return each trial's product with its own weight; S inputs are shared by K/S neighbouring trials each."""
        return linear(x_SBC, self.used_weight(), self.bias)

    def product(self, x_SBC: Float[Tensor, "S B in"]) -> Float[Tensor, "K out B"]:
        """Return W x, as it lies in memory."""
        return product(x_SBC, self.used_weight())

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield self._plain(nn.Linear)


KERNEL = 3


class Conv2d(_Weighted):
    """Cross-correlation with kernels of 3×3, zeros around the picture; as torch.nn.Conv2d."""

    def __init__(
        self,
        trials: int,
        features: int,
        channels: int,
        *,
        stride: int = 1,
        bias: bool = True,
        weights: WeightKind = "plain",
    ):
        super().__init__(trials, channels, features, KERNEL, KERNEL, bias=bias, weights=weights)
        self.stride = stride

    def forward(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B E h w"]:
        """Return the K·C_out channels of all trials; an input of C_in channels is shared by all of them."""
        bias_E = None if self.bias is None else self.bias.flatten()
        groups = x_BDHW.shape[1] // self.weight.shape[2]
        return F.conv2d(x_BDHW, self.used_weight().flatten(0, 1), bias_E, self.stride, KERNEL // 2, groups=groups)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield self._plain(nn.Conv2d, KERNEL, stride=self.stride, padding=KERNEL // 2)


class Dropout(nn.Module):
    """Inverted dropout: in training, units whose uniform is below the trial's rate become 0, the rest grow."""

    rate_K: Tensor
    gain_K: Tensor

    def __init__(self, rates: Sequence[float], draws: TrialRandom):
        super().__init__()
        self.draws = draws
        self.register_buffer("rate_K", torch.tensor(rates, dtype=torch.float32), persistent=False)
        gains = [1 / (1 - rate) for rate in rates]  # not by torch, which loads its compiler for the meta device
        self.register_buffer("gain_K", torch.tensor(gains, dtype=torch.float64), persistent=False)

    def forward(self, x: Activations) -> Activations:
        if not self.training:
            return x
        uniforms = draws_for(x, len(self.rate_K), lambda *shape: self.draws.uniform("dropout", *shape))
        kept = uniforms >= per_trial(self.rate_K, x)
        return x * (kept * per_trial(self.gain_K, x)).to(x.dtype)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield from ()  # evaluation drops nothing


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
GAINS = {
    "relu": 1.71285855044966,  # √(2/(1 − 1/π))
    "leaky_relu": 1.70483162717735,
    "elu": 1.27084341785019,
    "selu": 1.0,
    "gelu": 1.70092624336333,
    "silu": 1.78718722210044,
    "tanh": 1.59253741972282,
    "sigmoid": 4.80131337203994,
    "identity": 1.0,
}
"""1/√Var[f(z)] of every activation f for a standard normal z, by quadrature."""


SHARE = 0.1**0.5
"""Change of a scalar per change of its parameter: √0.1, so that under SGD it learns at a tenth of the rate."""


class ScalarBias(nn.Module):
    """Fixup's x + b with one learned number per trial, 0 at the start.

    It serves a whole layer, and its gradient sums up over all of it: as in the program of Zhang et al. 2019 it learns
    at a tenth of the rate of the weights. Making it √(1/10) of a parameter has the same effect under SGD, also with
    momentum: the gradient shrinks by that factor, and so does the step. At the full rate a ResNet-110 (width 4, rate
    0.1, CIFAR-10) stayed at chance; this way it reached 23 % of its training images in 120 steps.

    Attributes:
        bias: (K, 1); b is SHARE times that.
    """

    def __init__(self, trials: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(trials, 1))

    def forward(self, x: Activations) -> Activations:
        return x + per_trial(SHARE * self.bias[:, 0], x).to(x.dtype)

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield layer_from_state(AddScalar, {"number": SHARE * self.bias[0, 0]})


class ScalarMultiplier(nn.Module):
    """a·x with one learned number per trial: Fixup's is 1 at the start and learns like ScalarBias.

    Args:
        trials: K.
        start: a at the start.
        share: change of a per change of its parameter.

    Attributes:
        factor: (K, 1); a − start is share times factor − start.
    """

    def __init__(self, trials: int, start: float = 1.0, share: float = SHARE):
        super().__init__()
        self._start, self._share = start, share
        self.factor = nn.Parameter(torch.full((trials, 1), start))

    def forward(self, x: Activations) -> Activations:
        return x * per_trial(self._numbers(), x).to(x.dtype)

    def _numbers(self) -> Float[Tensor, " K"]:
        number_K: Tensor = self._start + self._share * (self.factor[:, 0] - self._start)
        return number_K

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        yield layer_from_state(ScaleByScalar, {"number": self._numbers()[0]})


def losses(
    logits_KBC: Float[Tensor, "K B C"], labels_SB: Int[Tensor, "S B"], label_smoothing: float = 0.0
) -> Float[Tensor, "K B"]:
    """Return the cross-entropy of every trial and image; labels are shared by all trials, or one row a seed."""
    each = len(logits_KBC) // len(labels_SB)
    labels_KB = labels_SB.repeat_interleave(each, dim=0) if each > 1 else labels_SB
    # Over the middle axis, in the order in which the logits lie in memory: 4 to 12 times as fast as over a last one
    # of ten classes (16 and 320 trials, two CPU cores).
    return F.cross_entropy(logits_KBC.mT, labels_KB, reduction="none", label_smoothing=label_smoothing)
