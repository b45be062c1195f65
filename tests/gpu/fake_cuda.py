"""A CUDA device without a driver: fake tensors have shapes, types and a device, and no numbers.

Autograd, dispatch and the checks for mixed devices are torch's own. What needs a driver is replaced: generators are
those of the CPU, draws have no numbers anyway, nothing waits, and repeating a graph does nothing. What the host reads
is made up: 0 for the first trial and 1 for all others.
"""

import contextlib
import ctypes
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import Normalization
from bnexp.plan import TrialGroup
from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import dtype_of
from tests.gpu.audit import KINDS, Audit
from tests.gpu.pretended_cuda import PretendedCuda
from tests.helpers import made_up_data

CUDA = torch.device("cuda:0")
DRIVER = Path(__file__).with_name("pretend_driver.c")
LIBRARY = "libcuda.so.1"
MEMORY = 80 * 2**30
"""Bytes of the device, free and in all."""


def compile_driver(folder: Path) -> Path:
    """Compile the driver that says yes and does nothing; return the library to preload."""
    library = folder / LIBRARY
    flags = ["-shared", "-fPIC", "-O1", f"-Wl,-soname,{LIBRARY}"]
    subprocess.run(["cc", *flags, "-o", str(library), str(DRIVER)], check=True)
    return library


def environment(library: Path) -> Mapping[str, str]:
    """Return the environment of a process in which the device can be used; tests on the CPU check types and shapes."""
    return os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "JAXTYPING_DISABLE": "1"}


class _Module(torch.nn.Module):
    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "_Module":
        """Convert parameters and buffers to new ones; fake tensors can't be swapped in place."""
        for child in self.children():
            child._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                with torch.no_grad():
                    self._parameters[name] = torch.nn.Parameter(fn(parameter), parameter.requires_grad)
        self._buffers.update({name: fn(each) for name, each in self._buffers.items() if each is not None})
        return self


class _Generator:
    """Makes a generator of the CPU, whatever the device."""

    real = torch.Generator

    def __new__(cls, device: Any = "cpu") -> torch.Generator:  # type: ignore[misc]
        return cls.real()


def _without_generator(sample: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Draw on the fake device without the generator, which is one of the CPU."""

    def draw(*shape: Any, generator: Any = None, device: Any = None, **more: Any) -> torch.Tensor:
        if device is not None and torch.device(device).type == "cuda":
            return sample(*shape, device=device, **more)
        return sample(*shape, generator=generator, device=device, **more)

    return draw


class Capture(Audit):
    """Refuses what no graph can repeat."""

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        if self.faults and not raised[0]:
            raise AssertionError(self.of(*KINDS))

    def repeat(self) -> None:
        """Do nothing: no number would change."""


def _tolist(tensor: FakeTensor) -> Any:
    if tensor.numel():
        tensor.flatten()[0].item()  # which an audit notes
    made_up = _zeros(tensor)
    made_up[..., 1:] = 1
    return made_up.tolist()


def _numpy(tensor: FakeTensor) -> np.ndarray:
    assert tensor.device.type == "cpu", "only tensors on the host are arrays"
    return _zeros(tensor)


def _zeros(tensor: FakeTensor) -> np.ndarray:
    return np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))


@contextlib.contextmanager
def fake_cuda() -> Iterator[None]:
    """Make tensors of `CUDA` fake ones; the process must have been started in `environment`."""
    torch._C._ensureCUDADeviceGuardSet()
    ctypes.CDLL(None).pretend_devices(8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "_apply", _Module._apply)
        patch.setattr(torch, "Generator", _Generator)
        for name in ("rand", "randn"):
            patch.setattr(torch, name, _without_generator(getattr(torch, name)))
        patch.setattr(torch.cuda, "is_available", lambda: False)  # fake tensors set no device up
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **more: True)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        PretendedCuda(Capture).take_over(patch)
        patch.setattr(FakeTensor, "tolist", _tolist)
        patch.setattr(FakeTensor, "numpy", _numpy, raising=False)
        patch.setattr(torch.cuda, "mem_get_info", lambda device=None: (MEMORY, MEMORY))
        # Whether cuDNN takes a convolution in bfloat16 depends on the device, which can't be asked.
        patch.setattr(torch.backends.cudnn, "enabled", False)
        patch.setattr(torch.backends.cudnn, "flags", lambda **flags: contextlib.nullcontext())
        with FakeTensorMode(allow_non_fake_inputs=True), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
            yield


def blank_data(shape: DataShape) -> Dataset:
    """Return images of a shape on the fake device."""
    pixels, scale_P = prod(shape.image), torch.empty(prod(shape.image), device=CUDA)
    scaling = Normalization(scale_P, scale_P, None)

    def split(images: int) -> Split:
        images_NP = torch.empty(images, pixels, dtype=torch.uint8, device=CUDA)
        return Split(scaling.kept(images_NP), torch.empty(images, dtype=torch.int64, device=CUDA))

    splits = [split(count) for count in (shape.train, shape.val, shape.test)]
    return Dataset(shape, *splits, normalization=scaling)  # type: ignore[misc]


def update_inputs(group: TrialGroup) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what an update takes: images' numbers, rates and the step."""
    settings = group.settings.train
    batch_SB = torch.zeros(len(group.shared_seeds), settings.batch_size, dtype=torch.int64, device=CUDA)
    rate_K1 = torch.zeros(len(group.trials), 1, dtype=dtype_of(settings.precision), device=CUDA)
    return batch_SB, rate_K1, torch.ones((), dtype=torch.int64, device=CUDA)


def on_cuda(some: TrialGroup, images: int = 96) -> Dataset:
    """Return made-up images of a group on the fake device."""
    family = some.settings.model.family
    side, channels = 4 if family == "mlp" else 8, 3 if family in ("vgg", "resnet") else 1
    with _disable_current_modes():
        real = made_up_data(some, images, val=32, side=side, channels=channels)
        if some.settings.model.spec.own:
            GroupTrainState(some, real)  # what a network's own code calls is found out with real tensors, and once
    return real.to(CUDA)
