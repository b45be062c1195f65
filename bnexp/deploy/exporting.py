"""One trial as files that need no bnexp: its numbers, a module that builds its network, and on request ONNX.

What is written has been read back and compared with the network that was trained.
Shapes: N images, B of them at a time, L logits.
"""

import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from bnexp.data.dataset import READERS, load
from bnexp.deploy.files import CPU, MARK, MODULE, ONNX, Export
from bnexp.deploy.folding import Difference
from bnexp.deploy.onnx_files import answers, check_installed
from bnexp.errors import BnexpError, InputError
from bnexp.nn.folding import Unfoldable
from bnexp.nn.source import WEIGHTS
from bnexp.plan import Trial
from bnexp.store.files import replace
from bnexp.store.reader import RunRecord
from bnexp.trained import trained_trials
from bnexp.training.numerics import dtype_of, numerics

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""Largest difference between logits, relative to the largest logit, that adding up in another order explains."""
CHECKED, BATCH = 1000, 100
"""Images that are compared at most, and at a time."""


@dataclass(frozen=True)
class Check:
    """A file that was read back, beside the network that was trained."""

    path: Path
    difference: Difference
    accuracy: float


@dataclass(frozen=True)
class Exported:
    """What was written."""

    run: str
    trial: Trial
    folded: bool
    paths: tuple[Path, ...]
    images: str
    """What the files were checked on."""
    accuracy: float
    """Of the network that was trained, on these images."""
    checks: tuple[Check, ...]
    """Of the module, and of the ONNX file where there is one."""

    def summary(self) -> str:
        """Lines for people."""
        lines = (
            f"{check.path.name}: over {self.images} the logits, up to {check.difference.logit:.3g}, differ by at most "
            f"{check.difference.largest:.1e}; accuracy {check.accuracy:.3f}, in bnexp {self.accuracy:.3f}"
            for check in self.checks
        )
        return "\n".join([*map(str, self.paths), *lines])

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        checks = [
            {
                "path": str(check.path),
                "max_difference": check.difference.largest,
                "relative_difference": check.difference.relative,
                "accuracy": check.accuracy,
            }
            for check in self.checks
        ]
        about = {"run": self.run, "trial": self.trial.number, "arm": self.trial.arm, "folded": self.folded}
        paths = [str(path) for path in self.paths]
        return about | {"paths": paths, "images": self.images, "accuracy": self.accuracy, "checks": checks}


def export_trial(
    run: RunRecord, number: int, folder: Path | None = None, *, fold: bool = False, onnx: bool = False
) -> Exported:
    """Write one trial into a folder of its own, once what is written has been checked.

    Args:
        run: the run folder.
        number: of the trial.
        folder: where to; default: export/trial-NNN in the run folder.
        fold: whether to fold its norm layers into the weights beside them.
        onnx: whether to write ONNX, too.

    Raises:
        InputError: there is no such trial, or it can't be exported so; nothing has been written.
        BnexpError: the files give other logits than the network that was trained; none has been kept.
    """
    if onnx:
        check_installed()
    (trained,) = trained_trials(run, [number])
    if not trained.finite:
        raise InputError(f"{run.path}: trial {number} diverged: its weights are not finite")
    place = folder or run.path / "export" / f"trial-{number:03}"
    _refuse_foreign(place)
    settings = trained.trial.settings
    export = Export(run.path.name, trained, load(settings.data, CPU, dtype_of(settings.train.precision)), fold)
    with TemporaryDirectory() as folder_beside:
        beside = Path(folder_beside)
        try:
            names = export.write(beside, onnx=onnx)
        except Unfoldable as reason:
            raise InputError(f"{run.path}: trial {number} can't be folded: {reason}") from None
        images, accuracy, checks = _check(export, beside)
        _keep(beside, names, place)
    kept = tuple(Check(place / check.path.name, check.difference, check.accuracy) for check in checks)
    paths = tuple(place / name for name in names)
    return Exported(export.run, trained.trial, fold, paths, images, accuracy, kept)


def _refuse_foreign(place: Path) -> None:
    present = [name for name in (MODULE, WEIGHTS, ONNX) if (place / name).exists()]
    if present and not ((place / MODULE).is_file() and MARK in (place / MODULE).read_text(errors="replace")):
        raise InputError(f"{place}: has a {present[0]} that bnexp export didn't write; choose another folder with --to")


def _keep(beside: Path, names: list[str], place: Path) -> None:
    """Bring checked files to their place; what an earlier export left there and this one has not goes."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place}: can't be made a folder ({error.strerror}); choose another with --to") from None
    if ONNX not in names:
        (place / ONNX).unlink(missing_ok=True)
    for name in names:
        replace(place / name, (beside / name).read_bytes())


@torch.no_grad()
def _check(export: Export, folder: Path) -> tuple[str, float, list[Check]]:
    """Compare the files with the network that was trained; return on what, its accuracy, and what was found.

    Raises:
        BnexpError: they give other logits.
    """
    images, x_NCHW, labels_N = _pictures(export)
    network = export.trained.network(export.data.shape, CPU)

    def accuracy(logits_NL: Tensor) -> float:
        return float((logits_NL.argmax(1) == labels_N).double().mean())

    checks = []
    with numerics(export.trained.trial.settings.train, CPU):
        trained_NL = _answers(lambda x: network(export.data.inputs(x.flatten(1))[None])[0], x_NCHW)
        for name, forward in _forwards(folder):
            logits_NL = _answers(forward, x_NCHW)
            difference = Difference.between(trained_NL, logits_NL)
            if not difference.relative <= TOLERANCE[logits_NL.dtype]:
                raise BnexpError(
                    f"{name} gives logits that differ from those in training by {difference.largest:.1e}, of up to "
                    f"{difference.logit:.1e}; nothing has been written"
                )
            checks.append(Check(folder / name, difference, accuracy(logits_NL)))
    return images, accuracy(trained_NL), checks


def _forwards(folder: Path) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Yield what the files compute."""
    yield MODULE, runpy.run_path(str(folder / MODULE))["load"]()
    if (folder / ONNX).exists():
        yield ONNX, lambda x_BCHW: answers(folder / ONNX, x_BCHW.float())


def _answers(forward: Callable[[Tensor], Tensor], images_NCHW: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
    return torch.cat([forward(x_BCHW) for x_BCHW in images_NCHW.split(BATCH)])


def _pictures(export: Export) -> tuple[str, UInt8[Tensor, "N C H W"], Int64[Tensor, " N"]]:
    """Return bytes, which a data set of whitened images has no longer, and their labels: test images, or training's."""
    raw, shape = READERS[export.trained.trial.settings.data.name](export.trained.trial.settings.data), export.data.shape
    if shape.test:
        images, labels, count, split = raw.test_images_NCHW, raw.test_labels_N, min(CHECKED, shape.test), "test"
    else:
        images, labels, count, split = raw.train_images_NCHW, raw.train_labels_N, min(CHECKED, shape.train), "training"
    return f"{count} {split} images", torch.from_numpy(images[:count]), torch.from_numpy(labels[:count])
