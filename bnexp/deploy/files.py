"""What an export consists of: the module, its numbers, and ONNX."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn

from bnexp import __version__
from bnexp.data.dataset import Dataset
from bnexp.deploy.folding import folded
from bnexp.deploy.source import WEIGHTS, model_source
from bnexp.errors import InputError
from bnexp.nn.plain_layers import ScaledPixels, WhitenedPixels, layer_from_state
from bnexp.nn.to_torch import to_torch
from bnexp.runner.trained import TrainedTrial
from bnexp.training.numerics import dtype_of

NEEDED = ("onnx", "onnxruntime", "onnxscript")
INPUT, OUTPUT = "images", "logits"


def check_installed() -> None:
    """Do nothing where all that ONNX takes can be imported.

    Raises:
        InputError: it can't.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InputError(f"{missing[0]} is not installed: pip install 'bnexp[onnx]'")


def write_onnx(network: nn.Module, image: tuple[int, int, int], path: Path) -> None:
    """Write a network that takes `images`, float32 of shape (B, C, H, W) for any B, and returns `logits`.

    Args:
        network: in evaluation mode, on the CPU.
        image: C, H, W.
        path: a single file, weights included.
    """
    with _quiet():
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


def answers(path: Path, images_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B classes"]:
    """Return the logits that ONNX Runtime computes with such a file, on the CPU."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([OUTPUT], {INPUT: images_BCHW.numpy()})[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says about itself from the terminal; where it fails it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


MODULE, ONNX = "model.py", "model.onnx"
MARK = "Written by bnexp export."
"""In every module, which may therefore be overwritten."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Export:
    """What is exported, and how."""

    run: str
    trained: TrainedTrial
    data: Dataset
    fold: bool

    @property
    def dtype(self) -> torch.dtype:
        """The type that it was trained in."""
        return dtype_of(self.trained.trial.settings.train.precision)

    def network(self, dtype: torch.dtype) -> nn.Sequential:
        """Return the network, with a layer for pixels in front."""
        network = self.trained.network(self.data.shape, CPU).to(dtype)
        layers = folded(network) if self.fold else to_torch(network)
        return nn.Sequential(_pixels(self.data, dtype), *layers).eval()

    def about(self) -> str:
        """Say what the network is, for the documentation of the module."""
        trial, (channels, height, width) = self.trained.trial, self.data.shape.image
        lines = [
            f"Trial {trial.number} of {self.run} (arm {trial.arm}, seed {trial.seed}).",
            "",
            f"The network takes pixels from 0 to 255, of any type and shape (B, {channels}, {height}, {width}), scales",
            f"them as in training, and returns logits of {self.data.shape.classes} classes. {MARK}",
        ]
        return "\n".join([*lines, "Its norm layers are folded into the weights beside them."] if self.fold else lines)

    def metadata(self) -> dict[str, str]:
        """Say the same for programs."""
        trial, data = self.trained.trial, self.trained.trial.settings.data
        about = {
            "bnexp": __version__,
            "run": self.run,
            "trial": trial.number,
            "arm": trial.arm,
            "seed": trial.seed,
            "point": trial.point,
            "image": self.data.shape.image,
            "classes": self.data.shape.classes,
            "pixels": [0, 255],
            "normalize": data.normalize,
            "feature_scale": data.feature_scale,
            "folded": self.fold,
        }
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}

    def write_module(self, folder: Path) -> None:
        """Write the module and its numbers.

        Raises:
            Unfoldable: the norm layers can't be folded.
        """
        network = self.network(self.dtype)
        (folder / MODULE).write_bytes(model_source(network, self.about(), self.data.shape.image).encode())
        (folder / WEIGHTS).write_bytes(save(network.state_dict(), self.metadata()))

    def write_onnx(self, folder: Path) -> None:
        """Write ONNX, in float32 whatever the trial's precision: ONNX Runtime has no convolutions in float64."""
        write_onnx(self.network(torch.float32), self.data.shape.image, folder / ONNX)


def _pixels(data: Dataset, dtype: torch.dtype) -> nn.Module:
    """Return the layer that makes inputs of pixels."""
    fitted, image = data.normalization, data.shape.image
    factor_P = torch.ones_like(fitted.shift_P) if fitted.factor_P is None else fitted.factor_P
    factor_CHW = factor_P.to(dtype).view(image)
    if fitted.whitening:
        state = {"mean": fitted.whitening.mean_P, "matrix": fitted.whitening.matrix_PP, "factor": factor_CHW}
        return layer_from_state(WhitenedPixels, state, image)
    scale = {"shift": fitted.shift_P, "spread": fitted.spread_P}
    return layer_from_state(
        ScaledPixels, {n: t.to(dtype).view(image) for n, t in scale.items()} | {"factor": factor_CHW}, image
    )
