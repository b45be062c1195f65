"""Loss and accuracy of every trial over a split, in evaluation mode."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from bnexp.data.dataset import Dataset, Split
from bnexp.nn.loss import losses

CHUNK_NUMBERS = {"cpu": 2**21, "cuda": 2**25}
"""Numbers of one layer's output held at a time over all trials. On a CPU they fit the caches and still fill products
(2^17 to 2^21 were tried); on a GPU they keep launches few."""

Forward = Callable[[Float[Tensor, "S B in"]], Float[Tensor, "K B C"]]


@torch.no_grad()
def measure(forward: Forward, trials: int, width: int, data: Dataset, split: Split) -> Float[Tensor, "2 K"]:
    """Return mean loss and accuracy of each trial, in float64 and still on the device.

    Accuracy takes the largest logit, the first NaN where there is one.

    Args:
        forward: the K networks in evaluation mode.
        trials: K.
        width: units of the widest layer; it sets how many images pass at a time.
        data: scales the images.
        split: what to measure on.
    """
    totals_2K = torch.zeros(2, trials, dtype=torch.float64, device=split.labels_N.device)
    largest = max(trials * width, split.images_NP.shape[1])
    for images_BP, labels_B in chunks(split, max(1, CHUNK_NUMBERS[totals_2K.device.type] // largest)):
        logits_KBC = forward(data.inputs(images_BP)[None])
        totals_2K[0] += losses(logits_KBC, labels_B[None]).sum(1, dtype=torch.float64)
        # Not argmax, which took ten times as long here; both give the first of equal logits and the first NaN.
        totals_2K[1] += (logits_KBC.mT.max(1).indices == labels_B).sum(1)
    return totals_2K / len(split)


def chunks(split: Split, size: int) -> Iterator[tuple[Real[Tensor, "B P"], Int[Tensor, " B"]]]:
    """Yield a split's images and labels in file order, `size` at a time."""
    yield from zip(split.images_NP.split(size), split.labels_N.split(size), strict=True)
