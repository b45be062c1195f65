"""The order in which every seed sees the training images. Shapes: S distinct seeds, n images of an epoch."""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from bnexp.data.catalog import Sampling, steps_per_epoch
from bnexp.streams import stream_seed


def batch_orders(
    seeds: Sequence[int],
    epoch: int,
    images: int,
    batch_size: int,
    sampling: Sampling,
    drop_last: bool,
    labels_N: Int64[Tensor, " N"] | None = None,
) -> Int64[Tensor, "S n"]:
    """Draw one epoch's image indices for each seed, on the CPU; batch i is [:, i*batch_size:(i+1)*batch_size].

    n is steps_per_epoch · batch_size; with sampling `epoch` and drop_last off it is `images`, and the last batch
    smaller. A row depends on its own seed and the epoch (counted from 1) only, not on the other seeds. Sampling
    `by_class` takes the labels of the images, on the CPU.

    Raises:
        ConfigError: as steps_per_epoch.
    """
    steps = steps_per_epoch(images, batch_size, sampling, drop_last)
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(stream_seed(seed, "batches", epoch))
        if sampling == "replacement":
            rows.append(torch.randint(images, (steps * batch_size,), generator=generator))
            continue
        order_n = torch.randperm(images, generator=generator)[: steps * batch_size]
        rows.append(order_n if sampling == "epoch" else _by_class(order_n, labels_N, batch_size, generator))
    return torch.stack(rows)


def _by_class(
    order_n: Int64[Tensor, " n"], labels_N: Int64[Tensor, " N"] | None, batch_size: int, generator: torch.Generator
) -> Int64[Tensor, " n"]:
    """Sort images by label, cut them into batches, and put these in random order; a smaller one stays the last."""
    assert labels_N is not None
    sorted_n = order_n[labels_N[order_n].argsort(stable=True)]
    whole = len(sorted_n) // batch_size
    batches_bB = sorted_n[: whole * batch_size].view(whole, batch_size)
    return torch.cat([batches_bB[torch.randperm(whole, generator=generator)].flatten(), sorted_n[whole * batch_size :]])
