"""Networks as ONNX, and what ONNX Runtime says of images."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.errors import InputError

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
