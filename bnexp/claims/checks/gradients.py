"""Gradients: clipping in numbers, and their norms before and after it as a run folder and TensorBoard show them.

Pascanu et al. 2013, arXiv:1211.5063, section 3.2 and algorithm 1 (clipping by norm).
"""

from collections.abc import Iterator, Sequence
from math import atan2, degrees
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bnexp.claims.checks.networks import difference, short, small_experiment, worst
from bnexp.claims.results import Finding
from bnexp.config.train import ClipSettings
from bnexp.errors import not_installed
from bnexp.nn.clipping import Clipping
from bnexp.report.tensorboard import write_events
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.reader import RunRecord

CLIPPED = 1e-6
"""Relative error of a clipped gradient: 1e-6 is added to its norm, as in PyTorch."""
SINGLE = 1e-6
"""Relative error of float32, which TensorBoard keeps."""
AFTER = 1e-5
"""Relative error of norms after clipping, which the 1e-6 makes lower."""
UPDATE = 1e-10
"""Relative error of an update that is read off the weights, in float64."""
LIMIT, RATE, BATCH = 0.5, 0.1, 100
"""Of the trainings: the norm that each tensor's gradient is clipped to, the learning rate, and all images."""
BEFORE_AND_AFTER = "gradient_norm", "gradient_norm.clipped"
NORMS = *BEFORE_AND_AFTER, "gradient_norm.scale_free", "update_ratio"
"""Probes of weights: ‖g‖, the same after clipping, ‖g‖·‖W‖ and ‖ΔW‖/‖W‖."""
COLUMNS = "trial", "layer", "probe", "step", "value"
NOTE = [0.9, 100.0]
"""The gradient of Hands-On Machine Learning, chapter 11."""


def clipping_numbers() -> Iterator[Finding]:
    """Yield what clipping makes of the gradients whose results are known."""
    by_value, by_norm = _clip([NOTE], value=1.0)[0], _clip([NOTE], norm_global=1.0)[0]
    error = difference(by_value, [0.9, 1.0])
    yield Finding("[0.9, 100] clipped by value to 1", f"{_text(by_value)}: {_turned(by_value)}", error, 0)
    error = difference(by_norm, [0.00899964, 0.9999595])
    yield Finding("[0.9, 100] clipped by norm to 1", f"{_text(by_norm)}: {_turned(by_norm)}", error, CLIPPED)
    error = _angle(by_norm)
    yield Finding("direction, clipped by norm", f"turned by {short(error)} degrees", error, CLIPPED)
    yield from _per_tensor_or_global()


def gradient_tracking(steps: int = 6) -> Iterator[Finding]:
    """Yield whether the norms of gradients are recorded before and after clipping, and shown as they are.

    Args:
        steps: of each training.
    """
    with TemporaryDirectory() as folder:
        record = _run(Path(folder), steps)
        yield from _after_clipping(record.probes)
        if missing := not_installed("tensorboard"):
            yield Finding("event files against probes.csv", f"not tested: {missing}")
        else:
            yield from _read_back(record, Path(folder) / "events")


def _per_tensor_or_global() -> Iterator[Finding]:
    """Yield clipping by the norm of each tensor, which Keras calls clipnorm, and of all of them, as PyTorch's."""
    tensors = [NOTE, [0.03, 0.04], [3.0, 4.0]]
    each, whole = _clip(tensors, norm_per_tensor=1.0), _clip(tensors, norm_global=1.0)
    expected = [np.divide(grad, max(float(np.linalg.norm(grad)), 1.0)) for grad in tensors]
    error = worst(difference(mine, theirs) for mine, theirs in zip(each, expected, strict=True))
    norms = ", ".join(f"{float(grad.norm()):.3g}" for grad in each)
    yield Finding(
        "norm_per_tensor: 1, each by its own norm, on tensors of norm 100, 0.05 and 5", f"norms {norms}", error, CLIPPED
    )
    error = worst(difference(mine, clipped) for mine, clipped in zip(whole, _by_torch(tensors), strict=True))
    norms = ", ".join(f"{float(grad.norm()):.3g}" for grad in whole)
    yield Finding("norm_global: 1, as PyTorch's clip_grad_norm_", f"norms {norms}", error, 1e-12)


