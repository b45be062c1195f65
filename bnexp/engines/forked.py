"""Independent work side by side in forked processes, and how a worker process begins and ends; all without torch."""

import ctypes
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from bnexp.errors import BnexpError

FORKS = sys.platform == "linux"
"""Whether processes can be forked safely."""
DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""

_inherited: list[Callable[[Any], Any]] = []
"""In a worker of side_by_side: its work."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield the results of independent work, in the order of the items; an error of an item is raised here.

    Args:
        work: workers inherit it with the data that it holds, so these are neither sent nor copied.
        items: picklable, as the results are.
        workers: forked processes with one thread each. With one, or where forking isn't safe, this process does all.

    Raises:
        BnexpError: a worker was killed.
    """
    if workers < 2 or len(items) < 2 or not FORKS:
        yield from map(work, items)
        return
    pool = ProcessPoolExecutor(min(workers, len(items)), get_context("fork"), _inherit, (work, os.getpid()))
    try:
        with forking():
            results = pool.map(_do_inherited, items)
        yield from results
    except BrokenProcessPool:
        raise BnexpError("a worker process was killed, mostly for lack of memory; try again with --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _inherit(work: Callable[[Any], Any], parent: int) -> None:
    begin_worker(parent, 1)
    _inherited.append(work)


def _do_inherited(item: Any) -> Any:
    return _inherited[-1](item)


@contextmanager
def forking() -> Iterator[None]:
    """Fork without the warning of Python 3.12 about threads: ours only draw progress, and workers never print."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def begin_worker(parent: int, threads: int) -> None:
    """Make this process a worker: it leaves signals to its parent, ends with it, and computes with so many threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides what it means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with_parent(parent)
    gc.freeze()  # collecting garbage takes 0.25 s where it goes through all that was inherited
    if torch := sys.modules.get("torch"):  # pictures are drawn without it
        torch.set_num_threads(threads)


def _end_with_parent(parent: int) -> None:
    """Let this process end when its parent does, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)
        return
    own = parent_process()

    def watch() -> None:
        own.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
