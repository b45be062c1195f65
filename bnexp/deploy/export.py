"""One trial as files that need no bnexp: its numbers, a module that builds its network, and on request ONNX.

The files are read back and compared with the network that was trained before they are kept.
Shapes: N images, B of them at a time, L logits, C x H x W pixels, P of them in all.
"""

import json
import logging
import runpy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jaxtyping import Float, Int64, Real
from safetensors.torch import save
from torch import Tensor, nn

from bnexp import __version__
from bnexp.config.origin import naming
from bnexp.config.source import code_files
from bnexp.config.text import counted
from bnexp.config.trial import TrialSettings
from bnexp.data.dataset import Dataset, load
from bnexp.data.raw import read
from bnexp.deploy.folding import Difference, Unfoldable, folded
from bnexp.deploy.module_source import CODE, WEIGHTS, model_source
from bnexp.errors import BnexpError, InputError, check_installed
from bnexp.nn.own.networks import OwnNetworks
from bnexp.nn.own.source import trains_when_imported
from bnexp.nn.plain_layers import ScaledPixels, WhitenedPixels, layer_from_state, to_torch
from bnexp.plan import Trial
from bnexp.runner.trained import TrainedTrial, trained_trials
from bnexp.store.files import CONFIG, make_folder
from bnexp.store.files import replace as replace_file
from bnexp.store.reader import RunRecord
from bnexp.training.numerics import dtype_of, numerics

