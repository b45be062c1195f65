"""Which trials train at once on a device: as many of a shape as its free memory holds."""

from collections.abc import Callable, Sequence

import torch

from bnexp.config.probes import ProbeSettings
from bnexp.data.catalog import DataShape
from bnexp.errors import InputError
from bnexp.plan import TrialGroup, parts
from bnexp.training.memory import footprint
from bnexp.words import gibibytes

USABLE = 0.85
"""Share of the free memory that is planned with: allocators leave gaps, and other programs grow."""

ShapeOf = Callable[[TrialGroup], DataShape]


def fitted(
    groups: Sequence[TrialGroup],
    shape_of: ShapeOf,
    free: int,
    device: torch.device,
    probes: Sequence[ProbeSettings] = (),
) -> list[TrialGroup]:
    """Cut groups that don't fit into the free memory, and put the largest first.

    Args:
        groups: trials of one shape each.
        shape_of: what a group trains on.
        free: bytes to spare on the device.
        device: on a GPU a trial that seems too large is still tried; on a CPU trying could take the machine down.
        probes: that are taken while they train.

    Raises:
        InputError: one trial alone doesn't fit a CPU's memory.
    """
    sized = []
    for group in groups:
        takes = footprint(group, shape_of(group), device, probes)
        most = takes.most(int(USABLE * free))
        if most == 0 and device.type == "cpu":
            raise InputError(
                f"one trial ({group.trials[0].arm}) takes about {gibibytes(takes.of(1))} and "
                f"{gibibytes(free)} are free; lower train.batch_size, model.width or model.depth"
            )
        sized += [(takes.of(len(part.trials)), part) for part in parts(group, max(1, most))]
    return [part for _, part in sorted(sized, key=lambda pair: -pair[0])]
