"""The update of a trial group, and its evaluation, as CUDA graphs: launched whole instead of kernel by kernel.

A small network's kernels finish faster than the host can launch them; a graph is captured once and then takes one
launch per step (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bnexp.config.model import ModelSettings
from bnexp.nn.own.networks import OwnNetworks
from bnexp.nn.own.source import place
from bnexp.nn.plain_layers import InTurn
from bnexp.streams import SeedGenerators
from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import dtype_of

Update = Callable[[Int[Tensor, "S B"], Float[Tensor, "K 1"], Int[Tensor, ""]], None]
"""One update from image numbers, learning rates, and the number of the step."""

Evaluate = Callable[[int], Float[Tensor, "M K"]]
"""An evaluation after so many updates, as `GroupTrainState.evaluate`."""

Act = Callable[[], None]
Recorder = Callable[[Act, SeedGenerators], Act]
"""Makes a function that repeats what an act did to its tensors; random draws continue from the state of each
generator."""

LAUNCHED = "steps are launched kernel by kernel, not as one CUDA graph"
WARM_UPS = 3
"""Updates before the capture, so that libraries set themselves up outside it."""


def graphed(model: ModelSettings, device: torch.device) -> bool:
    """Tell whether the updates of a network are repeated as a graph on this device.

    In one's own network the code must permit it, too, which is tried.
    """
    return device.type == "cuda" and model.norm.spec.capturable


def updater(train_state: GroupTrainState) -> Update:
    """Return the fastest way to update a group on its device; the numbers are those of `GroupTrainState.update`."""
    if record := _recorder(train_state, WARM_UPS):
        return GraphedUpdate(train_state, record)
    return train_state.update


def evaluator(train_state: GroupTrainState) -> Evaluate:
    """Return the fastest way to evaluate a group on its device."""
    if record := _recorder(train_state, 0):
        return GraphedEvaluation(train_state, record)
    return train_state.evaluate


def _recorder(train_state: GroupTrainState, warm_ups: int) -> Recorder | None:
    """Return what records and repeats the steps of a group; None where none is to be repeated.

    The code of the user's own network is tried first. If it doesn't permit that, steps are launched kernel by kernel,
    and the group's notes say why.
    """
    if not graphed(train_state.group.settings.model, train_state.device):
        return None
    record, network = partial(cuda_graph, warm_ups=warm_ups), train_state.network
    if not isinstance(network, OwnNetworks):
        return record
    if network.unrepeatable:
        train_state.notes.append(f"{LAUNCHED}: {network.source} {network.unrepeatable}")
        return None

    def record_if_possible(act: Act, streams: SeedGenerators) -> Act:
        """Return the recorded act, or the act itself where the network's code doesn't let it be recorded."""
        try:
            with no_waiting():
                act()
            return record(act, streams)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            train_state.notes.append(f"{LAUNCHED}: {place(error, network.source)}: {error}")
            for layer in (layer for shard in train_state.shards for layer in shard.network.modules()):
                if isinstance(layer, InTurn):
                    layer.turn = 0  # the pass was interrupted
            return act

    return record_if_possible


@contextmanager
def no_waiting() -> Iterator[None]:
    """Turn every call that waits for the GPU into an error, but only here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says once that it may not notice every such call
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class GraphedUpdate:
    """An update that is recorded once and repeated with inputs of the same shape.

    Recording runs the update, so the group's state and its random streams are put back afterwards.

    Args:
        train_state: the group.
        record: what records and repeats.
    """

    def __init__(self, train_state: GroupTrainState, record: Recorder):
        group, device = train_state.group, train_state.device
        self._train_state = train_state
        # The inputs of every repetition are copied into these tensors.
        self._batch_SB = torch.zeros(
            len(group.shared_seeds), group.settings.train.batch_size, dtype=torch.int64, device=device
        )
        self._rate_K1 = torch.zeros(len(group.trials), 1, dtype=dtype_of(group.settings.train.precision), device=device)
        self._step = torch.ones((), dtype=torch.int64, device=device)
        # Kept on the host, so that a GPU needn't hold the state twice.
        before = {name: tensor.to("cpu", copy=True) for name, tensor in train_state.state_dict().items()}
        drawn = train_state.streams.state()
        self._repeat = record(self._update, train_state.streams)
        train_state.streams.load(drawn)
        train_state.load_state_dict(before)

    def __call__(self, batch_SB: Int[Tensor, "S B"], rate_K1: Float[Tensor, "K 1"], step: Int[Tensor, ""]) -> None:
        """Make one update; a batch of another size, as the last of an epoch may be, is not repeated but computed."""
        if batch_SB.shape != self._batch_SB.shape:
            self._train_state.update(batch_SB, rate_K1, step)
            return
        self._batch_SB.copy_(batch_SB)
        self._rate_K1.copy_(rate_K1)
        self._step.copy_(step)
        self._repeat()

    def _update(self) -> None:
        self._train_state.update(self._batch_SB, self._rate_K1, self._step)


class GraphedEvaluation:
    """An evaluation that is recorded at its second time and repeated; the first sets the libraries up.

    An evaluation gives the same twice, so recording needn't be undone.

    Args:
        train_state: the group.
        record: what records and repeats.
    """

    def __init__(self, train_state: GroupTrainState, record: Recorder):
        self._train_state, self._record = train_state, record
        self._step = torch.zeros((), dtype=torch.int64, device=train_state.device)
        self._rows_MK: Tensor | None = None
        self._repeat: Act | None = None

    def __call__(self, step: int) -> Float[Tensor, "M K"]:
        """Return the rows, which the next evaluation overwrites."""
        self._step.fill_(step)
        if self._rows_MK is None:
            self._evaluate()
        elif self._repeat is None:
            self._repeat = self._record(self._evaluate, self._train_state.streams)
        if self._repeat is not None:
            self._repeat()
        assert self._rows_MK is not None
        return self._rows_MK

    def _evaluate(self) -> None:
        self._rows_MK = self._train_state.evaluate(self._step)


@cache
def capture_stream(device: int) -> Any:
    """Return the stream on which everything is captured on a GPU: each new one gets workspaces of cuBLAS to keep."""
    return torch.cuda.Stream(device)


def cuda_graph(act: Act, streams: SeedGenerators, warm_ups: int = WARM_UPS) -> Act:
    """Capture an act on the current CUDA device; return what replays it.

    Args:
        act: launches kernels and reads nothing back.
        streams: what it draws from. Generators in use are registered: each takes two kernels at every replay.
        warm_ups: times that it is done before.
    """
    main, stream = torch.cuda.current_stream(), capture_stream(torch.cuda.current_device())
    stream.wait_stream(main)
    with torch.cuda.stream(stream):
        for _ in range(warm_ups):
            act()
    main.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings():
        # Needed up to the release that began to do this by itself, and that warns that it is superfluous.
        warnings.simplefilter("ignore")
        for generator in streams.generators:
            graph.register_generator_state(generator)
    with torch.cuda.graph(graph, stream=stream):
        act()
    return graph.replay
