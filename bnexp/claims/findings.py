"""What a check finds: one line in words for each thing it looked at, and how far that is from what is claimed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    """What it is, in one line."""
    found: str
    """What was found, as people read it."""
    error: float | None = None
    """How far that is from what is claimed; None: told, not tested."""
    tolerance: float | None = None
    """The largest error that is none."""

    @property
    def holds(self) -> bool:
        """Whether what was found is as claimed; what is only told holds, and an error that is no number doesn't."""
        return self.error is None or (self.tolerance is not None and self.error <= self.tolerance)


@dataclass(frozen=True)
class Measured:
    """Values of two arms that were measured side by side, round by round."""

    baseline: tuple[float, ...]
    treated: tuple[float, ...]
