"""How many trials of a group compute at once: all of them, or a few and then the next few."""

from collections.abc import Sequence

import torch

from bnexp.config.model import ModelSettings
from bnexp.plan import TrialGroup, parts


def trials_at_once(model: ModelSettings, device: torch.device) -> int | None:
    """Return the most trials whose networks compute in one pass; None for all."""
    return None if model.family == "mlp" else 1


def shard_sizes(group: TrialGroup, device: torch.device) -> Sequence[int]:
    """Return how many neighbouring trials of a group compute at once: whole seeds, or some trials of one seed."""
    most = trials_at_once(group.settings.model, device) or len(group.trials)
    return [len(part.trials) for part in parts(group, most)]
