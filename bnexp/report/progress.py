"""How far a run is: its trials and groups, their steps, and the time left, from its folder alone."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnexp.analysis.stats import last_records
from bnexp.analysis.study import Study, trial_settings
from bnexp.config.trial import TrialSettings
from bnexp.data.catalog import known_shape, steps_per_epoch
from bnexp.errors import InputError
from bnexp.store.files import groups_of
from bnexp.store.reader import RunRecord


@dataclass(frozen=True)
class GroupProgress:
    """Trials that train together."""

    trials: tuple[int, ...]
    epoch: int
    step: int
    steps: int
    """Updates that each of its trials makes in all."""
    left: float
    """Seconds until it has made them, without measuring; NaN if that isn't known yet."""


@dataclass(frozen=True)
class ArmProgress:
    """How many trials an arm has, and how far they are."""

    trials: int
    ended: int
    diverged: int
    running: int
    """Those with a record that have not ended."""
    waiting: int


@dataclass(frozen=True)
class Progress:
    """A run at one moment."""

    planned: int
    outcomes: dict[str, int]
    """How many trials have ended, by outcome."""
    diverged: tuple[tuple[int, str], ...]
    """Number and arm of the diverged trials."""
    arms: dict[str, ArmProgress]
    training: tuple[GroupProgress, ...]
    """Groups that have a record and have not ended."""
    waiting: int
    """Trials without a record."""
    share: float
    """The share of all updates that has been made; those of ended trials count in full."""
    left: float | None
    """Seconds left if as many groups train at once as now, without measuring; None if nothing is known yet."""

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(self.outcomes.values())

    @property
    def slowest(self) -> GroupProgress | None:
        """The group in training that has made the smallest share of its updates."""
        return min(self.training, key=lambda group: group.step / max(1, group.steps), default=None)


def progress_of(run: RunRecord, study: Study) -> Progress:
    """Return how far a run is.

    Args:
        run: its folder, as it is at this moment.
        study: of that run.
    """
    trials = study.trials[["number", "arm", "outcome"]].assign(trial=study.trials["trial"])
    last = last_records(study.curves).reindex(trials["trial"])
    step, seconds = (last[name].fillna(0).to_numpy(dtype=float) for name in ("step", "seconds"))
    epoch = last["epoch"].fillna(0).to_numpy(dtype=float)
    steps = np.maximum(_steps_in_all(study, step, epoch), step)
    ended, begun = trials["outcome"].notna().to_numpy(), last["step"].notna().to_numpy()
    whole = _seconds_in_all(trials["arm"], ended, step, steps, seconds)
    frame = trials.assign(step=step, epoch=epoch, steps=steps, left=np.where(ended, 0, whole - seconds))
    training = tuple(_groups(run, frame[begun & ~ended]))
    done = np.where(ended, steps, step)
    is_diverged = trials["outcome"].eq("diverged").to_numpy()
    diverged = trials[is_diverged]
    left = float(frame["left"].sum(skipna=False))
    return Progress(
        planned=len(trials),
        outcomes={str(kind): int(count) for kind, count in trials["outcome"].value_counts().items()},
        diverged=tuple(zip(diverged["number"], diverged["arm"], strict=True)),
        arms=_by_arm(trials["arm"], ended=ended, diverged=is_diverged, running=begun & ~ended, waiting=~begun & ~ended),
        training=training,
        waiting=int((~begun & ~ended).sum()),
        share=float(done.sum() / steps.sum()) if steps.sum() else 0.0,
        left=left / max(1, len(training)) if np.isfinite(left) else None,
    )


def _by_arm(arms: pd.Series, **states: np.ndarray) -> dict[str, ArmProgress]:
    counts = pd.DataFrame({"trials": 1, **states}).groupby(arms.to_numpy(), sort=False).sum()
    columns = {str(name): counts[name].tolist() for name in counts}
    return {
        str(arm): ArmProgress(**{name: int(values[row]) for name, values in columns.items()})
        for row, arm in enumerate(counts.index)
    }


def _steps_in_all(study: Study, step: np.ndarray, epoch: np.ndarray) -> np.ndarray:
    """Return the updates that each trial makes in all; NaN if that isn't known yet."""
    known: dict[int, tuple[TrialSettings, int | None]] = {}
    found = np.empty(len(step))
    for place, settings in enumerate(trial_settings(study, ["data", "train"])):
        if id(settings) not in known:
            known[id(settings)] = settings, _updates(settings)  # kept, so that no other gets its id
        per_epoch = known[id(settings)][1]
        if per_epoch is None and epoch[place]:
            per_epoch = round(step[place] / epoch[place])  # too small for a record within an epoch
        found[place] = settings.train.total_steps(per_epoch or 0) or np.nan
    return np.where(np.isnan(found), np.nanmax(found, initial=0), found)


def _updates(settings: TrialSettings) -> int | None:
    """Return the updates in an epoch; None where only the data's files tell."""
    train = settings.train
    try:
        if shape := known_shape(settings.data):
            return steps_per_epoch(shape.train, train.batch_size, train.sampling, train.drop_last)
    except InputError:
        pass
    return None


def _seconds_in_all(
    arms: pd.Series, ended: np.ndarray, step: np.ndarray, steps: np.ndarray, seconds: np.ndarray
) -> np.ndarray:
    """Return the seconds that each trial takes in all, estimated from its own pace or its arm's; NaN if not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        per_step = pd.Series(np.where((step > 0) & (seconds > 0), seconds / step, np.nan), index=arms.index)
    usual = per_step.groupby(arms).transform("median").fillna(per_step.median())
    return np.where(ended, seconds, per_step.fillna(usual).to_numpy() * steps)


def _groups(run: RunRecord, training: pd.DataFrame) -> list[GroupProgress]:
    group_of = {number: place for place, group in enumerate(groups_of(run.environment)) for number in group}
    places = training["number"].map(group_of).fillna(-1)
    return [
        GroupProgress(
            trials=tuple(own["number"]),
            epoch=int(own["epoch"].min()),
            step=int(own["step"].min()),
            steps=int(own["steps"].max()),
            left=float(own["left"].sum(skipna=False)),
        )
        for _, own in training.groupby(places, sort=False)
    ]
