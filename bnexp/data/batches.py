"""The order in which every seed sees the training images. Shapes: S distinct seeds, n images of an epoch."""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from bnexp.data.catalog import Sampling, steps_per_epoch
from bnexp.streams import stream_seed


def batch_orders(
    seeds: Sequence[int], epoch: int, images: int, batch_size: int, sampling: Sampling, drop_last: bool
) -> Int64[Tensor, "S n"]:
    """Draw one epoch's image indices for each seed, on the CPU; batch i is [:, i*batch_size:(i+1)*batch_size].

    n is steps_per_epoch · batch_size; with sampling `epoch` and drop_last off it is `images`, and the last
    batch smaller. A row depends on its own seed and the epoch (counted from 1) only, not on the other seeds.

    Raises:
        ConfigError: as steps_per_epoch.
    """
    steps = steps_per_epoch(images, batch_size, sampling, drop_last)
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(stream_seed(seed, "batches", epoch))
        if sampling == "replacement":
            rows.append(torch.randint(images, (steps * batch_size,), generator=generator))
        else:
            rows.append(torch.randperm(images, generator=generator)[: steps * batch_size])
    return torch.stack(rows)
