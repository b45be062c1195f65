"""Kernels of an update and launches of an evaluation, counted without a GPU: over fake CUDA tensors.

What each operation launches is read from torch's source, cuDNN's and cuBLAS's calls counted as one each. The section
runs in a process of its own, whose made-up driver is that of `tests/gpu`.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bnexp.config.load import load
from bnexp.data.catalog import DataShape
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training import work
from bnexp.training.graphs import Act, GraphedEvaluation
from bnexp.training.group_state import GroupTrainState
from tests.gpu.fake_cuda import blank_data, compile_driver, environment, fake_cuda, update_inputs

ROOT = Path(__file__).parents[1]
KERNELS = Counter(
    {"baddbmm": 2, "native_batch_norm": 3, "native_batch_norm_backward": 2, "native_layer_norm_backward": 2}
    | {"nll_loss2d_backward": 2, "convolution_backward": 2}
)
"""Kernels of operations that launch more than one; a product with a bias copies the bias first."""
FREE = {"_unsafe_view", "alias", "detach", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty"}
"""Operations that make a tensor and launch nothing."""
JOINED_AT_ONCE = 128
"""Tensors that one kernel of cat takes."""


@dataclass(frozen=True)
class Study:
    """What is counted, and what it may come to."""

    config: str
    overrides: tuple[str, ...]
    shape: DataShape
    update: int | None
    """Kernels of an update at most."""
    evaluation: int | None
    """Launches of an evaluation at most."""


# A graph is one launch however many images there are; few of them are counted sooner.
STUDIES = (
    Study("init_scale", ("seeds=10",), DataShape((1, 28, 28), 10, 1000, 0, 0), 45, 10),
    Study("deep_sigmoid", (), DataShape((1, 28, 28), 10, 128, 1, 1), 70, None),
    Study("cifar_vgg", (), DataShape((3, 32, 32), 10, 128, 1, 1), None, 30),
)


class Launches(TorchDispatchMode):
    """Counts the kernels of operations, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = Counter[str]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if not func.is_view and name not in FREE and not name.startswith("device"):
            self.count[name] += _kernels(name, args)
        return made


def _kernels(name: str, args: tuple[Any, ...]) -> int:
    if name.startswith("_foreach"):
        lists = [each for each in args if isinstance(each, list | tuple)]
        # All lists in one kernel need equal shapes.
        together = all(len({tensor.shape for tensor in same}) == 1 for same in zip(*lists, strict=True))
        return 1 if together else len(lists[0])
    if name == "cat":
        return -(-len(args[0]) // JOINED_AT_ONCE)
    return KERNELS[name] or 1


def counted(act: Callable[[], object]) -> Counter[str]:
    """Return the kernels that an act launches, by operation."""
    launches = Launches()
    with launches:
        act()
    return launches.count


def groups_of(study: Study) -> Sequence[TrialGroup]:
    """Return the groups that a study trains."""
    return groups(trials(load(ROOT / "configs" / f"{study.config}.yaml", study.overrides)))


@contextmanager
def fused_kernels() -> Iterator[None]:
    """Switch the fused kernels on; each launch counts as one."""
    from bnexp.nn import fused  # Triton, which not every torch has

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "FUSED_KERNELS", True)
        patch.setattr(fused, "launch", lambda kernel, rows, *arguments, **constants: rows.clone())
        yield


def update_kernels(group: TrialGroup, shape: DataShape) -> Counter[str]:
    """Return what an update launches, as kernels of its graph."""
    train_state, given = GroupTrainState(group, blank_data(shape)), update_inputs(group)
    train_state.update(*given)  # begins what is made once
    return counted(lambda: train_state.update(*given))


def evaluation_launches(group: TrialGroup, shape: DataShape) -> Counter[str]:
    """Return what an evaluation launches; its graph is one launch."""
    replays = Counter[str]()

    def record(act: Act, streams: object) -> Act:
        act()
        return lambda: replays.update(["graph"])

    evaluation = GraphedEvaluation(GroupTrainState(group, blank_data(shape)), record)
    for step in (0, 1):  # the second records
        evaluation(step)
    replays.clear()
    return counted(lambda: evaluation(2)) + replays


def table(*, details: bool) -> str:
    """Return the counts as Markdown, with details those of each operation."""
    of_update = "kernels of an update | with fused ones | to reach"
    rows = [f"| study | arms | trials | {of_update} | launches of an evaluation | to reach |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for study in STUDIES:
        for group in groups_of(study):
            update, evaluation = update_kernels(group, study.shape), evaluation_launches(group, study.shape)
            with fused_kernels():
                fewer = update_kernels(group, study.shape)
            name, arms = " ".join((study.config, *study.overrides)), ", ".join(group.arms)
            limits = ["" if limit is None else f"{limit}" for limit in (study.update, study.evaluation)]
            totals = [f"{found.total():,}" for found in (update, fewer, evaluation)]
            cells = [name, arms, len(group.trials), *totals[:2], limits[0], totals[2], limits[1]]
            rows.append(f"| {' | '.join(map(str, cells))} |")
            if details:
                rows += [f"  update: {dict(update.most_common())}", f"  evaluation: {dict(evaluation.most_common())}"]
    return "\n".join(rows)


def run() -> str:
    """Return the table, counted in a process with a made-up driver.

    Raises:
        CalledProcessError: there is no C compiler to make it, or this torch was built without CUDA.
    """
    with TemporaryDirectory() as folder:
        env = environment(compile_driver(Path(folder)))
        command = [sys.executable, "-m", "benchmarks.kernels"]
        return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    with fake_cuda():
        torch.backends.cudnn.enabled = True  # no bfloat16 here, for which it would be asked
        print(table(details="--details" in sys.argv))
