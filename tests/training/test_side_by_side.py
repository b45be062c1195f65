"""Branches of a GPU's work: each after what was there, all of them before what comes next."""

from functools import partial

import pytest
import torch

from bnexp.training.side_by_side import side_by_side
from tests.gpu.pretended_cuda import PretendedCuda


def test_acts_are_shared_out_among_branches_and_their_results_are_in_order(
    pretended_cuda: PretendedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    (main,) = pretended_cuda.entered
    happened: list[tuple[object, object]] = []
    real = torch.cuda.Stream

    def noted(device: int) -> object:
        stream = real(device)
        stream.wait_stream = lambda other: happened.append((stream, other))
        return stream

    monkeypatch.setattr(torch.cuda, "Stream", noted)
    main.wait_stream = lambda other: happened.append((main, other))

    def act(number: int) -> int:
        happened.append((pretended_cuda.entered[-1], number))
        return number

    assert side_by_side([partial(act, number) for number in range(3)], 2) == [0, 1, 2]
    one, other = pretended_cuda.streams
    before, after = [(one, main), (other, main)], [(main, one), (main, other)]
    assert happened == [*before, (one, 0), (other, 1), (one, 2), *after]


def test_one_branch_stays_where_it_is(pretended_cuda: PretendedCuda) -> None:
    assert side_by_side([lambda: 1, lambda: 2], 1) == [1, 2]
    assert side_by_side([lambda: 1], 4) == [1]
    assert pretended_cuda.streams == []
