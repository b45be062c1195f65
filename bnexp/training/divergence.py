"""Which trials of a group are diverged, and the highest batch loss of each; all of it stays on the device.

Diverged is a state. A trial is diverged if a number of it is no longer finite, which is for good; or if its batch loss
lies above the limit of DIVERGED_FACTOR, until one comes back below it.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bnexp.records import DIVERGED_FACTOR


class Divergence:
    """The state of K trials.

    Args:
        trials: how many.
        guessing: the loss of a network that gives every class the same probability, ln C.
        like: a tensor on the device and in the precision of the losses.
    """

    def __init__(self, trials: int, guessing: float, like: Tensor):
        self._guessing = guessing
        self._limit_K = like.new_full((trials,), float("inf"))
        self._since_K = torch.zeros(trials, dtype=torch.int64, device=like.device)
        self._lost_K = torch.zeros(trials, dtype=torch.bool, device=like.device)
        self._highest_K = like.new_full((trials,), -float("inf"))
        self._highest_at_K = torch.zeros(trials, dtype=torch.int64, device=like.device)

    def watch(self, loss_K: Float[Tensor, " K"], step: Int[Tensor, ""]) -> None:
        """Take in the batch losses of a step, counted from 1; the host reads nothing back."""
        limit_K = DIVERGED_FACTOR * loss_K.clamp(min=self._guessing)
        self._limit_K.copy_(torch.where(step == 1, limit_K, self._limit_K))
        finite_K = loss_K.isfinite()
        higher_K = finite_K & (loss_K > self._highest_K)
        self._highest_K.copy_(torch.where(higher_K, loss_K, self._highest_K))
        self._highest_at_K.copy_(torch.where(higher_K, step, self._highest_at_K))
        self._lost_K.logical_or_(~finite_K)
        self._flag(self._lost_K | (loss_K > self._limit_K), step)

    def lose(self, lost_K: Bool[Tensor, " K"], step: int) -> None:
        """Take in which trials have a number that is not finite, as seen at a step."""
        self._lost_K.logical_or_(lost_K)
        self._flag(self._lost_K | (self._since_K > 0), step)

    def rows(self) -> Float[Tensor, "4 K"]:
        """Return the step since which each trial is diverged (0: it is not), whether it is so for good (1 or 0), and
        the highest finite batch loss with its step (0: there was none).
        """
        found = self._since_K, self._lost_K, self._highest_K, self._highest_at_K
        return torch.stack([each_K.double() for each_K in found])

    def state(self) -> dict[str, Tensor]:
        """Return all of it by name, with the trials in front; these are no copies."""
        return {
            "limit": self._limit_K,
            "since": self._since_K,
            "lost": self._lost_K,
            "highest": self._highest_K,
            "highest_at": self._highest_at_K,
        }

    def _flag(self, diverged_K: Bool[Tensor, " K"], step: int | Int[Tensor, ""]) -> None:
        since_K = torch.where(self._since_K == 0, step, self._since_K)
        self._since_K.copy_(since_K * diverged_K)  # where with a 0 would copy it from the host, which a graph can't
