"""The memory that a batch takes: the bytes kept from the forward pass until the backward pass has used them.

They are counted, not measured as a peak, and so the same whatever else the machine does.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.checks.comparing import difference
from bnexp.checks.small import fresh, noise
from bnexp.claims.findings import Finding

NETWORKS: dict[str, dict[str, Any]] = {
    "three layers of 64 ReLU": {"depth": 3, "width": 64, "activation": "relu"},
    "a VGG of 8 to 32 channels": {"family": "vgg", "depth": 5, "width": 8, "activation": "relu"},
}
NORMS = {"without BN": "none", "with BN": "batch", "with group norm": "group"}
SIZES = 2, 8, 32, 128, 512
"""Images of a batch."""
PIXELS = 64


def batch_memory() -> Iterator[Finding]:
    """Yield how many bytes autograd keeps of a batch, by its size, and how many more of them with a norm layer."""
    for name, model in NETWORKS.items():
        each = dict[str, float]()
        for how, norm in NORMS.items():
            network = fresh(model | {"norm": norm}, dtype=torch.float32).train()
            bytes_kept = [kept(network, noise(1, size, PIXELS).float()) for size in SIZES]
            each[how], fixed = _line(bytes_kept)
            error = difference(bytes_kept, [fixed + each[how] * size for size in SIZES])
            listed = "; ".join(f"{count:,}" for count in bytes_kept)
            yield Finding(
                f"{name}, {how}: bytes kept of batches of {', '.join(map(str, SIZES))}",
                f"{listed}: {each[how]:,.10g} for each image and {fixed:,.10g} for any batch",
                # What doesn't grow is on a line as well.
                error if each[how] > 0 else float("inf"),
                0,
            )
        plain, *others = each
        times = ", ".join(f"{each[how] / each[plain]:.2f} times as much {how}" for how in others)
        yield Finding(f"{name}: what an image takes", f"{times} as {plain}")


def kept(network: nn.Module, x_SBC: Tensor) -> int:
    """Return the bytes that one forward pass keeps for the backward pass; the network's own tensors don't count."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    found = dict[int, torch.UntypedStorage]()  # held, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x_SBC)
    return sum(storage.nbytes() for storage in found.values())


def _line(bytes_kept: list[int]) -> tuple[float, float]:
    """Return what the smallest two batches say that each image keeps, and what any batch does."""
    each = (bytes_kept[1] - bytes_kept[0]) / (SIZES[1] - SIZES[0])
    return each, bytes_kept[0] - each * SIZES[0]
