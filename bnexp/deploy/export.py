"""One trial as files that need no bnexp: its numbers, a module that builds its network, and on request ONNX.

What is written has been read back and compared with the network that was trained.
Shapes: N images, B of them at a time, L logits.
"""

import runpy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from bnexp.config.text import counted
from bnexp.data.dataset import load
from bnexp.data.raw import read
from bnexp.deploy.files import CPU, MARK, MODULE, ONNX, Export, answers, check_installed
from bnexp.deploy.folding import Difference, Unfoldable
from bnexp.deploy.source import WEIGHTS
from bnexp.errors import BnexpError, InputError
from bnexp.plan import Trial
from bnexp.runner.trained import TrainedTrial, trained_trials
from bnexp.store.files import replace as replace_file
from bnexp.store.reader import RunRecord
from bnexp.training.numerics import dtype_of, numerics

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""Largest difference between logits, relative to the largest logit, that adding up in another order explains."""
CHECKED, BATCH = 1000, 100
"""Images that are compared at most, and at a time."""
Forward = Callable[[UInt8[Tensor, "B C H W"]], Float[Tensor, "B L"]]


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
    failed: str = ""
    """Why there is no ONNX file although one was asked for."""

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
        found = {"paths": paths, "images": self.images, "accuracy": self.accuracy, "checks": checks}
        return about | found | {"failed": self.failed or None}


def plain_network(run: RunRecord, number: int) -> nn.Sequential:
    """Return a trial's network with its final weights: plain modules on the CPU, in evaluation mode.

    It takes pixels from 0 to 255, x_BCHW, scales them as in training, and returns logits (B, classes).

    Raises:
        InputError: there is no such trial, or it has no weights.
    """
    (trained,) = trained_trials(run, [number])
    export = _export(run, trained, fold=False)
    return export.network(export.dtype)


def _export(run: RunRecord, trained: TrainedTrial, *, fold: bool) -> Export:
    settings = trained.trial.settings
    return Export(run.path.name, trained, load(settings.data, CPU, dtype_of(settings.train.precision)), fold)


def export_trial(
    run: RunRecord, number: int, folder: Path | None = None, *, fold: bool = False, onnx: bool = False
) -> Exported:
    """Write one trial into a folder of its own, once what is written has been checked.

    Where ONNX can't be written, or gives other logits, the other files are kept all the same, and `failed` has the
    reason.

    Args:
        run: the run folder.
        number: of the trial.
        folder: where to; default: export/trial-NNN in the run folder.
        fold: whether to fold its norm layers into the weights beside them.
        onnx: whether to write ONNX, too.

    Raises:
        InputError: there is no such trial, or it can't be exported so; nothing has been written.
        BnexpError: the module gives other logits than the network that was trained; nothing has been written.
    """
    if onnx:
        check_installed()
    (trained,) = trained_trials(run, [number])
    if not trained.finite:
        raise InputError(f"{run.path}: trial {number} diverged: its weights are not finite")
    place = folder or run.path / "export" / f"trial-{number:03}"
    _refuse_foreign(place)
    export = _export(run, trained, fold=fold)
    images = _Images.of(export)
    with TemporaryDirectory() as folder_beside:
        beside = Path(folder_beside)
        try:
            export.write_module(beside)
        except Unfoldable as reason:
            raise InputError(f"{run.path}: trial {number} can't be folded: {reason}") from None
        names, checks, failed = _checked(images, beside, onnx=onnx)
        _keep(beside, names, place)
    kept = tuple(replace(check, path=place / check.path) for check in checks)
    paths, accuracy = tuple(place / name for name in names), images.accuracy_of(images.trained_NL)
    return Exported(export.run, trained.trial, fold, paths, images.said, accuracy, kept, failed)


def _checked(images: "_Images", folder: Path, *, onnx: bool) -> tuple[list[str], list[Check], str]:
    """Compare the module, then write ONNX where it is asked for; return the sound files, and why ONNX isn't one.

    Raises:
        BnexpError: the module gives other logits.
    """
    names, checks = [MODULE, WEIGHTS], [images.check(MODULE, runpy.run_path(str(folder / MODULE))["load"]())]
    if not onnx:
        return names, checks, ""
    try:
        return [*names, ONNX], [*checks, _checked_onnx(images, folder)], ""
    except BnexpError as error:
        return names, checks, str(error)


def _checked_onnx(images: "_Images", folder: Path) -> Check:
    """Write ONNX and compare it.

    Raises:
        BnexpError: it can't be written, or gives other logits.
    """
    try:
        images.export.write_onnx(folder)
    except Exception as error:  # whatever the exporter lacks
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        raise BnexpError(f"{ONNX} could not be written ({reason})") from None
    try:
        return images.check(ONNX, lambda x_BCHW: answers(folder / ONNX, x_BCHW.float()))
    except BnexpError as error:
        single = Difference.between(images.trained_NL, images.answers(images.export.network(torch.float32)))
        raise BnexpError(
            f"{error}. ONNX computes in float32; in float32 PyTorch differs by {single.largest:.1e}"
        ) from None


def _refuse_foreign(place: Path) -> None:
    present = [name for name in (MODULE, WEIGHTS, ONNX) if (place / name).exists()]
    if present and not ((place / MODULE).is_file() and MARK.encode() in (place / MODULE).read_bytes()):
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
        replace_file(place / name, (beside / name).read_bytes())


@dataclass(frozen=True)
class _Images:
    """Some images as bytes, and what the network that was trained says of them."""

    export: Export
    said: str
    """How many they are, of which kind."""
    images_NCHW: UInt8[Tensor, "N C H W"]
    labels_N: Int64[Tensor, " N"]
    trained_NL: Float[Tensor, "N L"]

    @classmethod
    def of(cls, export: Export) -> "_Images":
        """Choose test images, or training images where there are none, and pass them through the network."""
        settings, shape = export.trained.trial.settings, export.data.shape
        # Bytes, which a data set of whitened images no longer has.
        raw = read(settings.data)
        if shape.test:
            images, labels, split, count = raw.test_images_NCHW, raw.test_labels_N, "test", shape.test
        else:
            images, labels, split, count = raw.train_images_NCHW, raw.train_labels_N, "training", shape.train
        count = min(CHECKED, count)
        x_NCHW, labels_N = torch.from_numpy(images[:count]), torch.from_numpy(labels[:count])
        network = export.trained.network(shape, CPU)
        trained_NL = _answers(export, lambda x_BCHW: network(export.data.inputs(x_BCHW.flatten(1))[None])[0], x_NCHW)
        return cls(export, counted(count, f"{split} image"), x_NCHW, labels_N, trained_NL)

    def answers(self, forward: Forward) -> Float[Tensor, "N L"]:
        """Return what another network says of the images."""
        return _answers(self.export, forward, self.images_NCHW)

    def accuracy_of(self, logits_NL: Float[Tensor, "N L"]) -> float:
        """Return the share of images whose label has the largest logit."""
        return float((logits_NL.argmax(1) == self.labels_N).double().mean())

    def check(self, name: str, forward: Forward) -> Check:
        """Compare what a file computes with the network that was trained.

        Raises:
            BnexpError: it gives other logits.
        """
        logits_NL = self.answers(forward)
        difference = Difference.between(self.trained_NL, logits_NL)
        if not difference.relative <= TOLERANCE[logits_NL.dtype]:
            raise BnexpError(
                f"{name} was not written: it gives logits that differ from those in training by "
                f"{difference.largest:.1e}, of up to {difference.logit:.1e}"
            )
        return Check(Path(name), difference, self.accuracy_of(logits_NL))


@torch.no_grad()
def _answers(export: Export, forward: Forward, images_NCHW: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
    with numerics(export.trained.trial.settings.train, CPU):
        return torch.cat([forward(x_BCHW) for x_BCHW in images_NCHW.split(BATCH)])
