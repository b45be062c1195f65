"""Which trials are diverged, found from their batch losses when it is asked for.

Shapes: N steps whose losses are kept until then.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bnexp.records import DIVERGED_FACTOR
from bnexp.training.numerics import totals_dtype

NEVER = 2**62
"""A step beyond the end of any training."""


class Divergence:
    """Which of K trials are diverged, and the highest batch loss of each; everything stays on the device.

    Diverged is a state. A trial is diverged for good once one of its numbers is no longer finite. It is also diverged
    while its batch losses lie above the limit of DIVERGED_FACTOR. An update only stores its losses, which takes three
    small operations. They are checked later, all at once.

    Args:
        trials: how many.
        guessing: the loss of a network that gives every class the same probability, ln C.
        steps: losses that can be stored before the state is asked for.
        like: a tensor on the device and in the precision of the losses.
    """

    def __init__(self, trials: int, guessing: float, steps: int, like: Tensor):
        self._guessing = guessing
        self._loss_NK = like.new_zeros(steps, trials)
        self._step_N = torch.zeros(steps, dtype=torch.int64, device=like.device)  # 0: nothing stored
        infinite_K = like.new_full((trials,), float("inf"))
        none_K = torch.zeros(trials, dtype=torch.int64, device=like.device)
        self._state = {
            "limit": infinite_K,
            "since": none_K,
            "lost": none_K.bool(),
            "highest": -infinite_K,
            "highest_at": none_K.clone(),
        }

    def record(self, loss_K: Float[Tensor, " K"], step: Int[Tensor, ""]) -> None:
        """Store the batch losses of a step, counted from 1; the host reads nothing back."""
        row_1 = (step % len(self._step_N)).view(1)
        self._loss_NK.index_copy_(0, row_1, loss_K[None])
        self._step_N.index_copy_(0, row_1, step.view(1))

    def mark_nonfinite(self, lost_K: Bool[Tensor, " K"], step: Int[Tensor, ""]) -> None:
        """Mark trials that have a number that is not finite, as seen at the last stored step."""
        self.settle()
        since_K = self._state["since"]
        self._state["lost"].logical_or_(lost_K)
        since_K.copy_(torch.where(lost_K & (since_K == 0), step, since_K))

    def state(self) -> dict[str, Tensor]:
        """Return all of it by name, with the trials in front; no copies."""
        self.settle()
        return self._state

    def discard(self) -> None:
        """Drop the stored losses: another state has replaced this one."""
        self._step_N.zero_()

    def rows(self) -> Float[Tensor, "4 K"]:
        """Return the step since which each trial is diverged (0: it is not), whether it is so for good (1 or 0), and
        the highest finite batch loss with its step (0: there was none); all that is settled.
        """
        dtype = totals_dtype(self._step_N.device)
        return torch.stack([self._state[name].to(dtype) for name in ("since", "lost", "highest", "highest_at")])

    def settle(self) -> None:
        """Update the state with the stored losses, and drop them."""
        limit_K, since_K, lost_K, highest_K, highest_at_K = self._state.values()
        loss_NK, step_N1 = self._loss_NK, self._step_N[:, None]
        noted_N1, finite_NK = step_N1 > 0, loss_NK.isfinite()

        def first(where_NK: Bool[Tensor, "N K"]) -> Int[Tensor, " K"]:
            return step_N1.masked_fill(~(where_NK & noted_N1), NEVER).amin(0)

        def last(where_NK: Bool[Tensor, "N K"]) -> Int[Tensor, " K"]:
            return (step_N1 * (where_NK & noted_N1)).amax(0)

        known_NK = loss_NK.masked_fill(~(noted_N1 & finite_NK), -float("inf"))
        top_K = known_NK.amax(0)
        higher_K = top_K > highest_K
        highest_at_K.copy_(torch.where(higher_K, first(known_NK == top_K), highest_at_K))
        highest_K.copy_(torch.where(higher_K, top_K, highest_K))
        start_N1 = step_N1 == 1
        start_K = (DIVERGED_FACTOR * loss_NK.clamp(min=self._guessing)).masked_fill(~start_N1, -float("inf")).amax(0)
        limit_K.copy_(torch.where(start_N1.any(), start_K, limit_K))
        lost_at_K = first(~finite_NK).masked_fill(lost_K, 0)
        above_NK = (loss_NK > limit_K) | (step_N1 >= lost_at_K)
        calm_at_K, end = last(~above_NK), self._step_N.amax()
        # Above the limit from the step after the last calm one, which may be the end; where there is none, from before.
        begun_K = torch.where(since_K == 0, first(above_NK), since_K)
        since = torch.where(calm_at_K == 0, begun_K, (calm_at_K + 1) * (calm_at_K < end))
        since_K.copy_(torch.where(end == 0, since_K, since))
        lost_K.logical_or_(lost_at_K < NEVER)
        self.discard()
