"""The seeds of the random streams: fixed for ever, since every recorded result hangs on them."""

from itertools import product
from typing import get_args

import pytest
import torch

from bnexp.streams import Stream, stream_seed

GOLDEN = {
    (0, "weights", 0): 1517602991915695319,
    (0, "weights", 1): 8835416192818654924,
    (0, "batches", 1): 959977767494998842,
    (0, "dropout", 1): 7622492643800939495,
    (5, "weights", 0): 9134206400932947277,
    (123456789, "batches", 42): 1572318441544928609,
}


@pytest.mark.parametrize(("seed", "stream", "index"), GOLDEN)
def test_seeds_are_what_they_always_were(seed: int, stream: Stream, index: int) -> None:
    assert stream_seed(seed, stream, index) == GOLDEN[seed, stream, index]


def test_draws_are_what_they_always_were() -> None:
    generator = torch.Generator().manual_seed(stream_seed(0, "batches", 1))
    # The order of ten images in the first epoch of seed 0.
    assert torch.randperm(10, generator=generator).tolist() == [1, 8, 7, 4, 5, 9, 3, 2, 6, 0]


def test_no_two_streams_share_a_seed() -> None:
    # Written without separators, seed 1 with index 11 and seed 11 with index 1 would be one.
    found = [stream_seed(*each) for each in product(range(30), get_args(Stream), range(120))]
    assert len(set(found)) == len(found) == 30 * len(get_args(Stream)) * 120


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**63, 10**30])
@pytest.mark.parametrize("stream", get_args(Stream))
def test_seeds_fit_the_generator_and_63_bits(seed: int, stream: Stream) -> None:
    found = stream_seed(seed, stream, 3)
    assert 0 <= found < 2**63
    assert torch.Generator().manual_seed(found).initial_seed() == found


def test_all_63_bits_are_used() -> None:
    found = [stream_seed(seed, "weights", 0) for seed in range(200)]
    assert all(0 < sum(seed >> bit & 1 for seed in found) < 200 for bit in range(63))
