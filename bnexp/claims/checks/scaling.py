"""Scaling: of inputs by the training images, and of gradients by clipping, with what is recorded of them.

Pascanu et al. 2013, arXiv:1211.5063, section 3.2 and algorithm 1 (clipping by norm).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import atan2, degrees
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.claims.checks.networks import (
    CPU,
    Moment,
    compare,
    difference,
    last_moments,
    layers_of,
    small_experiment,
    within,
    worst,
)
from bnexp.claims.runs import Finding
from bnexp.config.data import Scaling
from bnexp.config.train import ClipSettings
from bnexp.data.normalize import Normalization, fit
from bnexp.errors import not_installed
from bnexp.nn.clipping import Clipping
from bnexp.report.tensorboard import write_events
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.reader import RunRecord

EXACT = 1e-12
"""Largest error of means, standard deviations and inverse transforms in float64."""
NEARLY_A_LINE = 0.05
"""Share of a sigmoid's variance that the best line may leave unexplained, for unit normal inputs."""
WIDTHS = 1.0, 2.0, 4.0, 8.0, 16.0
"""Standard deviations of normal inputs."""
AFFINE = {"none": "neither γ nor β", "gamma": "γ alone", "beta": "β alone", "both": "γ and β"}
SEEN = 512
"""How many training images are followed through trained networks."""


def input_scaling() -> Iterator[Finding]:
    """Test the defining properties of min-max and z-score scaling on made-up images of three channels."""
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randint(10, 60, (50, 3, 4, 4), dtype=torch.uint8, generator=generator)
    images_NCHW[:, 1] *= 4
    images_NCHW[:, 2] = 77
    yield from _z_score(images_NCHW)
    yield from _min_max(images_NCHW)
    yield from _both(images_NCHW, "z-score", "standard")
    yield from _both(images_NCHW, "min-max", "unit")


def _z_score(images_NCHW: Tensor) -> Iterator[Finding]:
    x_CN = _fitted(images_NCHW, "standard")(images_NCHW.flatten(1)).view(images_NCHW.shape).transpose(0, 1).flatten(1)
    error = worst([float(x_CN.mean(1).abs().max()), difference(x_CN[:2].std(1, correction=0), [1.0, 1.0])])
    yield within("z-score: mean 0 and standard deviation 1 of each channel", error, EXACT, "off by {}")
    constant = float(x_CN[2].abs().max())
    yield within("z-score of a channel that is constant", constant, 0, "0, not a division by 0: off by {}")


def _min_max(images_NCHW: Tensor) -> Iterator[Finding]:
    fitted = _fitted(images_NCHW, "unit")
    x_NP = fitted(images_NCHW.flatten(1))
    least, most = float(x_NP.min()), float(x_NP.max())
    yield Finding("min-max: from 0 to 1", f"from {least:g} to {most:g}", worst([abs(least), abs(most - 1)]), 0)
    darkest, brightest = int(images_NCHW.min()), int(images_NCHW.max())
    outside = float(fitted(torch.full((1, x_NP.shape[1]), 255, dtype=torch.uint8)).max())
    yield compare(
        f"min-max of a test pixel of 255, where none in training was above {brightest}",
        outside,
        (255 - darkest) / (brightest - darkest),
        EXACT,
        f"{outside:.3f}: the training images alone set the range, so that others may leave it",
    )


def _both(images_NCHW: Tensor, name: str, kind: Scaling) -> Iterator[Finding]:
    """Test that a transform keeps order and distances, and can be inverted."""
    fitted = _fitted(images_NCHW, kind)
    ramp_VP = torch.arange(256, dtype=torch.uint8)[:, None].expand(-1, images_NCHW[0].numel())
    y_VP = fitted(ramp_VP)
    steps_VP = y_VP.diff(dim=0)
    error = worst([difference(steps_VP, steps_VP[:1].expand(255, -1)), float((steps_VP <= 0).sum())])
    yield within(f"{name} of the bytes 0 to 255", error, EXACT, "equal steps, all upwards: off by {}")
    back_VP = y_VP * fitted.spread_P + fitted.shift_P
    yield compare(f"{name} and back", back_VP, ramp_VP.double(), EXACT, "off by {}")


def _fitted(images_NCHW: Tensor, kind: Scaling) -> Normalization:
    return fit(images_NCHW, kind, {}, CPU, torch.float64)


