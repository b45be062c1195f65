"""The fairness check: where the tables of a comparison could mislead, and why."""

from collections.abc import Iterator, Sequence
from itertools import chain

import pandas as pd

from bnexp.analysis.comparison import Comparison, EvaluationRow
from bnexp.analysis.halving import STOPPED
from bnexp.analysis.pairing import FINISHED, grid_points, point_numbers, trainings
from bnexp.analysis.sequential import out_of_reach
from bnexp.analysis.standing import FEWEST_SEEDS
from bnexp.analysis.study import Study, test_images_drawn, trial_settings
from bnexp.config.keys import below
from bnexp.config.model import ModelSettings
from bnexp.config.norm import KERAS, momentum_question
from bnexp.config.text import counted, have, listed
from bnexp.config.train import DEFAULT_EPOCHS, TrainSettings
from bnexp.store.files import READ_ONLY


def avoidable(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """Return the warnings that a better experiment would avoid, not those of tuning, looks and patience."""
    always = [*_tuned(study), *_looked(comparison), *_stopped(study, comparison)]
    return tuple(line for line in comparison.warnings if line not in always)


def fairness(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """Return a line for everything that could mislead."""
    found = (
        _few(comparison),
        _halved(study) or chain(imbalance(comparison), _unpaired(study, comparison)),
        _unfinished(study, comparison),
        _failed(study, comparison),
        _earlier(study),
        _budgets(study, comparison),
        _stopped(study, comparison),
        _biases(study),
        _initial_weights(study, comparison),
        _two_changes(study, comparison),
        _decayed(study),
        _edges(study, comparison),
        _tuned(study),
        _overlapping(study, comparison),
        _looked(comparison),
        out_of_reach(comparison),
        running_averages(study, study.arms, comparison.evaluations),
    )
    return tuple(chain(*found))


def _tuned(study: Study) -> list[str]:
    return [f"tuned: {line}" for line in study.tuning]


def _overlapping(study: Study, comparison: Comparison) -> Iterator[str]:
    """Yield a line if images that test one seed have chosen as validation images of another."""
    drawn = test_images_drawn(study.configs.values())
    if drawn is not False and (comparison.tuned or comparison.tunings or comparison.best):
        own = "" if drawn else "; not so if the data have test images of their own"
        yield (
            "data.split: per_seed: images that test one seed are validation images of others, so they also choose. "
            f"The accuracy of what was chosen may be a little too high, in every arm{own}"
        )


def _looked(comparison: Comparison) -> Iterator[str]:
    looks = max((row.looks for row in comparison.sequence), default=0)
    if looks > 1:
        yield (
            f"seeds were added in {looks} looks: only the intervals under 'Seeds until decided' allow for that, "
            "those of the other tables are too narrow"
        )


def _few(comparison: Comparison) -> Iterator[str]:
    pairs = [row.pairs for row in comparison.rows if row.arm != row.baseline and comparison.finished]
    if pairs and min(pairs) < FEWEST_SEEDS:
        least, most = min(pairs), max(pairs)
        count = counted(least, "pair") if least == most else f"{least} to {most} pairs"
        more = "tune.studies" if comparison.tunings else "seeds"
        remedy = f"p can't fall below 0.05 with fewer than {FEWEST_SEEDS} ({more}: {FEWEST_SEEDS})"
        yield f"few {comparison.unit}s: {count} per row; {remedy}"


def _halved(study: Study) -> list[str]:
    """Return a line if this is a search that stopped trials early: then it is intended that they lack records."""
    stopped = _trained(study, study.trials["outcome"] == STOPPED)
    if stopped.empty:
        return []
    counts = listed(f"{stopped[arm]} of {study.label(arm)}" for arm in study.arms if arm in stopped)
    return [
        f"search: tune.halve stopped trials early, {counts}; they are in no mean, so arms have few pairs, at "
        "different grid points. This run is the tuning; compare the run that measures what it chose"
    ]


MOST_NAMED = 3
"""Grid points that are named one by one."""


def imbalance(comparison: Comparison) -> Iterator[str]:
    """Yield a line for all that is left out so that means and choices are over the same seeds and points."""
    if sets := comparison.data_sets:
        yield (
            f"data sets: there are {len(sets)} ({listed(sets)}), so nothing is averaged over all grid points, and "
            "there is no best or usable range; choose one with --filter"
        )
    alone = all(row.arm == comparison.baseline for row in comparison.rows)
    what = "trials" if alone else "pairs"
    for mean in comparison.overall if alone else [row for row in comparison.overall if row.arm != comparison.baseline]:
        arm = comparison.label(mean.arm)
        if mean.points < comparison.points:
            taken = f"{mean.points} of {comparison.points} grid points"
            yield f"unbalanced: means of {arm} are over {taken}; at the others too few seeds have {what}"
        if mean.seeds_left_out:
            total = mean.seeds + mean.seeds_left_out
            where = f"each of the {mean.points} grid points" if mean.points > 1 else "the grid point"
            yield (
                f"unbalanced: {mean.seeds} of {total} seeds {have(mean.seeds)} {what} of {arm} at {where}; "
                "means over grid points leave the others out"
            )
    if single := [comparison.label(row.arm) for row in comparison.best if row.seeds == 1 and row.candidates > 1]:
        yield f"candidates: the best of {listed(single)} is chosen by a single seed, and so largely by chance"
    for row in comparison.best:
        arm = comparison.label(row.arm)
        if row.seeds_left_out:
            seeds = f"{row.seeds} of {row.seeds + row.seeds_left_out} seeds"
            each = f"each of the {row.candidates} candidates" if row.candidates > 1 else "the only candidate"
            yield f"candidates: the best of {arm} is chosen over {seeds}, those that finished {each}"
        if row.excluded:
            more = len(row.excluded) - MOST_NAMED
            points = "; ".join((*row.excluded[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])))
            where = f"{points}, where too few of the other points' seeds have finished"
            yield f"candidates: the best of {arm} is not looked for at {where}"


def _unpaired(study: Study, comparison: Comparison) -> Iterator[str]:
    # By trials: a row over several grid points has pairs of seeds.
    trials = study.trials.assign(point=point_numbers(study.trials, study.grid_keys), training=trainings(study.trials))
    finished = trials[trials["outcome"].isin(FINISHED)]
    places, theirs = pd.MultiIndex.from_frame(finished[["point", "seed"]]), finished["arm"] == comparison.baseline
    met = theirs | places.isin(places[theirs])
    # A trial that stands at several grid points has a partner if it has one at any of them.
    if alone := int((~met.groupby(finished["training"]).any()).sum()):
        baseline = comparison.label(comparison.baseline)
        yield (
            f"unpaired: {counted(alone, 'trial')} {have(alone)} no finished partner in {baseline}; "
            "differences leave them out"
        )


def _unfinished(study: Study, comparison: Comparison) -> Iterator[str]:
    if open_ := comparison.planned - comparison.finished:
        unfinished = study.trials.loc[study.trials["outcome"].isna(), "trial"]
        last = study.curves.groupby("trial")["epoch"].max().reindex(unfinished).fillna(0).astype(int)
        first, furthest = last.min(), last.max()
        epochs = f"epoch {first}" if first == furthest else f"epochs {first} to {furthest}"
        yield f"unfinished: {open_} of {comparison.planned} trials {have(open_)} not ended; so far at {epochs}"


def _failed(study: Study, comparison: Comparison) -> Iterator[str]:
    failed = _trained(study, study.trials["outcome"] == "failed")
    if len(failed):
        counts = ", ".join(f"{failed[arm]} of {study.label(arm)}" for arm in study.arms if arm in failed)
        why = f"; the first: {comparison.failure}" if comparison.failure else ""
        yield f"failed trials: {counts}; they are in no mean{why}"


def _trained(study: Study, among: "pd.Series[bool] | slice" = slice(None)) -> "pd.Series[int]":
    """Return how many trials each arm has, all or only those marked; one at several grid points counts once."""
    trials = study.trials.assign(training=trainings(study.trials))
    return trials[among].drop_duplicates("training")["arm"].value_counts()


def _earlier(study: Study) -> Iterator[str]:
    diverged = set(study.trials.loc[study.trials["outcome"] == "diverged", "run"])
    runs = [name for name, about in study.environments.items() if name in diverged and about.get("format") == READ_ONLY]
    if runs:
        yield (
            f"earlier bnexp: in {listed(runs)} a single batch loss above the limit counted as diverged, "
            "even if the trial learned on"
        )
    if study.chosen_by:
        yield f"chosen by results: the filter looks at {', '.join(study.chosen_by)}; what it keeps is not a fair sample"


def _budgets(study: Study, comparison: Comparison) -> Iterator[str]:
    base, baseline = study.settings[comparison.baseline].train, study.label(comparison.baseline)
    for arm in study.arms:
        mine, theirs = map(_budget, (study.settings[arm].train, base))
        for key, value in mine.items():
            if value != theirs[key]:
                yield f"unequal budgets: train.{key} is {value} in {study.label(arm)} and {theirs[key]} in {baseline}"
    counts = _trained(study)
    for arm in study.arms:
        if counts[arm] != counts[comparison.baseline]:
            trials = counted(counts[arm], "trial")
            yield f"unequal budgets: {study.label(arm)} has {trials} and {baseline} {counts[comparison.baseline]}"


def _stopped(study: Study, comparison: Comparison) -> Iterator[str]:
    """Yield a line if early stopping would have ended the arms at different times."""
    steps = study.trials.groupby("arm")["early_stop_step"].mean().dropna().round().astype(int)
    if steps.nunique() > 1:
        means = listed(f"{study.label(arm)} at update {steps[arm]:,}" for arm in study.arms if arm in steps)
        unequal = "early_stop" in comparison.metric
        budgets = f"{comparison.metric} compares unequal budgets" if unequal else "the tables compare equal budgets"
        yield f"early stops: train.patience would have ended {means} (means); {budgets}"


def _budget(train: TrainSettings) -> dict[str, object]:
    epochs = "null" if train.steps else train.epochs or DEFAULT_EPOCHS
    return {"epochs": epochs, "steps": train.steps or "null", "batch_size": train.batch_size}


def _biases(study: Study) -> Iterator[str]:
    models = {study.label(arm): study.settings[arm].model for arm in study.arms}
    # Subtracting a mean right after a layer removes the layer's bias.
    before = [arm for arm, model in models.items() if model.norm.spec.cancels_bias and model.norm.placement == "before"]
    kept = [arm for arm in before if models[arm].bias is True]
    if kept and len(kept) < len(before):
        bare = [arm for arm in before if arm not in kept]
        yield (
            f"bias: {listed(kept)} {'keeps' if len(kept) == 1 else 'keep'} the biases that BN subtracts again "
            f"(model.bias: true), {listed(bare)} {'does' if len(bare) == 1 else 'do'} not"
        )


# Whether the initial weights suit the activation where no norm layer makes up for them.
#
# He et al. 2015, arXiv:1502.01852: half of what enters a ReLU is lost, and weights of variance 2/in make up for it;
# with Glorot & Bengio's 2/(in + out) or LeCun's 1/in a signal loses a factor √2 in every layer. What passes on the
# whole signal (identity, and selu with the constants of Klambauer et al. 2017) asks for 1/in, and with 2/in the signal
# grows by √2. Norm layers take any such factor out again.

UNSUITED: dict[str, dict[str, str]] = {
    **{name: {"xavier": "he", "lecun": "he"} for name in ("relu", "leaky_relu", "elu", "gelu", "silu")},
    **{name: {"he": "lecun"} for name in ("identity", "selu")},
}
"""By activation: the schemes that don't suit it, and what does instead.

A tanh works with all of them, a deep sigmoid with none. Orthogonal weights suit every activation, and the user decides
about the scale of normal ones.
"""
SHALLOW = 2
"""Hidden layers in which a factor of √2 does little."""
DECISIVE = tuple(
    f"model.{name}" for name in ("family", "depth", "width", "activation", "residual", "weights", "init", "norm")
)
"""Settings that decide whether the signal is held back."""


def _initial_weights(study: Study, comparison: Comparison) -> Iterator[str]:
    """Yield a warning for each arm without norm that is held back by its initial weights and compared to one with norm.

    Either of the two may be the baseline.
    """
    if not study.configs:
        return
    models = [settings.model for settings in trial_settings(study, DECISIVE)]
    asked = {  # sweeping or tuning the initial weights is a question about them
        run: any(below(key, "model.init") for key in (*config.swept, *config.tune.options))
        for run, config in study.configs.items()
    }
    trials = study.trials.assign(
        place=point_numbers(study.trials, study.grid_keys),
        scheme=[model.init.scheme for model in models],
        activation=[model.activation for model in models],
        norm=[model.norm.kind != "none" for model in models],
        harm=[not asked[run] and _held_back(model) for run, model in zip(study.trials["run"], models, strict=True)],
    ).drop_duplicates(["arm", "place", "scheme", "activation", "norm", "harm"])
    base, others = comparison.baseline, [arm for arm in study.arms if arm != comparison.baseline]
    held_back: dict[tuple[str, str], tuple[dict[str, None], list[str]]] = {}
    for plain, normed in [pair for arm in others for pair in ((base, arm), (arm, base))]:
        places = trials.loc[trials["norm"] & (trials["arm"] == normed), "place"]
        met = trials[trials["harm"] & (trials["arm"] == plain) & trials["place"].isin(places)]
        for scheme, here in met.groupby("scheme", sort=False):
            activations, arms = held_back.setdefault((plain, str(scheme)), ({}, []))
            activations.update(dict.fromkeys(here["activation"]))
            arms.append(study.label(normed))
    for (plain, scheme), (activations, arms) in held_back.items():
        size, happens = ("large", "grows") if scheme == "he" else ("small", "shrinks")
        suited = UNSUITED[next(iter(activations))][scheme]
        yield (
            f"initial weights: {scheme} is too {size} for {listed(activations)}: without norm the signal {happens} in "
            f"every layer, which holds back {study.label(plain)} but not {listed(arms)} (model.init: {suited})"
        )


def _held_back(model: ModelSettings) -> bool:
    """Tell if a network loses its signal: without norm and skip connections, the factors of all layers multiply."""
    plain = model.norm.kind == "none" and model.weights == "plain" and not model.spec.recurrent and not model.blocks
    unsuited = model.init.scale == 1 and model.init.scheme in UNSUITED.get(model.activation, {})
    return plain and unsuited and model.layers > SHALLOW


def _two_changes(study: Study, comparison: Comparison) -> Iterator[str]:
    base, baseline = study.settings[comparison.baseline], study.label(comparison.baseline)
    for arm in study.arms:
        mine = study.settings[arm]
        if mine.train.lr != base.train.lr and mine.model.init != base.model.init:
            pair = f"{study.label(arm)} differs from {baseline}"
            yield f"two changes: {pair} in both its learning rate and its initial weights"


def _decayed(study: Study) -> Iterator[str]:
    if len(study.arms) < 2 or not study.configs:
        return
    every = trial_settings(study, ["model.norm", "train.weight_decay", "train.decay_all"])
    shrinking = {
        arm
        for arm, settings in zip(study.trials["arm"], every, strict=True)
        if settings.train.decay_all and settings.train.weight_decay and settings.model.norm.kind != "none"
    }
    for arm in study.arms:
        if arm in shrinking:
            yield f"weight decay: in {study.label(arm)} it shrinks the norm's γ and β too (train.decay_all: true)"


def _edges(study: Study, comparison: Comparison) -> Iterator[str]:
    best = [("best", row.arm, key, row.point[key]) for row in comparison.best for key in row.edges]
    for kind, arm, key, value in (*best, *(("tuned", *each) for each in study.at_edges)):
        where = f"the {kind} {key} of {study.label(arm)}"
        yield f"at the edge: {where} is {value:.4g}, the smallest or largest tried; better may lie beyond"


LAG = 0.05
"""If a larger share of their start is left in running averages, there is a warning."""
GAP = 0.01
"""If running averages and population statistics differ more in accuracy, there is a warning."""


def running_averages(study: Study, arms: Sequence[str], evaluated: Sequence[EvaluationRow] = ()) -> Iterator[str]:
    """Yield a line for each of the arms whose running averages lag, or mislead, and one for each momentum to ask about.

    `evaluated` is what the probe mode_gap found.
    """
    if not study.configs:
        return
    averaged = _averaged(study)
    averaged = averaged[averaged["arm"].isin(list(arms))]
    for arm, mine in ((arm, averaged[averaged["arm"] == arm]) for arm in arms):
        said = [*_lag(mine, study), *_gap([row for row in evaluated if row.arm == arm])]
        if said and not mine.empty:
            if_any = ", if it has any" if study.settings[arm].model.norm.kind == "as_written" else ""  # its code knows
            remedy = "remedy: norm.statistics: population"
            yield f"running averages of {study.label(arm)}{if_any}: {'; '.join(said)}; {remedy}"
    for momentum in sorted(averaged["momentum"].unique()):
        if momentum >= KERAS:
            yield f"momentum: {momentum_question(momentum)}"


def _averaged(study: Study) -> pd.DataFrame:
    """Return a row for every trial that is evaluated with running averages and completed, so made all its updates.

    `left` is the share of their start that is still in them: (1 - momentum) ^ (updates · parts of a batch that are
    normalised apart). Frozen ones mislead nobody: the network was trained with them.
    """
    every = list(trial_settings(study, ["model.norm", "train.batch_size", "train.accumulate"]))
    norms = (settings.model.norm for settings in every)
    parts = pd.Series([settings.train.batch_size // settings.norm_batch for settings in every], study.trials.index)
    frame = study.trials[["arm", "outcome"]].assign(
        place=point_numbers(study.trials, study.grid_keys),
        updates=study.trials["trial"].map(study.curves.groupby("trial")["step"].max()),
        momentum=[norm.momentum or 0.1 if norm.averages and not norm.frozen_from else float("nan") for norm in norms],
    )
    frame = frame[frame["momentum"].notna() & frame["updates"].gt(0) & frame["outcome"].eq("completed")]
    return frame.assign(left=(1 - frame["momentum"]) ** (frame["updates"] * parts[frame.index]))


def _lag(mine: pd.DataFrame, study: Study) -> Iterator[str]:
    """Say how much is left at the worst grid point, and where that is if it isn't the same everywhere."""
    late = mine[mine["left"] > LAG]
    if late.empty:
        return
    worst = late.iloc[int(late["left"].argmax())]
    share = "nearly all" if worst["left"] > 0.99 else f"{100 * worst['left']:.0f} %"
    details = f"norm.momentum {worst['momentum']:g}"
    if mine["left"].nunique() > 1:
        point = grid_points(study.trials, study.grid_keys)[int(worst["place"])]
        where = ", ".join(f"{key} {value}" for key, value in point.items() if value is not None)
        points = late["place"].nunique()
        details += f"; the worst of {points} such grid points: {where}" if points > 1 else f"; only at {where}"
    updates = counted(int(worst["updates"]), "update")
    yield f"after {updates}, {share} of their initial value is still in them ({details})"


def _gap(rows: Sequence[EvaluationRow]) -> Iterator[str]:
    """Say by how much population statistics change the accuracy, where that is the most."""
    changes = {
        abs(row.population - row.running): row
        for row in reversed(rows)  # of equal ones the first stays
        if row.running is not None and row.population is not None
    }
    if changes and max(changes) > GAP:
        row = changes[max(changes)]
        where = "".join(f", {key} {value}" for key, value in row.point.items())
        scores = f"{row.running:.3f} with them, {row.population:.3f} with population statistics"
        yield f"the same weights score {scores}{where}"
