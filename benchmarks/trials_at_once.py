"""Time per trial as more trials train at once."""

from collections.abc import Callable, Mapping, Sequence

import torch

from benchmarks.study import Loaded, load_study
from benchmarks.timing import after_warm_up, in_turn
from bnexp.plan import TrialGroup
from bnexp.training.loop import train

SIZES = (1, 4, 16, 64, 256)


def run(device: torch.device, rounds: int = 3) -> str:
    """Return the table as Markdown: the arm with BN, 50 steps, measured at the first and the last."""
    seconds = medians(device, rounds)
    rows = ["| trials at once | milliseconds per trial: median | whole time over that of one trial |", "|---|---|---|"]
    for size, found in seconds.items():
        rows.append(f"| {size} | {1000 * found / size:.1f} | {found / seconds[1]:.1f}× |")
    return "\n".join([f"Trials with BN, 50 steps and two measurements; {rounds} rounds, the sizes in turn.", "", *rows])


def medians(
    device: torch.device, rounds: int, sizes: Sequence[int] = SIZES, overrides: Sequence[str] = ()
) -> Mapping[int, float]:
    """Return the seconds that so many trials take together."""
    most = max(sizes)
    scales = f"grid.model.init.scale={{logspace: [1, 1e-4, {most}]}}"
    fixed = ("arms=[before]", scales, "train.steps=50", "train.record_at=[1]")
    loaded = load_study([*fixed, *overrides], device)
    (whole,) = loaded.groups
    parts = {size: TrialGroup(whole.trials[: size * (most // size) : most // size]) for size in sizes}
    times = in_turn({str(size): _training(part, loaded) for size, part in parts.items()}, rounds + 1)
    return {size: after_warm_up(times)[str(size)].median for size in sizes}


def _training(group: TrialGroup, loaded: Loaded) -> Callable[[], None]:
    def act() -> None:
        for _ in train(group, loaded.data):
            pass

    return act
