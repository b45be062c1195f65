"""The update of a trial group as one CUDA graph: launched whole instead of kernel by kernel.

A small network's kernels finish sooner than the host can launch them; a graph is captured once and then takes one
launch a step (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import dtype_of

Update = Callable[[Int[Tensor, "S B"], Float[Tensor, "K 1"], Int[Tensor, ""]], None]
"""One update from image numbers, learning rates, and the number of the step."""

Act = Callable[[], None]
Recorder = Callable[[Act, Sequence[torch.Generator]], Act]
"""Makes a function that repeats what an act did to the tensors it touched."""

WARM_UPS = 3
"""Updates before the capture, so that libraries set themselves up outside it."""


def updater(train_state: GroupTrainState) -> Update:
    """Return the fastest way to update a group on its device; the numbers are those of `GroupTrainState.update`."""
    graphed = train_state.device.type == "cuda" and train_state.group.settings.model.norm.spec.capturable
    return GraphedUpdate(train_state, cuda_graph) if graphed else train_state.update


class GraphedUpdate:
    """An update that is recorded once and repeated with inputs of the same shape.

    Recording runs the update, so the train_state's state is put back afterwards. Random numbers drawn meanwhile are not
    rewound: record between epochs, since each epoch seeds its generators again.

    Args:
        train_state: the group.
        record: what records and repeats.
    """

    def __init__(self, train_state: GroupTrainState, record: Recorder):
        train, seeds, trials = (
            train_state.group.settings.train,
            train_state.group.shared_seeds,
            len(train_state.group.trials),
        )
        self._train_state = train_state
        # What every repetition reads: its inputs are copied to the same places.
        self._batch_SB = torch.zeros(len(seeds), train.batch_size, dtype=torch.int64, device=train_state.device)
        self._rate_K1 = torch.zeros(trials, 1, dtype=dtype_of(train.precision), device=train_state.device)
        self._step = torch.ones((), dtype=torch.int64, device=train_state.device)
        before = {name: tensor.clone() for name, tensor in train_state.state_dict().items()}
        self._repeat = record(self._update, train_state.streams.generators)
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


def cuda_graph(act: Act, generators: Sequence[torch.Generator]) -> Act:
    """Capture an act on the current CUDA device; return what replays it.

    Args:
        act: launches kernels and reads nothing back.
        generators: every generator that the act draws from; a replay draws on from where each stands.
    """
    main, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            act()
    main.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings():
        # Needed up to the release that began to do this by itself, and announced there as superfluous.
        warnings.simplefilter("ignore")
        for generator in generators:
            graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        act()
    return graph.replay