def _clip(tensors: Sequence[Sequence[float]], **settings: float) -> list[Tensor]:
    gradient = [torch.tensor([grad], dtype=torch.float64) for grad in tensors]
    return [grad_KP[0] for grad_KP in Clipping.of([ClipSettings(**settings)], gradient[0])(gradient)]


def _by_torch(tensors: Sequence[Sequence[float]]) -> list[Tensor]:
    """Return gradients clipped by PyTorch to a norm of 1 over all of them."""
    gradient = [torch.tensor(grad, dtype=torch.float64) for grad in tensors]
    theta = [torch.zeros_like(grad) for grad in gradient]
    for tensor, grad in zip(theta, gradient, strict=True):
        tensor.grad = grad
    torch.nn.utils.clip_grad_norm_(theta, 1.0)
    return gradient


def _angle(clipped: Tensor) -> float:
    """Return the degrees between a clipped gradient and the note's; exact where they are small, as acos isn't."""
    (a, b), (c, d) = NOTE, clipped.tolist()
    return degrees(atan2(abs(a * d - b * c), a * c + b * d))


def _turned(clipped: Tensor) -> str:
    return f"turned by {_angle(clipped):.3g} degrees"


def _text(values: Tensor) -> str:
    return f"[{', '.join(f'{value:.7g}' for value in values.tolist())}]"


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
    """Yield what probes.csv says of norms before and after clipping, and of the update that plain SGD makes."""
    of_weights = probes[probes["probe"].isin(NORMS)]
    table = of_weights.pivot_table(index=["trial", "layer"], columns=["probe", "step"], values="value")
    norm, after, free, ratio = (table.xs(name, axis=1).to_numpy() for name in NORMS)
    # Before each update, whose number is that of the next moment.
    before, after, weight = norm[:, :-1], after[:, :-1], (free / norm)[:, :-1]
    yield Finding(
        f"probes.csv of {len(table)} weights over {before.shape[1]} updates, norm_per_tensor: {LIMIT:g}",
        f"gradients of norm {before.min():.2g} to {before.max():.2g}, {int((before > LIMIT).sum())} of {before.size} "
        f"above; as clipped at most {after.max():.3g}",
        difference(after, before.clip(max=LIMIT)),
        AFTER,
    )
    error = difference(ratio * weight / RATE, after)
    found = f"relative difference {short(error)}"
    yield Finding("norms as clipped against ‖ΔW‖ / rate of the updates that were made", found, error, UPDATE)


def _read_back(record: RunRecord, folder: Path) -> Iterator[Finding]:
    """Compare what TensorBoard's own reader finds in the event files with probes.csv."""
    write_events(record, folder)
    shown = {trial: _scalars(folder, trial) for trial in record.probes["trial"].unique()}
    clipping = record.probes[record.probes["probe"].isin(BEFORE_AND_AFTER)]
    for what, probes in {"norms before and after clipping": clipping, "values": record.probes}.items():
        missing, errors = 0, list[float]()
        for trial, layer, probe, step, value in probes[list(COLUMNS)].itertuples(index=False):
            read = shown[trial].get((f"{probe}/{layer}" if layer else probe, step))
            if read is None:
                missing += 1
            else:
                errors.append(difference(read, value))
        yield Finding(
            f"event files against the {len(probes)} {what} of probes.csv",
            f"{missing} missing; the others differ by {short(worst(errors))}, the rounding to float32",
            missing + worst(errors) if len(probes) else float("inf"),
            SINGLE,
        )


def _scalars(folder: Path, trial: int) -> dict[tuple[str, int], float]:
    """Return what the event file of a trial shows by tag and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    (path,) = folder.glob(f"*_trial={trial}")
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    return {(tag, each.step): each.value for tag in events.Tags()["scalars"] for each in events.Scalars(tag)}
