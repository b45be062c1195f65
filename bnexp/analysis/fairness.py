"""The fairness check: where the tables of a comparison could mislead, and why."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.imbalance import imbalance
from bnexp.analysis.initial import initial_weights
from bnexp.analysis.lagging import running_averages
from bnexp.analysis.pairing import FINISHED, point_numbers, trainings
from bnexp.analysis.standing import FEWEST_SEEDS
from bnexp.analysis.study import Study
from bnexp.analysis.trial_settings import trial_settings
from bnexp.config.train import DEFAULT_EPOCHS, TrainSettings
from bnexp.config.trial import TrialSettings
from bnexp.store.layout import READ_ONLY
from bnexp.words import counted, have, listed

TUNED = "tuned"
"""Keyword of the warning that every tuned comparison has, since no interval holds the noise of the choice."""


def avoidable(warnings: Sequence[str]) -> tuple[str, ...]:
    """Return the warnings that a better experiment would avoid: all but those that every tuned comparison has."""
    return tuple(line for line in warnings if not line.startswith(f"{TUNED}: "))


def fairness(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """Return a line for everything that could mislead; none where nothing does."""
    others = [arm for arm in study.arms if arm != comparison.baseline]
    return tuple(
        line
        for lines in (
            _few(comparison),
            imbalance(comparison),
            _unpaired(study, comparison),
            _failed(study, comparison),
            _earlier(study),
            _chosen(study),
            _budgets(study, comparison, others),
            _biases(study.settings, study.arms),
            initial_weights(study, comparison.baseline, others),
            _two_changes(study.settings, comparison.baseline, others),
            _decayed(study),
            _edges(study, comparison),
            (f"{TUNED}: {line}" for line in study.tuning),
            running_averages(study, study.arms, comparison.evaluations),
        )
        for line in lines
    )


def _few(comparison: Comparison) -> Iterator[str]:
    pairs = [row.pairs for row in comparison.rows if row.arm != row.baseline and comparison.finished]
    if pairs and min(pairs) < FEWEST_SEEDS:
        least, most = min(pairs), max(pairs)
        count = counted(least, "pair") if least == most else f"{least} to {most} pairs"
        yield f"few seeds: {count} a row; an exact p below 0.05 takes {FEWEST_SEEDS} (seeds: {FEWEST_SEEDS})"


def _unpaired(study: Study, comparison: Comparison) -> Iterator[str]:
    # By trials: a row over several grid points has pairs of seeds.
    trials = study.trials.assign(point=point_numbers(study.trials, study.grid_keys), training=trainings(study.trials))
    finished = trials[trials["outcome"].isin(FINISHED)]
    places, theirs = pd.MultiIndex.from_frame(finished[["point", "seed"]]), finished["arm"] == comparison.baseline
    met = theirs | places.isin(places[theirs])
    # A trial that stands at several grid points has a partner if it has one at any of them.
    if alone := int((~met.groupby(finished["training"]).any()).sum()):
        yield (
            f"unpaired: {counted(alone, 'trial')} {have(alone)} no finished partner in {comparison.baseline}; "
            "differences leave them out"
        )
    if open_ := comparison.planned - comparison.finished:
        some = f"{open_} of {comparison.planned} trials"
        yield f"unfinished: {some} {have(open_)} not ended; {_progress(study)}"


def _progress(study: Study) -> str:
    """Say at which epoch the trials are that have not ended."""
    unfinished = study.trials.loc[study.trials["outcome"].isna(), "trial"]
    last = study.curves.groupby("trial")["epoch"].max().reindex(unfinished).fillna(0).astype(int)
    first, furthest = last.min(), last.max()
    return f"so far at epoch {first}" if first == furthest else f"so far at epochs {first} to {furthest}"


def _failed(study: Study, comparison: Comparison) -> Iterator[str]:
    failed = _trained(study, study.trials["outcome"] == "failed")
    if len(failed):
        counts = ", ".join(f"{failed[arm]} of {arm}" for arm in study.arms if arm in failed)
        why = f"; the first: {comparison.failure}" if comparison.failure else ""
        yield f"failed trials: {counts}; they are in no mean{why}"


def _trained(study: Study, among: "pd.Series[bool] | None" = None) -> "pd.Series[int]":
    """Return how many trials each arm has, all or only those marked; one at several grid points counts once."""
    trials = study.trials.assign(training=trainings(study.trials))
    chosen = trials if among is None else trials[among]
    return chosen.drop_duplicates("training")["arm"].value_counts()


def _earlier(study: Study) -> Iterator[str]:
    diverged = set(study.trials.loc[study.trials["outcome"] == "diverged", "run"])
    runs = [name for name, about in study.environments.items() if name in diverged and about.get("format") == READ_ONLY]
    if runs:
        yield (
            f"earlier bnexp: in {listed(runs)} a single batch loss above the limit counted as diverged, "
            "even if the trial learned on"
        )


def _chosen(study: Study) -> Iterator[str]:
    if study.chosen_by:
        yield f"chosen by results: the filter looks at {', '.join(study.chosen_by)}; what is left is no fair sample"


def _budgets(study: Study, comparison: Comparison, others: Sequence[str]) -> Iterator[str]:
    base = _budget(study.settings[comparison.baseline].train)
    for arm in others:
        for key, mine in _budget(study.settings[arm].train).items():
            if mine != base[key]:
                yield f"unequal budgets: train.{key} is {mine} in {arm} and {base[key]} in {comparison.baseline}"
    counts = _trained(study)
    for arm in others:
        if counts[arm] != counts[comparison.baseline]:
            theirs = counts[comparison.baseline]
            yield f"unequal budgets: {arm} has {counted(counts[arm], 'trial')} and {comparison.baseline} {theirs}"


def _budget(train: TrainSettings) -> dict[str, object]:
    epochs = "null" if train.steps else train.epochs or DEFAULT_EPOCHS
    return {"epochs": epochs, "steps": train.steps or "null", "batch_size": train.batch_size}


def _biases(settings: Mapping[str, TrialSettings], arms: Sequence[str]) -> Iterator[str]:
    before = [arm for arm in arms if _norm_follows_linear(settings[arm])]
    kept = [arm for arm in before if settings[arm].model.bias is True]
    if kept and len(kept) < len(before):
        bare = [arm for arm in before if arm not in kept]
        yield (
            f"bias: {listed(kept)} {'keeps' if len(kept) == 1 else 'keep'} the biases that BN subtracts again "
            f"(model.bias: true), {listed(bare)} {'does' if len(bare) == 1 else 'do'} not"
        )


def _norm_follows_linear(settings: TrialSettings) -> bool:
    norm = settings.model.norm
    return norm.kind == "batch" and norm.placement == "before"


def _two_changes(settings: Mapping[str, TrialSettings], baseline: str, others: Sequence[str]) -> Iterator[str]:
    base = settings[baseline]
    for arm in others:
        mine = settings[arm]
        if mine.train.lr != base.train.lr and mine.model.init != base.model.init:
            yield f"two changes: {arm} differs from {baseline} in both its learning rate and its initial weights"


def _decayed(study: Study) -> Iterator[str]:
    if len(study.arms) < 2 or not study.configs:
        return
    decisive = ["model.norm", "train.weight_decay", "train.decay_all"]
    shrinking = {
        arm
        for arm, settings in zip(study.trials["arm"], trial_settings(study, decisive), strict=True)
        if settings.train.decay_all and settings.train.weight_decay and settings.model.norm.kind != "none"
    }
    for arm in study.arms:
        if arm in shrinking:
            yield f"weight decay: in {arm} it shrinks the norm's γ and β too (train.decay_all: true)"


def _edges(study: Study, comparison: Comparison) -> Iterator[str]:
    best = [("best", row.arm, key, row.point[key]) for row in comparison.best for key in row.edges]
    for kind, arm, key, value in (*best, *(("tuned", *each) for each in study.at_edges)):
        yield f"at the edge: the {kind} {key} of {arm} is {value:.4g}, an end of the grid; better may lie beyond"
