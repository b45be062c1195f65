"""Time per trial as more trials train at once."""

from collections.abc import Callable

import torch

from benchmarks.study import Loaded, load_study
from benchmarks.timing import in_turn
from bnexp.plan import TrialGroup
from bnexp.training.loop import train

SIZES = (1, 4, 16, 64, 256)


def run(device: torch.device, rounds: int = 3) -> str:
    """Return the table as Markdown: the arm with BN, 50 steps, measured at the first and the last."""
    loaded = load_study(
        [
            "arms=[before]",
            f"grid.model.init.scale={{logspace: [1, 1e-4, {max(SIZES)}]}}",
            "train.steps=50",
            "train.record_at=[1]",
        ],
        device,
    )
    (whole,) = loaded.groups
    parts = {size: TrialGroup(whole.trials[: size * (max(SIZES) // size) : max(SIZES) // size]) for size in SIZES}
    times = in_turn({str(size): _training(part, loaded) for size, part in parts.items()}, rounds + 1)
    rows = ["| trials at once | milliseconds per trial: median | whole time over that of one trial |", "|---|---|---|"]
    # The first round warms up.
    medians = {size: sorted(times[str(size)].seconds[1:])[rounds // 2] for size in SIZES}
    for size, seconds in medians.items():
        rows.append(f"| {size} | {1000 * seconds / size:.1f} | {seconds / medians[1]:.1f}× |")
    return "\n".join([f"Trials with BN, 50 steps and two measurements; {rounds} rounds, the sizes in turn.", "", *rows])


def _training(group: TrialGroup, loaded: Loaded) -> Callable[[], None]:
    def act() -> None:
        for _ in train(group, loaded.data):
            pass

    return act
