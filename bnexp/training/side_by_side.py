"""Things done side by side on a GPU, where one alone leaves much of it idle."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import torch

T = TypeVar("T")


@cache
def branch_streams(device: int, count: int) -> Sequence[Any]:
    """Return the streams of so many branches on a GPU."""
    # The same ones each time: every stream gets workspaces of cuBLAS to keep.
    return [torch.cuda.Stream(device) for _ in range(count)]


def side_by_side(acts: Sequence[Callable[[], T]], at_once: int) -> list[T]:
    """Do several things on the current GPU, and return their results, in order.

    They wait for the work that was launched before, and work that is launched next waits for all of them. A captured
    graph has the same branches. Results of a branch may be used afterwards, but not in another branch.

    Args:
        acts: launch kernels and read nothing back.
        at_once: number of branches; with one of them, acts are done one after the other wherever they run.
    """
    if min(at_once, len(acts)) < 2:
        return [act() for act in acts]
    main, streams = torch.cuda.current_stream(), branch_streams(torch.cuda.current_device(), at_once)[: len(acts)]
    for stream in streams:
        stream.wait_stream(main)
    done = []
    for number, act in enumerate(acts):
        with torch.cuda.stream(streams[number % len(streams)]):
            done.append(act())
    for stream in streams:
        main.wait_stream(stream)
    return done
