"""The CUDA path is rehearsed in a process of its own, whose made-up driver lets autograd run over fake CUDA tensors."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.fake_cuda import compile_driver, environment

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="the made-up driver is preloaded, which only Linux does")
@pytest.mark.skipif(torch.version.cuda is None, reason="this torch was built without CUDA")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the made-up driver")
def test_the_cuda_path_is_work_for_the_device_alone(tmp_path: Path) -> None:
    words = ["-q", "-n0", "-p", "no:cacheprovider", "tests/gpu/rehearsed.py"]
    command = [sys.executable, "-m", "pytest", *words]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(compile_driver(tmp_path)), capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout or "100%" in ended.stdout
    assert " skipped" not in ended.stdout