def linear_regime(steps: int = 200) -> Iterator[Finding]:
    """Yield how close a sigmoid is to a line, for normal inputs and for those in trained networks."""
    left = {width: 1 - _fit_of_normal(width) for width in WIDTHS}
    found = f"R² = {1 - left[1.0]:.4f}: the best line leaves {left[1.0]:.2%} of the variance"
    yield Finding("a line fitted to a sigmoid over N(0, 1)", found, left[1.0], NEARLY_A_LINE)
    listed = ", ".join(f"{1 - rest:.3f} at {width:g}" for width, rest in left.items())
    # The error is the largest fall of the unexplained share from one width to the next: it should always rise.
    falls = worst(one - other for one, other in pairwise(left.values()))
    yield Finding("R² by the standard deviation of the inputs", listed, falls, 0)
    trained = last_moments(
        model={"depth": 3, "width": 50, "activation": "sigmoid"},
        arms={"none": None} | {f"affine_{affine}": {"model.norm.affine": affine} for affine in AFFINE},
        train={"steps": steps, "record_at": [steps], "batch_size": 64, "lr": 0.5},
    )
    for arm, moment in trained.items():
        learned = "without BN" if arm == "none" else f"BN with {AFFINE[arm.removeprefix('affine_')]}"
        yield _in_training(f"three sigmoid layers after {steps} steps on the digits, {learned}", moment)


def _fit_of_normal(width: float) -> float:
    """Return R² of the best line through a sigmoid, for normal inputs with this standard deviation."""
    z_N = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
    return float(_fits((width * z_N)[:, None], (-z_N.square() / 2).exp()))


def _fits(z_NC: Float[Tensor, "N C"], weight_N: Float[Tensor, " N"]) -> Float[Tensor, " C"]:
    """Return, for each feature, R² of the best line through the sigmoid over weighted inputs."""
    weight_N1 = (weight_N / weight_N.sum())[:, None]
    z_NC, y_NC = ((each - (weight_N1 * each).sum(0)) for each in (z_NC, z_NC.sigmoid()))
    covariance_C, of_z_C, of_y_C = ((weight_N1 * each).sum(0) for each in (z_NC * y_NC, z_NC**2, y_NC**2))
    fit_C: Tensor = covariance_C**2 / (of_z_C * of_y_C)
    return fit_C


@torch.no_grad()
def _in_training(what: str, moment: Moment) -> Finding:
    """Measure the inputs of a network's sigmoids, and how close to a line the sigmoids are there."""
    network, inputs = moment.network().train(), list[Tensor]()
    for layer in layers_of(network, nn.Sigmoid):
        layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0][0].double()))
    network(moment.data.inputs(moment.data.train.images_NP[:SEEN])[None])
    z_NC = torch.cat(inputs, dim=1)
    fit_C, deviation = _fits(z_NC, z_NC.new_ones(len(z_NC))), float(z_NC.std(0).mean())
    return Finding(
        what,
        f"R² {float(fit_C.mean()):.3f} on average, {float(fit_C.min()):.3f} at the least; inputs of standard deviation "
        f"{deviation:.2f}; test accuracy {moment.measures['test_accuracy']:.3f}",
    )


CLIPPED = 1e-6
"""Relative error of a clipped gradient: 1e-6 is added to its norm, as in PyTorch."""
SINGLE = 1e-6
"""Relative error of float32, which TensorBoard keeps."""
AFTER = 1e-5
"""Relative error of norms after clipping; the 1e-6 lowers them."""
UPDATE = 1e-10
"""Relative error of an update that is computed from the weights before and after, in float64."""
LIMIT, RATE, BATCH = 0.5, 0.1, 100
"""The norm to which the gradient of each tensor is clipped, the learning rate, and the batch size: all images."""
BEFORE_AND_AFTER = "gradient_norm", "gradient_norm.clipped"
NORMS = *BEFORE_AND_AFTER, "gradient_norm.scale_free", "update_ratio"
"""Probes of weights: ‖g‖, the same after clipping, ‖g‖·‖W‖ and ‖ΔW‖/‖W‖."""
NOTE = [0.9, 100.0]
"""The gradient of Hands-On Machine Learning, chapter 11."""


def clipping_numbers() -> Iterator[Finding]:
    """Compare clipped gradients with known results: by value, and by the norm of each tensor and of all."""
    by_value, by_norm = _clip([NOTE], value=1.0)[0], _clip([NOTE], norm_global=1.0)[0]
    yield compare("[0.9, 100] clipped by value to 1", by_value, [0.9, 1.0], 0, _turned(by_value))
    yield compare("[0.9, 100] clipped by norm to 1", by_norm, [0.00899964, 0.9999595], CLIPPED, _turned(by_norm))
    yield within("direction, clipped by norm", _angle(by_norm), CLIPPED, "turned by {} degrees")
    tensors = [NOTE, [0.03, 0.04], [3.0, 4.0]]
    each, whole = _clip(tensors, norm_per_tensor=1.0), _clip(tensors, norm_global=1.0)
    expected = [np.divide(grad, max(float(np.linalg.norm(grad)), 1.0)) for grad in tensors]
    error = worst(difference(mine, theirs) for mine, theirs in zip(each, expected, strict=True))
    what = "norm_per_tensor: 1, each by its own norm, on tensors of norm 100, 0.05 and 5"
    yield within(what, error, CLIPPED, _norms(each))
    theta = [nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in tensors]
    for tensor, grad in zip(theta, tensors, strict=True):
        tensor.grad = torch.tensor(grad, dtype=torch.float64)
    nn.utils.clip_grad_norm_(theta, 1.0)
    by_torch = torch.cat([tensor.grad for tensor in theta if tensor.grad is not None])
    yield compare("norm_global: 1, as PyTorch's clip_grad_norm_", torch.cat(whole), by_torch, EXACT, _norms(whole))


