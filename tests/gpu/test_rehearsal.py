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
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_the_cuda_path_holds_what_a_gpu_minds(which: str, tmp_path: Path) -> None:
    files = ["tests/gpu/rehearsed.py", "tests/gpu/rehearsed_runs.py"]
    words = ["-q", "-n0", "-p", "no:cacheprovider", "-m", which, *files]
    command = [sys.executable, "-m", "pytest", *words]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(compile_driver(tmp_path)), capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout or "100%" in ended.stdout
    assert " skipped" not in ended.stdout
