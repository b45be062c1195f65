"""How much memory is free: asked before something large is put there, since running out could end other programs."""

import psutil
import torch

CPU = torch.device("cpu")


def free_memory(device: torch.device = CPU) -> int:
    """Return the bytes that a device has to spare at this moment."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
