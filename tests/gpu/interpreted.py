"""Fused kernels, interpreted on the CPU, give what torch's own give. test_rehearsal.py runs this file."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from bnexp.nn import fused
from bnexp.training import group_state
from tests.helpers import EXACT_FLOAT64, NEAR_FLOAT64, assert_close, finished, noise, pairwise, small_group

NORMS: dict[str, Any] = {"none": "none"} | {at: {"kind": "batch", "placement": at} for at in ("before", "after")}


def gradients(y: torch.Tensor, given: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad((y * noise(*y.shape, seed=9)).sum(), given)


@pytest.mark.parametrize(("norm", "kind", "bias"), pairwise(NORMS, ["relu", "sigmoid"], [True, False]))
def test_steps_and_their_gradients_are_torchs(kind: str, norm: str, bias: bool) -> None:
    x_DB = noise(3, 10).requires_grad_()
    x_DB.data[0, 0] = float("nan")  # which has to be seen, and by its own row alone
    bias_D, gamma_D, beta_D = (noise(3, seed=seed).requires_grad_() for seed in (1, 2, 3))
    learned = [bias_D] * bias + [gamma_D, beta_D] * (norm != "none")
    ours, torchs = ([torch.zeros(3).double(), torch.ones(3).double()] for _ in range(2))

    def normalised(v_DB: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(v_DB[None], torchs[0], torchs[1], gamma_D, beta_D, True, 0.1, 1e-5)[0]

    expected_DB, activation = x_DB + bias_D[:, None] if bias else x_DB, getattr(torch, kind)
    steps = {"none": [activation], "before": [normalised, activation], "after": [activation, normalised]}
    for step in steps[norm]:
        expected_DB = step(expected_DB)
    tensors = [None] * 4 if norm == "none" else [gamma_D, beta_D, *ours]
    found_DB = fused._Steps.apply(x_DB, bias_D if bias else None, *tensors, 1e-5, 0.1, kind, norm)
    assert found_DB.isnan().any(1).tolist() == [True, False, False]
    found, expected = ([y, *gradients(y, [x_DB, *learned])] for y in (found_DB, expected_DB))
    for one, other in zip([*found, *ours], [*expected, *torchs], strict=True):
        assert_close(one.detach().nan_to_num(7), other.detach().nan_to_num(7), NEAR_FLOAT64)


@pytest.mark.parametrize("norm", NORMS)
def test_a_training_with_them_is_the_same(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"depth": 2, "width": 4, "activation": "sigmoid", "norm": NORMS[norm]}
    some = small_group((0.1, 0.02), model, seeds=2, epochs=1, batch_size=48, precision="fp64")
    plain = finished(some)[-1].snapshot()
    launched, launch = [], fused.launch

    def noted(kernel: Any, *given: Any, **more: Any) -> None:
        launched.append(kernel)
        launch(kernel, *given, **more)

    monkeypatch.setattr(fused, "launch", noted)
    monkeypatch.setattr(group_state, "fused_kernels", lambda train, device: True)
    again = finished(some)[-1].snapshot()
    assert launched == 2 * [*2 * [fused._forward], *2 * [fused._backward]]  # two layers, two updates
    for name, array in plain.arrays.items():
        assert_close(again.arrays[name], array, EXACT_FLOAT64)
