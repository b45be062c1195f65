"""The test images that a finished run keeps for its report, which has neither the data set nor torch.

Shapes: N test images, M of them kept.
"""

from collections.abc import Iterable
from math import ceil

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from bnexp.analysis.misclassified import disagreements
from bnexp.analysis.runs import ComparedRun
from bnexp.data.dataset import Dataset
from bnexp.store.checkpoints import Checkpoints, KeptImages

MOST_KEPT = 64
"""The most images kept for each arm and direction, four times as many as a picture shows: so a report of some seeds
only, or with another baseline, can still choose."""
LARGEST_SIDE = 64
"""Pixels; larger images are shrunk."""


def keep_images(run: ComparedRun, datasets: Iterable[Dataset]) -> None:
    """Keep the labels of the test images, and the images on which arms and baseline disagree most.

    Nothing is kept where no trial has predictions, or where trials are tested on different images, as where each seed
    draws its own.

    Args:
        run: the run folder, all of whose trials have ended.
        datasets: what its trials train on; where they were all taken over, these have come with their images.
    """
    tested = [data for data in datasets if len(data.test)]
    labels = [data.test.labels_N.cpu().numpy() for data in tested]
    drawn = run.config.data.split == "per_seed" and any("test" in data.shape.drawn for data in tested)
    if drawn or not labels or not run.predictions or any(not np.array_equal(each_N, labels[0]) for each_N in labels):
        return
    shape, labels_N = tested[0].shape, labels[0].astype(np.min_scalar_type(tested[0].shape.classes))
    found = [] if shape.tabular else disagreements(run.study, run.comparison, labels_N)
    shown = {image.number for each in found for image in (*each.losses(MOST_KEPT), *each.gains(MOST_KEPT))}
    numbers_M = np.array(sorted(shown), dtype=np.int64)
    images = KeptImages(labels_N, numbers_M, thumbnails(tested[0], numbers_M))
    Checkpoints(run.path).keep_images(images)


def thumbnails(data: Dataset, numbers_M: Int64[np.ndarray, " M"]) -> UInt8[np.ndarray, "M C H W"]:
    """Return test images as bytes of at most LARGEST_SIDE pixels a side.

    Values that aren't bytes (files with floats, whitened images) are stretched from black to white.
    """
    kept_NP, normalization = data.test.images_NP, data.normalization
    kept_MP = kept_NP[torch.from_numpy(numbers_M).to(kept_NP.device)].cpu()
    images_MP = normalization.to(kept_MP.device).pixels(kept_MP).numpy()
    images_MCHW = images_MP.reshape(len(numbers_M), *data.shape.image)
    if normalization.once:
        low, high = (end(images_MCHW, axis=(1, 2, 3), keepdims=True) for end in (np.min, np.max))
        images_MCHW = 255 * (images_MCHW - low) / np.maximum(high - low, np.finfo(images_MCHW.dtype).tiny)
    count, channels, height, width = images_MCHW.shape
    side = ceil(max(height, width) / LARGEST_SIDE)  # of the squares that become a pixel; what is left over is cut off
    down, right = min(side, height), min(side, width)
    whole = images_MCHW[:, :, : height - height % down, : width - width % right]
    squares = whole.reshape(count, channels, height // down, down, width // right, right)
    return np.asarray(np.rint(np.mean(squares, (3, 5), dtype=np.float32)), dtype=np.uint8)
