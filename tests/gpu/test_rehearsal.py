"""The CUDA path is rehearsed in a process of its own, whose made-up driver lets autograd run over fake CUDA tensors."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from tests.gpu.fake_cuda import compile_driver, environment

ROOT = Path(__file__).parents[2]


def passes(env: Mapping[str, str], *words: str) -> None:
    """Check that tests in a process of its own pass, all of them."""
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *words]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout or "100%" in ended.stdout
    assert " skipped" not in ended.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the made-up driver is preloaded, which only Linux does")
@pytest.mark.skipif(torch.version.cuda is None, reason="this torch was built without CUDA")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the made-up driver")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_the_cuda_path_holds_what_a_gpu_minds(which: str, tmp_path: Path) -> None:
    env = environment(compile_driver(tmp_path))
    passes(env, "-m", which, "tests/gpu/rehearsed.py", "tests/gpu/rehearsed_runs.py")


def test_fused_kernels_compute_what_torch_does() -> None:
    pytest.importorskip("triton")
    # Without conftest.py no check of shapes wraps the kernels, whose source Triton reads.
    passes(os.environ | {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}, "--noconftest", "tests/gpu/interpreted.py")
