"""The trackers that a run can be handed over to, by the name of their option, their extra and their package."""

from collections.abc import Callable, Iterable, Mapping

from bnexp.report.trackers import mlflow, trackio, wandb
from bnexp.report.trackers.tracked import TrackedRun

HandOver = Callable[[Iterable[TrackedRun], str, str], str]
"""Hands tracked runs over to a project at an address (empty where the tracker knows its own), and returns a sentence
that says where they are. A second call updates those that have changed, and makes no copies. It raises InputError where
the tracker refuses."""

TRACKERS: Mapping[str, HandOver] = {
    "mlflow": mlflow.hand_over,
    "wandb": wandb.hand_over,
    "trackio": trackio.hand_over,
}
