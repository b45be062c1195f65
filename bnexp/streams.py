"""Where every random number comes from: a stream of its own for each (seed, purpose, index).

Nothing random is ever saved. A stream's generator seed is derived from the trial's seed, the
stream's name and an index, so any draw can be repeated alone:

=========  ======================  =======================================================
stream     index                   what is drawn, in order
=========  ======================  =======================================================
weights    layer, from 0           float64 standard normals of a weight's shape, (out, in) or (out, in, height, width)
batches    epoch, from 1           the epoch's order of images
dropout    epoch, from 1           uniforms of a layer's shape without the trials, step by step, layer by layer
noise      epoch, from 1           as bnexp.nn.noise says, step by step, layer by layer
augment    epoch, from 1           as bnexp.data.augment says, step by step
probe      step · 2^20 + batch     images of a batch that only a probe looks at
landscape  2 · weight + direction  float64 standard normals of a weight's shape; weights and the two directions from 0
=========  ======================  =======================================================

Dropout, noise and augmentation are drawn on the device, the others on the CPU whatever the device.
docs/reproducibility.md says how to repeat a whole trial with them.
"""

import hashlib
from typing import Literal

Stream = Literal["weights", "batches", "dropout", "noise", "augment", "probe", "landscape"]


def stream_seed(seed: int, stream: Stream, index: int) -> int:
    """Seed for the generator of one stream: the first 8 bytes of a SHA-256, halved to fit 63 bits."""
    digest = hashlib.sha256(f"bnexp/{seed}/{stream}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
