"""What every engine can do: load the data, arrange the groups, and train them, wherever that is."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from bnexp.config.probes import ProbeSettings
from bnexp.executors.datasets import Datasets
from bnexp.executors.jobs import Event, Job, Latest
from bnexp.executors.planning import ShapeOf
from bnexp.plan import TrialGroup


class Engine(Protocol):
    """Where groups train: Local, or Cluster."""

    @property
    def place(self) -> str:
        """Where it trains, for people."""

    def load(self, groups: Sequence[TrialGroup]) -> Datasets:
        """Load what groups train on.

        Raises:
            InputError: a data set can't be had as asked for.
        """

    def arranged(
        self, groups: Sequence[TrialGroup], shape_of: ShapeOf, probes: Sequence[ProbeSettings], *, begun: bool
    ) -> list[TrialGroup]:
        """Cut groups so that they fit, and put them into the order in which they train.

        Args:
            groups: trials of one shape each.
            shape_of: what a group trains on.
            probes: that are taken while they train.
            begun: whether they have been trained in before, so that results depend on their cut in the last bits.

        Raises:
            InputError: one trial alone doesn't fit.
        """

    def execute(
        self, jobs: Sequence[Job], datasets: Datasets, latest: Latest, probes: Sequence[ProbeSettings], trials: int
    ) -> Generator[Event, None, None]:
        """Train jobs and yield what happens; a job that breaks doesn't stop the others.

        Args:
            jobs: what to train.
            datasets: from load.
            latest: finds the newest snapshot of a job.
            probes: what to measure inside the networks on the way.
            trials: how many the whole run has, those that have ended included.
        """

    def facts(self) -> Mapping[str, Any]:
        """Return what environment.json says of where a run was trained."""
