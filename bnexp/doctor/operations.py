"""What networks are made of, on a device, beside the same in float64: norm layers, a convolution and a product.

Norms are compared with bnexp.reference: layer and group norm also normalise columns, which only hold other numbers.
Sums of products are compared with torch on the CPU. Numbers have mean 1 and deviation 1, from which every sound way to
a variance is a good one (Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115); ε is large enough to be
missed.

Shapes: G groups of g features; N numbers that are normalised together, in D columns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from bnexp import reference
from bnexp.config.norm import NormSettings
from bnexp.config.train import TrainSettings
from bnexp.doctor.rounding import PRECISIONS, Array, Precision, Rounded, sum_error
from bnexp.nn.layers import Conv2d, Linear
from bnexp.training.numerics import autocast

TRIALS, BATCH, GROUPS, FEATURES = 2, 16, 4, 16
SIDES = {"features": 1, "images": 4}
"""Height and width of the images that are normalised; features are images of one pixel."""
AFFINE = (1, TRIALS, GROUPS, FEATURES // GROUPS, 1, 1)
"""Shape of γ and β beside activations as (B, K, G, g, H, W)."""
OVER = {"batch": (0, 4, 5), "layer": (2, 3, 4, 5), "group": (3, 4, 5)}
"""Axes of such activations that a kind of norm normalises over."""
SHARING = OVER["batch"]
"""Axes along which γ and β are the same."""
EPS, MOMENTUM = 0.1, 0.25
TILE = 32
"""Terms, at least, of a part of a sum that is rounded to the type of the result, as cuBLAS does: a small tile's depth
(see torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction)."""


@dataclass(frozen=True)
class Deviation:
    """How far a quantity is off, at the number that is furthest off relative to what is allowed."""

    quantity: str
    error: float
    allowed: float
    share: float
    """The error as a share of what is allowed; above 1 something is wrong."""


Deviations = Iterator[Deviation]


def worst(quantity: str, found: Tensor, exact: Array, allowed: Array) -> Deviation:
    """Compare a quantity from a device with what it should be."""
    error, allowed = np.broadcast_arrays(abs(found.detach().cpu().double().numpy() - exact), allowed)
    with np.errstate(divide="ignore"):
        share = np.where(error == 0, 0.0, error / np.where(error == 0, 1.0, allowed))
    share = np.where(np.isnan(share), np.inf, share)
    place = share.argmax()
    return Deviation(quantity, *(float(each.flat[place]) for each in (error, allowed, share)))


def numbers(seed: int, *shape: int, like: torch.dtype = torch.float32) -> Float64[Tensor, "..."]:
    """Return numbers that a type can hold, in float64."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (1 + drawn).to(like).double()


def _activations(train: TrainSettings) -> torch.dtype:
    """Return the type in which a layer gets the output of another."""
    return torch.bfloat16 if train.precision == "bf16" else torch.float32


def _passed(
    layer: nn.Module, x: Tensor, dy: Tensor, device: torch.device, train: TrainSettings
) -> dict[str, Float[Tensor, "..."]]:
    """Pass x forward and dy backward through a layer as training does; return y and all gradients."""
    theta, x = dict(layer.named_parameters()), x.to(device, _activations(train)).requires_grad_()
    with autocast(train, device):
        y: Tensor = layer(x)
    gradients = _gradients(y, dy.to(device, y.dtype), [x, *theta.values()])
    return {"y": y} | dict(zip(("dx", *(f"d{name}" for name in theta)), gradients, strict=True))