MODULE, ONNX = "model.py", "model.onnx"
MARK = "Written by bnexp export."
"""A mark in every module; a file that has it may be overwritten."""
INPUT, OUTPUT = "images", "logits"
CPU = torch.device("cpu")
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""Largest difference between logits, relative to the largest logit, that another order of summation explains."""
CHECKED, BATCH = 1000, 100
"""The most images that are compared, and how many at a time."""

Forward = Callable[[Real[Tensor, "B C H W"]], Float[Tensor, "B L"]]


@dataclass(frozen=True)
class Check:
    """A file that was read back, beside the network that was trained."""

    path: Path
    difference: Difference
    accuracy: float


@dataclass(frozen=True)
class Exported:
    """The files of an export, and how they were checked."""

    run: str
    trial: Trial
    folded: bool
    paths: tuple[Path, ...]
    images: str
    """The images that the files were checked on, in words."""
    accuracy: float
    """Accuracy of the trained network on these images."""
    checks: tuple[Check, ...]
    """Checks of the module, and of the ONNX file where there is one."""
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
        return {
            "run": self.run,
            "trial": self.trial.number,
            "arm": self.trial.arm,
            "folded": self.folded,
            "paths": [str(path) for path in self.paths],
            "images": self.images,
            "accuracy": self.accuracy,
            "checks": checks,
            "failed": self.failed or None,
        }


def plain_network(run: RunRecord, number: int) -> nn.Sequential:
    """Return a trial's network with its final weights: plain modules on the CPU, in evaluation mode.

    It takes images x_BCHW as the data set has them, pixels from 0 to 255 where they are bytes, scales them as in
    training, and returns logits (B, classes).

    Raises:
        InputError: there is no such trial, or it has no weights.
    """
    (trained,) = trained_trials(run, [number])
    export = _Export(run.path, trained, fold=False)
    return export.network(export.dtype)


def export_trial(
    run: RunRecord, number: int, folder: Path | None = None, *, fold: bool = False, onnx: bool = False
) -> Exported:
    """Write one trial into a folder (default: export/trial-NNN in the run folder) after checking the files.

    With `fold` its norm layers are folded into the weights beside them, and the default folder's name ends in -folded.
    Where ONNX can't be written, or gives other logits, the other files are kept, and `failed` has the reason.

    Raises:
        InputError: there is no such trial, or it can't be exported so; nothing has been written.
        BnexpError: the module gives other logits than the network that was trained; nothing has been written.
    """
    if onnx:
        check_installed("onnx")
    (trained,) = trained_trials(run, [number])
    if not trained.finite:
        raise InputError(f"{run.path}: trial {number} diverged: the weights are not finite")
    place = folder or run.path / "export" / f"trial-{number:03}{'-folded' if fold else ''}"
    present = [name for name in (MODULE, WEIGHTS, ONNX) if (place / name).exists()]
    if present and not ((place / MODULE).is_file() and MARK.encode() in (place / MODULE).read_bytes()):
        raise InputError(f"{place}: has a {present[0]} that bnexp export didn't write; choose another folder with --to")
    export, names, failed = _Export(run.path, trained, fold), [MODULE, WEIGHTS], ""
    with TemporaryDirectory() as temporary:
        beside = Path(temporary)
        try:
            export.write_module(beside)
        except Unfoldable as reason:
            raise InputError(f"{run.path}: trial {number} can't be folded: {reason}") from None
        checks = [export.check(place / MODULE, runpy.run_path(str(beside / MODULE))["load"]())]
        if onnx:
            try:
                checks.append(export.checked_onnx(beside / ONNX, place / ONNX))
                names.append(ONNX)
            except BnexpError as error:
                failed = str(error)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{place}: can't be made a folder ({error.strerror}); choose another with --to") from None
        if ONNX not in names:
            (place / ONNX).unlink(missing_ok=True)  # of an earlier export
        if (beside / CODE).is_dir():
            make_folder(place / CODE)
            names += [f"{CODE}/{file.name}" for file in sorted((beside / CODE).glob("*.py"))]
        for name in names:
            replace_file(place / name, (beside / name).read_bytes())
    paths = tuple(place / name for name in names)
    accuracy = export.accuracy(export.trained_logits)
    return Exported(run.path.name, trained.trial, fold, paths, export.images[0], accuracy, tuple(checks), failed)


@dataclass(frozen=True)
class _Export:
    """One trial and the data that it was trained on."""

    path: Path
    """The run folder."""
    trained: TrainedTrial
    fold: bool

    @property
    def settings(self) -> TrialSettings:
        """The trial's settings."""
        return self.trained.trial.settings

    @property
    def dtype(self) -> torch.dtype:
        """The type that it was trained in."""
        return dtype_of(self.settings.train.precision)

    @cached_property
    def data(self) -> Dataset:
        """The data set, scaled as in training."""
        with naming(str(self.path / CONFIG)):
            return load(self.settings.data, CPU, self.dtype)

    @cached_property
    def images(self) -> tuple[str, Real[Tensor, "N C H W"], Int64[Tensor, " N"]]:
        """Test images, or training images if there are none: their number in words, the images, the labels."""
        shape = self.data.shape
        splits = read(self.settings.data).splits(shape)  # as in the files, which a data set may no longer have
        kind, split = ("test", splits["test"]) if shape.test else ("training", splits["train"])
        images, labels = (torch.tensor(part[:CHECKED]) for part in split)
        return counted(len(images), f"{kind} image"), images, labels

    @cached_property
    def trained_logits(self) -> Float[Tensor, "N L"]:
        """The logits of the network that was trained."""
        network, data = self.trained.network(self.data.shape, CPU), self.data
        return self.logits(lambda x_BCHW: network(data.inputs(data.normalization.kept(x_BCHW.flatten(1)))[None])[0])

    def network(self, dtype: torch.dtype) -> nn.Sequential:
        """Return the network, with a layer for pixels in front."""
        network = self.trained.network(self.data.shape, CPU).to(dtype)
        layers = folded(network) if self.fold else to_torch(network)
        return nn.Sequential(_pixels(self.data, dtype), *layers).eval()

    @torch.no_grad()
    def logits(self, forward: Forward) -> Float[Tensor, "N L"]:
        """Return a network's logits, computed as in training."""
        with numerics(self.settings.train, CPU):
            return torch.cat([forward(x_BCHW) for x_BCHW in self.images[1].split(BATCH)])

    def accuracy(self, logits_NL: Float[Tensor, "N L"]) -> float:
        """Return the share of images whose label has the largest logit."""
        return float((logits_NL.argmax(1) == self.images[2]).double().mean())

    def check(self, path: Path, forward: Forward) -> Check:
        """Compare the network in a file, which will be at this path, with the one that was trained.

        Raises:
            BnexpError: it gives other logits.
        """
        logits_NL = self.logits(forward)
        difference = Difference.between(self.trained_logits, logits_NL)
        if not difference.relative <= TOLERANCE[logits_NL.dtype]:
            raise BnexpError(
                f"{path.name} was not written: it gives logits that differ from those in training by "
                f"{difference.largest:.1e}, of up to {difference.logit:.1e}"
            )
        return Check(path, difference, self.accuracy(logits_NL))

    def write_module(self, folder: Path) -> None:
        """Write the module and its numbers.

        Raises:
            Unfoldable: the norm layers can't be folded.
        """
        trial, data, shape = self.trained.trial, self.settings.data, self.data.shape
        expected = f"(B, {', '.join(map(str, shape.image[: 1 if shape.tabular else 3]))})"
        given = "values as its data have them" if shape.floats else "pixels from 0 to 255"
        lines = [
            f"Trial {trial.number} of {self.path.name} (arm {trial.arm}, seed {trial.seed}).",
            "",
            f"The network takes {given}, of any type and shape {expected}, scales",
            f"them as in training, and returns logits of {shape.classes} classes. {MARK}",
            *(["Its norm layers are folded into the weights beside them."] if self.fold else []),
        ]
        about = {
            "bnexp": __version__,
            "run": self.path.name,
            "trial": trial.number,
            "arm": trial.arm,
            "seed": trial.seed,
            "point": trial.point,
            "image": shape.image,
            "classes": shape.classes,
            **({} if shape.floats else {"pixels": [0, 255]}),
            "normalize": data.normalize,
            "feature_scale": data.feature_scale,
            "folded": self.fold,
        }
        metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
        network, trained = self.network(self.dtype), self.trained.network(shape, CPU)
        own = trained if isinstance(trained, OwnNetworks) else None
        if own and own.source.path:
            if trains_when_imported(own.source):
                name = own.source.path.name
                raise InputError(
                    f"model.source: {name} trains the network when it is imported, and so would the exported module; "
                    'write if __name__ == "__main__": above bnexp.run, and train again'
                )
            (folder / CODE).mkdir()
            for file in code_files(own.source.path):
                (folder / CODE / file.name).write_bytes(file.read_bytes())
        (folder / MODULE).write_bytes(model_source(network, "\n".join(lines), shape, own).encode())
        (folder / WEIGHTS).write_bytes(save(network.state_dict(), metadata))

    def checked_onnx(self, path: Path, place: Path) -> Check:
        """Write ONNX to a path and compare it, in float32 always: ONNX Runtime has no convolutions in float64.

        Raises:
            BnexpError: it can't be written, or gives other logits.
        """
        try:
            write_onnx(self.network(torch.float32), self.data.shape.image, path)
        except Exception as error:  # whatever the exporter lacks
            reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
            raise BnexpError(f"{ONNX} could not be written ({reason})") from None
        return self.check(place, lambda x_BCHW: answers(path, x_BCHW.float()))