def _clip(tensors: Sequence[Sequence[float]], **settings: float) -> list[Tensor]:
    gradient = [torch.tensor([grad], dtype=torch.float64) for grad in tensors]
    clip = Clipping.of([ClipSettings(**settings)], nn.ParameterList(gradient))
    return [grad_KP[0] for grad_KP in clip(gradient)]


def _angle(clipped: Tensor) -> float:
    """Return the angle in degrees between a clipped gradient and the note's; unlike acos, exact for small angles."""
    (a, b), (c, d) = NOTE, clipped.tolist()
    return degrees(atan2(abs(a * d - b * c), a * c + b * d))


def _turned(clipped: Tensor) -> str:
    values = ", ".join(f"{value:.7g}" for value in clipped.tolist())
    return f"[{values}]: turned by {_angle(clipped):.3g} degrees"


def _norms(tensors: Sequence[Tensor]) -> str:
    return f"norms {', '.join(f'{float(grad.norm()):.3g}' for grad in tensors)}"


def gradient_tracking(steps: int = 6) -> Iterator[Finding]:
    """Test that gradient norms are recorded before and after clipping, and that event files show the same."""
    with TemporaryDirectory() as folder:
        record = _run(Path(folder), steps)
        yield from _after_clipping(record.probes)
        if missing := not_installed("tensorboard"):
            yield Finding("event files against probes.csv", f"not tested: {missing}")
        else:
            yield from _read_back(record, Path(folder) / "events")


def _run(folder: Path, steps: int) -> RunRecord:
    """Train with and without BN on one batch that holds all images, so that probes see the update's own gradient."""
    config = small_experiment(
        data={"name": "digits", "train_size": BATCH, "val_size": 0},
        model={"depth": 2, "width": 16, "activation": "relu"},
        arms=["none", "before"],
        train={"steps": steps, "batch_size": BATCH, "lr": RATE, "precision": "fp64"}
        | {"clip": {"norm_per_tensor": LIMIT}},
        probes=["gradient_norm", "update_ratio"],
    )
    return run(prepare(config, folder, "cpu"))


def _after_clipping(probes: pd.DataFrame) -> Iterator[Finding]:
    """Compare norms before and after clipping in probes.csv, and the updates that plain SGD made."""
    of_weights = probes[probes["probe"].isin(NORMS)]
    table = of_weights.pivot_table(index=["trial", "layer"], columns=["probe", "step"], values="value")
    norm, after, free, ratio = (table.xs(name, axis=1).to_numpy() for name in NORMS)
    # Measured before each update; the update has the number of the next record.
    before, after, weight = norm[:, :-1], after[:, :-1], (free / norm)[:, :-1]
    yield compare(
        f"probes.csv of {len(table)} weights over {before.shape[1]} updates, norm_per_tensor: {LIMIT:g}",
        after,
        before.clip(max=LIMIT),
        AFTER,
        f"gradients of norm {before.min():.2g} to {before.max():.2g}, {int((before > LIMIT).sum())} of {before.size} "
        f"above; as clipped at most {after.max():.3g}",
    )
    what = "norms as clipped against ‖ΔW‖ / rate of the updates that were made"
    yield compare(what, ratio * weight / RATE, after, UPDATE, "relative difference {}")


def _read_back(record: RunRecord, folder: Path) -> Iterator[Finding]:
    """Compare event files, as TensorBoard reads them, with probes.csv."""
    write_events(record, folder)
    probes = record.probes
    shown = pd.concat(_scalars(folder, trial) for trial in probes["trial"].unique())
    tags = probes["probe"].where(probes["layer"] == "", probes["probe"] + "/" + probes["layer"])
    read = probes.assign(tag=tags).merge(shown, how="left", on=["trial", "tag", "step"])
    is_norm = read["probe"].isin(BEFORE_AND_AFTER)
    for what, some in {"norms before and after clipping": read[is_norm], "values": read}.items():
        there = some.dropna(subset="shown")
        missing = len(some) - len(there)
        error = worst(map(difference, there["shown"], there["value"]))
        yield within(
            f"event files against the {len(some)} {what} of probes.csv",
            missing + error if len(some) else float("inf"),
            SINGLE,
            f"{missing} missing; the others differ by {error:.1g}, the rounding to float32",
        )


def _scalars(folder: Path, trial: int) -> pd.DataFrame:
    """Return the values in the event file of a trial by tag and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    (path,) = folder.glob(f"*_trial={trial}")
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    rows = [(trial, tag, each.step, each.value) for tag in events.Tags()["scalars"] for each in events.Scalars(tag)]
    return pd.DataFrame(rows, columns=["trial", "tag", "step", "shown"])
