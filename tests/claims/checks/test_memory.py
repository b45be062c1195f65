"""The bytes that a batch keeps are those worked out by hand, and what doesn't grow with the batch is found."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from bnexp.claims.checks import counting as memory
from bnexp.claims.checks.counting import BATCHES as SIZES
from bnexp.claims.checks.counting import NETWORKS, NORMS, batch_memory, kept
from bnexp.claims.checks.networks import noise, untrained_network
from tests.claims.checks.judging import failing

WIDTH, DEPTH = 64, 3
FLOAT = 4
"""Bytes of a number."""


def test_it_holds_and_tells_how_much_more_batch_norm_keeps() -> None:
    findings = list(batch_memory())
    assert failing(findings) == []
    assert [finding.found for finding in findings if finding.error is None] == [
        "1.75 times as much with BN, 2.69 times as much with group norm as without BN",
        "1.58 times as much with BN, 1.62 times as much with group norm as without BN",
    ]
    # Of each of the 192 units two numbers, which in evaluation would not be kept.
    assert findings[1].found.endswith("1,792 for each image and 1,536 for any batch")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_perceptron_keeps_its_input_and_what_relu_and_batch_norm_need(norm: str, size: int) -> None:
    model = {"depth": DEPTH, "width": WIDTH, "activation": "relu", "norm": norm}
    network = untrained_network(model, dtype=torch.float32).train()
    # The input, and of every layer what ReLU hands on: the next product needs it, too.
    numbers = 64 * size + DEPTH * WIDTH * size
    if norm == "batch":
        # What comes in, and mean and deviation of every unit.
        numbers += DEPTH * WIDTH * (size + 2)
    assert kept(network, noise(1, size, 64).float()) == FLOAT * numbers


class Doubled(nn.Module):
    """Keeps one tensor under two names, a view of it, its parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("shift", torch.ones(3), persistent=False)

    def forward(self, x_BC: Tensor) -> Tensor:
        y_BC = x_BC.exp()  # keeps what it hands on
        return (y_BC * y_BC[:1] * self.weight) * self.shift


def test_what_lies_in_one_place_counts_once_and_the_networks_own_not_at_all() -> None:
    # Of y · y[0] its factors, which lie in one place; of · weight the product; of · shift nothing else.
    assert kept(Doubled(), torch.ones(5, 3, requires_grad=True)) == FLOAT * 2 * 15


WRONG: dict[str, Callable[[int], int]] = {
    "the square of the batch": lambda size: size**2,
    "a step": lambda size: 100 * size + (size > 100),
    "nothing": lambda size: 0,
    "always the same": lambda size: 1000,
    "less and less": lambda size: 10_000 - size,
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_grows_otherwise_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "kept", lambda network, x_SBC: WRONG[kind](x_SBC.shape[1]))
    if kind in ("nothing", "always the same"):
        monkeypatch.setattr(memory, "NORMS", {"without BN": "none"})
    found = failing(batch_memory())
    assert len(found) == len(NETWORKS) * len(memory.NORMS)
    assert all("bytes kept of batches" in what for what in found)


def test_the_batches_grow_fourfold() -> None:
    assert {other / one for one, other in pairwise(SIZES)} == {4}
    assert list(NORMS.values()) == ["none", "batch", "group"]