def _pixels(data: Dataset, dtype: torch.dtype) -> nn.Module:
    """Return the layer that scales pixels."""
    fitted, image = data.normalization, data.shape.image
    factor_P = torch.ones_like(fitted.shift_P) if fitted.factor_P is None else fitted.factor_P
    factor_CHW = factor_P.to(dtype).view(image)
    if fitted.once and fitted.once.matrix_PP is not None:
        state = {"mean": fitted.once.mean_P, "matrix": fitted.once.matrix_PP, "factor": factor_CHW}
        return layer_from_state(WhitenedPixels, state, image)
    if fitted.once:
        shift_CHW, spread_CHW = fitted.once.mean_P.view(image), fitted.once.spread_P.view(image)
    else:
        shift_CHW, spread_CHW = (each_P.to(dtype).view(image) for each_P in (fitted.shift_P, fitted.spread_P))
    return layer_from_state(ScaledPixels, {"shift": shift_CHW, "spread": spread_CHW, "factor": factor_CHW}, image)


def write_onnx(network: nn.Module, image: tuple[int, int, int], path: Path) -> None:
    """Write a network that takes `images`, float32 (B, C, H, W) for any B, and returns `logits`, as one file."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter prints much, and raises if it fails
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(
                network,
                (torch.zeros(2, *image),),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        logging.disable(disabled)


def answers(path: Path, images_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B L"]:
    """Return the logits that ONNX Runtime computes with such a file, on the CPU."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([OUTPUT], {INPUT: images_BCHW.numpy()})[0])
