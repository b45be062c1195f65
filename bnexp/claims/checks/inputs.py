"""Inputs to scale: the transforms by their properties, and the range in which a sigmoid is nearly a line."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.claims.checks.networks import CPU, Moment, difference, last_moments, short, worst
from bnexp.claims.results import Finding
from bnexp.config.data import Scaling
from bnexp.data.normalize import Normalization, fit

EXACT = 1e-12
"""Of means, deviations and ways back, in float64."""
NEARLY_A_LINE = 0.05
"""Share of a sigmoid's variance that its best line may leave over a unit normal."""
WIDTHS = 1.0, 2.0, 4.0, 8.0, 16.0
"""Standard deviations of normal inputs."""
FAR, POINTS = 10.0, 20_001
"""Standard deviations to which normal inputs are followed, and at how many points."""
AFFINE = {"none": "neither γ nor β", "gamma": "γ alone", "beta": "β alone", "both": "γ and β"}
SEEN = 512
"""Training images whose way through trained networks is looked at."""


def input_scaling() -> Iterator[Finding]:
    """Yield whether min-max and z-score have the properties that define them, on made-up images of three channels."""
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randint(10, 60, (50, 3, 4, 4), dtype=torch.uint8, generator=generator)
    images_NCHW[:, 1] *= 4
    images_NCHW[:, 2] = 77
    yield from _z_score(images_NCHW, _fitted(images_NCHW, "standard"))
    yield from _min_max(images_NCHW, _fitted(images_NCHW, "unit"))
    for kind in ("standard", "unit"):
        yield from _both(images_NCHW, kind)


def linear_regime(steps: int = 200) -> Iterator[Finding]:
    """Yield how nearly a sigmoid is a line over normal inputs, and over those that trained networks give it.

    Args:
        steps: of each training.
    """
    left = {width: 1 - _fit_of_normal(width) for width in WIDTHS}
    found = f"R² = {1 - left[1.0]:.4f}: the best line leaves {left[1.0]:.2%} of the variance"
    yield Finding("a line fitted to a sigmoid over N(0, 1)", found, left[1.0], NEARLY_A_LINE)
    wider = list(left.values())
    listed = ", ".join(f"{1 - rest:.3f} at {width:g}" for width, rest in left.items())
    # The largest fall of what is left from one width to the next: it is to rise throughout.
    falls = worst(one - other for one, other in pairwise(wider))
    yield Finding("R² by the standard deviation of the inputs", listed, falls, 0)
    trained = last_moments(
        model={"depth": 3, "width": 50, "activation": "sigmoid"},
        arms={"none": None} | {f"affine_{affine}": {"model.norm.affine": affine} for affine in AFFINE},
        train={"steps": steps, "record_at": [steps], "batch_size": 64, "lr": 0.5},
    )
    for arm, moment in trained.items():
        learned = "without BN" if arm == "none" else f"BN with {AFFINE[arm.removeprefix('affine_')]}"
        yield _in_training(f"three sigmoid layers after {steps} steps on the digits, {learned}", moment)


def _z_score(images_NCHW: Tensor, fitted: Normalization) -> Iterator[Finding]:
    x_CN = fitted(images_NCHW.flatten(1)).view(images_NCHW.shape).transpose(0, 1).flatten(1)
    error = worst([float(x_CN.mean(1).abs().max()), difference(x_CN[:2].std(1, correction=0), [1.0, 1.0])])
    yield Finding("z-score: mean 0 and standard deviation 1 of each channel", f"off by {short(error)}", error, EXACT)
    error = float(x_CN[2].abs().max())
    yield Finding("z-score of a channel that is constant", f"0, not a division by 0: off by {short(error)}", error, 0)


def _min_max(images_NCHW: Tensor, fitted: Normalization) -> Iterator[Finding]:
    x_NP = fitted(images_NCHW.flatten(1))
    error = worst([abs(float(x_NP.min())), abs(float(x_NP.max()) - 1)])
    yield Finding("min-max: from 0 to 1", f"from {float(x_NP.min()):g} to {float(x_NP.max()):g}", error, 0)
    brightest = int(images_NCHW.max())
    outside = float(fitted(torch.full((1, x_NP.shape[1]), 255, dtype=torch.uint8)).max())
    expected = (255 - int(images_NCHW.min())) / (brightest - int(images_NCHW.min()))
    yield Finding(
        f"min-max of a test pixel of 255, where none in training was above {brightest}",
        f"{outside:.3f}: the training images alone set the range, so that others may leave it",
        difference(outside, expected),
        EXACT,
    )


def _both(images_NCHW: Tensor, kind: Scaling) -> Iterator[Finding]:
    """Yield whether a transform keeps order and distances, and loses nothing."""
    fitted, name = _fitted(images_NCHW, kind), {"standard": "z-score", "unit": "min-max"}[kind]
    ramp_VP = torch.arange(256, dtype=torch.uint8)[:, None].expand(-1, images_NCHW[0].numel())
    y_VP = fitted(ramp_VP)
    steps_VP = y_VP.diff(dim=0)
    error = worst([difference(steps_VP, steps_VP[:1].expand(255, -1)), float((steps_VP <= 0).sum())])
    found = f"equal steps, all upwards: off by {short(error)}"
    yield Finding(f"{name} of the bytes 0 to 255", found, error, EXACT)
    error = difference(y_VP * fitted.spread_P + fitted.shift_P, ramp_VP.double())
    yield Finding(f"{name} and back", f"off by {short(error)}", error, EXACT)


def _fitted(images_NCHW: Tensor, kind: Scaling) -> Normalization:
    return fit(images_NCHW, kind, {}, CPU, torch.float64)


def _fit_of_normal(width: float) -> float:
    """Return R² of the best line through a sigmoid whose inputs are normal with this standard deviation."""
    z_N = torch.linspace(-FAR, FAR, POINTS, dtype=torch.float64)
    return float(_fits((width * z_N)[:, None], (-z_N.square() / 2).exp()))


def _fits(z_NC: Float[Tensor, "N C"], weight_N: Float[Tensor, " N"]) -> Float[Tensor, " C"]:
    """Return for each feature R² of the best line through the sigmoid over some inputs that have weights."""
    weight_N1 = (weight_N / weight_N.sum())[:, None]
    z_NC, y_NC = ((each - (weight_N1 * each).sum(0)) for each in (z_NC, z_NC.sigmoid()))
    covariance_C, of_z_C, of_y_C = ((weight_N1 * each).sum(0) for each in (z_NC * y_NC, z_NC**2, y_NC**2))
    fit_C: Tensor = covariance_C**2 / (of_z_C * of_y_C)
    return fit_C


@torch.no_grad()
def _in_training(what: str, moment: Moment) -> Finding:
    """Tell what comes into the sigmoids of a network, and how nearly a line they are there."""
    network, inputs = moment.network().train(), list[Tensor]()
    for layer in network.modules():
        if isinstance(layer, nn.Sigmoid):
            layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0][0].double()))
    network(moment.data.inputs(moment.data.train.images_NP[:SEEN])[None])
    z_NC = torch.cat(inputs, dim=1)
    fit_C, deviation = _fits(z_NC, z_NC.new_ones(len(z_NC))), float(z_NC.std(0).mean())
    return Finding(
        what,
        f"R² {float(fit_C.mean()):.3f} on average, {float(fit_C.min()):.3f} at the least; inputs of standard deviation "
        f"{deviation:.2f}; test accuracy {moment.measures['test_accuracy']:.3f}",
    )