def _gradients(y: Tensor, dy: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    # Not grad(y, given, dy), which imports SymPy and takes 0.4 s the first time. The gradient of y is dy exactly.
    return torch.autograd.grad((y * dy).sum(), given)


class _NormCase:
    """A norm layer on a device and the numbers for it, in float64 as (B, K, G, g, H, W)."""

    def __init__(self, kind: str, side: int, device: torch.device, train: TrainSettings):
        self.over, self.shape = OVER[kind], (BATCH, *AFFINE[1:4], side, side)
        self.x, self.dy = (numbers(seed, *self.shape, like=_activations(train)) for seed in (0, 1))
        self.gamma, self.beta = (numbers(seed, *AFFINE) for seed in (2, 3))
        settings = NormSettings(kind=kind, groups=GROUPS, eps=EPS, momentum=MOMENTUM)
        self.layer: nn.Module = settings.spec.load()(TRIALS, FEATURES, settings)
        state = {name: each.reshape(TRIALS, FEATURES) for name, each in (("gamma", self.gamma), ("beta", self.beta))}
        self.layer.load_state_dict(state, strict=False)
        self.layer.to(device, torch.float32)
        self._device, self._train = device, train

    def passed(self) -> dict[str, Tensor]:
        """Return y and all gradients."""
        found = _passed(self.layer, self._to_layer(self.x), self._to_layer(self.dy), self._device, self._train)
        shapes = {"y": self.shape, "dx": self.shape, "dgamma": AFFINE, "dbeta": AFFINE}
        return {name: self._from_layer(each).reshape(shapes[name]) for name, each in found.items()}

    def _to_layer(self, x: Tensor) -> Tensor:
        if self.shape[-1] > 1:
            return x.flatten(1, 3).contiguous(memory_format=torch.channels_last)
        return x.flatten(2).permute(1, 2, 0).contiguous().mT

    def _from_layer(self, y: Tensor) -> Tensor:
        return y.transpose(0, 1) if y.ndim == 3 else y

    def columns(self, x: Tensor) -> Float64[np.ndarray, "N D"]:
        """Return numbers as columns that are normalised each by itself, as the reference takes them."""
        moved = np.moveaxis(x.numpy(), self.over, range(len(self.over)))
        return moved.reshape(prod(moved.shape[: len(self.over)]), -1)

    def from_columns(self, x_ND: Float64[np.ndarray, "N D"]) -> Array:
        """Undo columns."""
        front = range(len(self.over))
        moved = np.moveaxis(np.empty(self.shape), self.over, front)
        return np.moveaxis(x_ND.reshape(moved.shape), front, self.over)


def norm(kind: str) -> Callable[[torch.device, TrainSettings], Deviations]:
    """Return the check of a kind of norm layer: forward, and backward to x, γ and β."""

    def check(device: torch.device, train: TrainSettings) -> Deviations:
        for layout, side in SIDES.items():
            case = _NormCase(kind, side, device, train)
            exact, allowed, found = _exact(case), _allowed(case, PRECISIONS[train.precision]), case.passed()
            for name, values in found.items():
                yield worst(f"{name} of {layout}", values, exact[name], allowed[name].error)

    return check


def _exact(case: _NormCase) -> Mapping[str, Array]:
    gamma, beta, dy = case.gamma.numpy(), case.beta.numpy(), case.dy.numpy()
    x_ND = case.columns(case.x)
    one_D, zero_D = np.ones(x_ND.shape[1]), np.zeros(x_ND.shape[1])
    normalised_ND, cache = reference.forward(x_ND, one_D, zero_D, EPS)
    normalised = case.from_columns(normalised_ND)
    return {
        "y": gamma * normalised + beta,
        "dx": case.from_columns(reference.backward(case.columns(case.gamma * case.dy), cache).dx),
        "dgamma": (dy * normalised).sum(SHARING, keepdims=True),
        "dbeta": dy.sum(SHARING, keepdims=True),
    }


def _allowed(case: _NormCase, precision: Precision) -> Mapping[str, Rounded]:
    """Follow rounding through the formulas of reference.backward_closed_form."""
    x, dy, gamma, beta = (Rounded(each.numpy()) for each in (case.x, case.dy, case.gamma, case.beta))
    mean, variance = _moments(x, case.over)
    inverse = (variance + EPS).inverse_root()
    y = gamma * ((x - mean) * inverse).kept(precision) + beta
    # The statistics are kept for the backward pass in the type of activations: torch's layer norm without γ does so on
    # a CPU.
    mean, inverse = mean.kept(precision), inverse.kept(precision)
    normalised = ((x - mean) * inverse).kept(precision)
    d = (gamma * dy).kept(precision)
    along = (d * normalised).mean(case.over)
    return {
        "y": y.kept(precision),
        "dx": (inverse * (d - d.mean(case.over) - normalised * along)).kept(precision),
        "dgamma": (dy * normalised).sum(SHARING),
        "dbeta": dy.sum(SHARING),
    }


def _moments(x: Rounded, over: tuple[int, ...]) -> tuple[Rounded, Rounded]:
    mean = x.mean(over)
    return mean, ((x - mean) * (x - mean)).mean(over)


def running_statistics(device: torch.device, train: TrainSettings) -> Deviations:
    """Check the running statistics of batch norm after a batch, and the evaluation that uses them."""
    convention = reference.Convention(kept=1 - MOMENTUM, unbiased=True, first_variance=1.0, eps=EPS)
    for layout, side in SIDES.items():
        case = _NormCase("batch", side, device, train)
        case.passed()
        x_ND, gamma_D, beta_D = case.columns(case.x), case.gamma.numpy().ravel(), case.beta.numpy().ravel()
        _, cache = reference.forward(x_ND, gamma_D, beta_D, EPS)
        running = reference.update(reference.start(len(gamma_D), convention), cache, convention)
        y_ND, _ = reference.forward_evaluation(x_ND, gamma_D, beta_D, running, EPS)
        x, gamma, beta = (Rounded(each.numpy()) for each in (case.x, case.gamma, case.beta))
        mean, variance = _moments(x, case.over)
        mean = mean * MOMENTUM
        variance = variance * (MOMENTUM * len(x_ND) / (len(x_ND) - 1)) + (1 - MOMENTUM)
        y = (gamma * ((x - mean) * (variance + EPS).inverse_root()) + beta).kept(PRECISIONS[train.precision])
        for name, exact_D, bound in (("mean", running.mean_C, mean), ("var", running.variance_C, variance)):
            found = case.layer.get_buffer(f"running_{name}").reshape(AFFINE)
            yield worst(f"running_{name} of {layout}", found, exact_D.reshape(AFFINE), bound.error)
        case.layer.eval()
        yield worst(f"y of {layout} in evaluation", case.passed()["y"], case.from_columns(y_ND), y.error)


def product(device: torch.device, train: TrainSettings) -> Deviations:
    """Check the product in a fully connected layer: forward, and backward to x, W and b."""
    layer = Linear(TRIALS, 48, 32)
    yield from _products(layer, (TRIALS, BATCH, 48), lambda x, w, b: x @ w.mT + b[:, None], device, train)


def convolution(device: torch.device, train: TrainSettings) -> Deviations:
    """Check a convolution of one trial, as networks train: forward, and backward to x, W and b."""
    layer = Conv2d(1, 8, 8)
    yield from _products(layer, (BATCH, 8, 4, 4), lambda x, w, b: torch.conv2d(x, w[0], b[0], padding=1), device, train)


def _products(
    layer: nn.Module,
    shape: tuple[int, ...],
    function: Callable[[Tensor, Tensor, Tensor], Tensor],
    device: torch.device,
    train: TrainSettings,
) -> Deviations:
    """Check a layer whose output and gradients are sums of products, given what it does to x, W and b.

    With the magnitudes of its numbers as inputs, it gives the sums of the terms' magnitudes; with ones, the numbers of
    terms.
    """
    state = {name: numbers(seed, *each.shape) for seed, (name, each) in enumerate(layer.named_parameters(), start=2)}
    layer.load_state_dict(state)
    given = [numbers(0, *shape, like=_activations(train)), *state.values()]
    dy = numbers(1, *function(*given).shape, like=_activations(train))
    found = _passed(layer.to(device), given[0], dy, device, train)
    exact, terms, counts = (
        _sums(function, list(map(act, given)), act(dy)) for act in (torch.clone, abs, torch.ones_like)
    )
    precision = PRECISIONS[train.precision]
    for (name, values), sums, magnitudes, count in zip(found.items(), exact, terms, counts, strict=True):
        share = sum_error(count) + 2 * precision.factors + np.ceil(count / TILE) * precision.results
        yield worst(name, values, sums, share * magnitudes)


def _sums(function: Callable[..., Tensor], given: list[Tensor], dy: Tensor) -> list[Array]:
    """Return y and the gradients of all that is given, in float64 on the CPU."""
    given = [each.detach().requires_grad_() for each in given]
    y = function(*given)
    return [each.detach().numpy() for each in (y, *_gradients(y, dy, given))]
