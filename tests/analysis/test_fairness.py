"""Every warning comes when it should, word for word, and a fair study of six seeds gives none."""

from dataclasses import replace
from typing import Any

import pytest

from bnexp.analysis.runs import compare_study, study_of
from bnexp.analysis.standing import headline

SIX = {"seeds": 6}
FEW = "few seeds: {} per row; p can't fall below 0.05 with fewer than 6 (seeds: 6)"
Case = tuple[dict[str, Any] | list[dict[str, Any]], dict[str, Any], tuple[str, ...]]
"""An experiment of six seeds or several that are joined, options of the comparison, and its warnings."""


def warnings(*runs, condition=None, **options) -> tuple[str, ...]:
    return compare_study(study_of(runs, condition=condition), **options).warnings


TWO_RATES = {"grid": {"train.lr": [0.1, 0.5]}}
# Trials: at each rate six without BN and six with; one with BN failed at the first rate, two at the second.
THREE_FAILED = TWO_RATES | {"outcomes": {8: "failed", 18: "failed", 19: "failed"}}
LEFT_OUT = (
    "unbalanced: 3 of 6 seeds have pairs of before at each of the 2 grid points; means over grid points leave the "
    "others out",
    "candidates: the best of before is chosen over 3 of 6 seeds, those that finished each of the 2 candidates",
    "failed trials: 3 of before; they are in no mean",
)
WITHOUT = {"seeds": 8, "outcomes": {0: "failed", 1: "failed"}}
NO_MEAN = "failed trials: 2 of none; they are in no mean"
KEPT = {"model.norm.placement": "before", "model.bias": True}
BOTH = {"arms": {"none": None, "tuned": {"train.lr": 1.0, "model.init": "he"}}}
CHANGES = "two changes: {} in both its learning rate and its initial weights"
DECAY, DECAY_ALL = {"weight_decay": 0.01}, {"decay_all": True}
DECAYED = "weight decay: in before it shrinks the norm's γ and β too (train.decay_all: true)"
BEST = {"none": 0.1, "before": 1e6}
STOPPED = {"train": {"patience": 1}, "accuracy": lambda trial: 0.1 if trial.arm == "none" else 0.5}
STOPS = "early stops: train.patience would have ended none at update 20 and before at update 40 (means); "
SLOW = {"model": {"norm": {"momentum": 0.01}}}
LAG = "running averages of {}: after 40 updates, {}; remedy: norm.statistics: population"
LEFT = "{} % of their initial value is still in them (norm.momentum {})"


def long(base: dict[str, Any], overrides: dict[str, Any], *lines: str) -> Case:
    return {"train": base, "arms": {"none": None, "long": overrides}}, {}, tuple(f"unequal budgets: {x}" for x in lines)


CASES: dict[str, Case] = {
    "a fair study": ({}, {}, ()),
    "a fair study of three arms": (TWO_RATES | {"arms": ["none", "before", "after"]}, {}, ()),
    "a seed": ({"seeds": 1}, {}, (FEW.format("1 pair"),)),
    "few seeds": ({"seeds": 5}, {}, (FEW.format("5 pairs"),)),
    "few seeds in some rows": (THREE_FAILED, {}, (FEW.format("4 to 5 pairs"), *LEFT_OUT)),
    "few seeds that have both rates": (THREE_FAILED, {"by": []}, (FEW.format("3 pairs"), *LEFT_OUT)),
    "no partner": (
        WITHOUT,
        {},
        ("unpaired: 2 trials have no finished partner in none; differences leave them out", NO_MEAN),
    ),
    "the baseline's are left out": (WITHOUT, {"baseline": "before"}, (NO_MEAN,)),
    "batch sizes": long({"batch_size": 32}, {"train.batch_size": 64}, "train.batch_size is 64 in long and 32 in none"),
    "steps for epochs": long(
        {"epochs": 5},
        {"train.epochs": None, "train.steps": 60},
        "train.epochs is null in long and 5 in none",
        "train.steps is 60 in long and null in none",
    ),
    "epochs": long({}, {"train.epochs": 7}, "train.epochs is 7 in long and 10 in none"),
    "the default, written out": long({}, {"train.epochs": 10}),
    "numbers of trials": (
        TWO_RATES,
        {"condition": "arm==before or lr==0.1"},
        (
            FEW.format("0 to 6 pairs"),
            "unbalanced: means of before are over 1 of 2 grid points; at the others too few seeds have pairs",
            "unpaired: 6 trials have no finished partner in none; differences leave them out",
            "unequal budgets: before has 12 trials and none 6",
        ),
    ),
    "early stops": (STOPPED, {}, (STOPS + "the tables compare equal budgets",)),
    "early stops compared": (
        STOPPED,
        {"metric": "test_accuracy_at_early_stop"},
        (STOPS + "test_accuracy_at_early_stop compares unequal budgets",),
    ),
    "early stops at one time": ({"train": {"patience": 1}}, {}, ()),
    "biases in some arms": (
        {"arms": {"none": None, "before": None, "kept": KEPT, "more": KEPT}},
        {},
        ("bias: kept and more keep the biases that BN subtracts again (model.bias: true), before does not",),
    ),
    "biases in all arms": ({"arms": {"none": None, "kept": KEPT}}, {}, ()),
    "biases that nothing cancels": (
        {"arms": {"none": None, "before": None, "late": KEPT | {"model.norm.placement": "after"}}},
        {},
        (),
    ),
    "two changes": (BOTH, {}, (CHANGES.format("tuned differs from none"),)),
    "two changes of the other": (BOTH, {"baseline": "tuned"}, (CHANGES.format("none differs from tuned"),)),
    "decay": ({"train": DECAY | DECAY_ALL}, {}, (DECAYED,)),
    "decay, swept": ({"train": DECAY_ALL, "grid": {"train.weight_decay": [0.0, 0.01]}}, {}, (DECAYED,)),
    "decay of weights": ({"train": DECAY}, {}, ()),
    "no decay": ({"train": DECAY_ALL}, {}, ()),
    "decay without norm": (
        {"train": DECAY | DECAY_ALL, "arms": {"none": None, "low": {"train.lr": 0.01, "model.norm.kind": "none"}}},
        {},
        (),
    ),
    "the edge": (
        {
            "grid": {"train.lr": [0.01, 0.1, 1e6]},
            "accuracy": lambda trial: 0.9 if trial.point["train.lr"] == BEST[trial.arm] else 0.5,
        },
        {},
        ("at the edge: the best train.lr of before is 1e+06, the smallest or largest tried; better may lie beyond",),
    ),
    "a filter that looks at results": (
        {},
        {"condition": "final_test_accuracy>0 and outcome!=failed"},
        ("chosen by results: the filter looks at outcome, final_test_accuracy; what it keeps is not a fair sample",),
    ),
    "a filter that doesn't": ({}, {"condition": "seed<6"}, ()),
    # Running averages that lag. Made-up runs make 40 updates: at the default momentum 1.5 % of the start is left.
    "much of the start": (SLOW, {}, (LAG.format("before", LEFT.format(67, "0.01")),)),  # 0.99 ** 40 = 0.669
    "the start in another kind": (
        SLOW | {"arms": {"none": None, "tried": {"model.norm.kind": "whiten"}}},
        {},
        (LAG.format("tried", LEFT.format(67, "0.01")),),
    ),
    "population statistics": (SLOW | {"arms": {"none": None, "a": {"model.norm.statistics": "population"}}}, {}, ()),
    "layer norm": (SLOW | {"arms": {"none": None, "a": {"model.norm.kind": "layer"}}}, {}, ()),
    "trials that did not complete": (SLOW | {"outcomes": dict.fromkeys(range(6, 12), "diverged")}, {}, ()),
    "the momentum of Keras": (
        {"model": {"norm": {"momentum": 0.99}}},
        {},
        ("momentum: norm.momentum 0.99 gives the newest batch a weight of 0.99; Keras' 0.99 is written 0.01 here",),
    ),
    "no average": (
        {"model": {"norm": {"momentum": 1}}},
        {},
        ("momentum: norm.momentum 1 gives the newest batch a weight of 1",),
    ),
}


@pytest.mark.parametrize(("raw", "options", "lines"), CASES.values(), ids=CASES)
def test_every_warning(make_folder, raw: dict[str, Any], options: dict[str, Any], lines: tuple[str, ...]) -> None:
    assert warnings(make_folder(**SIX | raw), **options) == lines


def test_unfinished_trials_say_how_far_they_are(make_folder) -> None:
    study = study_of([make_folder(seeds=7, outcomes={7: None, 8: None, 9: None})])
    assert compare_study(study).warnings[-1] == "unfinished: 3 of 14 trials have not ended; so far at epoch 2"
    trial, epoch = study.curves["trial"], study.curves["epoch"]
    behind = replace(study, curves=study.curves[(trial != 7) & ((trial != 8) | (epoch < 2))])
    (line,) = (line for line in compare_study(behind).warnings if line.startswith("unfinished"))
    assert line == "unfinished: 3 of 14 trials have not ended; so far at epochs 0 to 2"
    begun = make_folder(name="begun", seeds=2, outcomes=dict.fromkeys(range(4)))
    assert warnings(begun) == ("unfinished: 4 of 4 trials have not ended; so far at epoch 2",)


def test_a_search_that_stopped_trials_early_says_so_in_place_of_what_its_tables_lack(make_folder) -> None:
    stopped = dict.fromkeys(range(7, 14), "stopped")
    line = (
        "search: tune.halve stopped trials early, 7 of before; they are in no mean, so arms have few pairs, at "
        "different grid points. This run is the tuning; compare the run that measures what it chose"
    )
    assert line in (said := warnings(make_folder(seeds=7, outcomes=stopped)))
    assert not any(each.startswith(("unpaired", "unbalanced", "candidates")) for each in said)


def test_weight_decay_on_the_norm_in_one_of_two_runs(make_folder) -> None:
    decay = {"weight_decay": 0.01}
    runs = [make_folder(name=f"d{every}", **SIX, train=decay | {"decay_all": every}) for every in (False, True)]
    assert DECAYED in warnings(*runs)


CLOSE = {"tried": 5, "ties": 2, "lead": 0.004}


@pytest.mark.parametrize(
    ("close", "told"),
    [
        ((CLOSE, CLOSE | {"ties": 1, "lead": 0.1}), "none: 2 of 5 values tie for the best, the next is 0.004 behind; "
         "before: no tie among 5 values, the next is 0.100 behind"),
        (({}, {}), "how close the choice was is not recorded"),
        (({}, {"tried": 2, "lead": 0.05}), "before: the next is 0.050 behind"),
    ],
)  # fmt: skip
def test_tuned_arms_say_how_sure_their_choices_are(make_folder, close: tuple[dict, dict], told: str) -> None:
    arms = zip(("none", "before"), close, strict=True)
    tuned = [{"arm": arm, "values": {"train.lr": 0.3}, **how} for arm, how in arms]
    run = make_folder(**SIX, tune={"grid": {"train.lr": [0.1, 0.3, 1.0]}, "seeds": 2}, tuned=tuned)
    comparison = compare_study(study_of([run]))
    noise = (
        "each arm chose its train.lr once, with 2 tuning seeds, and the luck of that choice is not in the interval, so "
        "that even equal arms can seem to differ (in 25 of 100 studies of digits); tune.studies: 6 puts it in"
    )
    assert comparison.warnings == (f"tuned: {noise} ({told})",)
    assert headline(comparison).endswith(" (tuned; the choice's noise is not in the interval)")


def test_over_grid_points_the_range_of_the_choices_is_told(make_folder) -> None:
    how = {"arm": "none", "values": {"train.lr": 0.3}, "tried": 3, "lead": 0.1}
    tuned = [how | {"point": {"model.depth": depth}, "ties": depth} for depth in (1, 2)]
    tune = {"grid": {"train.lr": [0.1, 0.3, 1.0]}, "seeds": 2}
    run = make_folder(**SIX, arms=["none"], grid={"model.depth": [1, 2]}, tune=tune, tuned=tuned)
    assert "(none: 1 to 2 of 3 values tie for the best, the next is 0.100 behind)" in warnings(run)[-1]


# Initial weights


def network(**model) -> dict:
    return {**SIX, "model": {"depth": 3, "activation": "relu"} | model}


RELU = (
    "initial weights: {} is too small for {}: without norm the signal shrinks in every layer, which holds back none "
    "but not before (model.init: he)"
)


@pytest.mark.parametrize(("activation", "scheme"), [("relu", "xavier"), ("silu", "lecun")])
def test_initial_weights_too_small_for_the_activation(make_folder, activation: str, scheme: str) -> None:
    assert warnings(make_folder(**network(activation=activation, init=scheme))) == (RELU.format(scheme, activation),)
    for suited in ("he", "orthogonal"):
        assert warnings(make_folder(**network(activation=activation, init=suited))) == ()


def test_initial_weights_too_large_for_the_activation(make_folder) -> None:
    assert warnings(make_folder(**network(activation="selu", init="he"))) == (
        "initial weights: he is too large for selu: without norm the signal grows in every layer, which holds back "
        "none but not before (model.init: lecun)",
    )
    assert warnings(make_folder(**network(activation="selu", init="xavier"))) == ()


@pytest.mark.parametrize(
    "unharmed",
    [
        network(activation="sigmoid"),
        network(init="normal"),
        network(init={"scheme": "xavier", "scale": 1.41}),
        network() | {"grid": {"model.init.scale": [0.5, 1, 2]}},
        network() | {"grid": {"model.init": ["xavier", "he"]}},
        network(depth=2),
        network(residual=True),
        network(family="resnet", depth=8),
        network(family="rnn"),
        network() | {"arms": ["before", "after"]},
        network() | {"arms": {"none": None, "decayed": {"model.norm.kind": "none", "train.weight_decay": 0.1}}},
    ],
)
def test_initial_weights_that_do_no_harm_or_are_asked_about(make_folder, unharmed: dict) -> None:
    assert [line for line in warnings(make_folder(**unharmed)) if line.startswith("initial weights")] == []


def test_initial_weights_are_spoken_of_once_for_all_arms_and_points(make_folder) -> None:
    grid = {"model.activation": ["sigmoid", "relu", "elu"], "model.depth": [1, 5]}
    run = make_folder(**network(depth=1), arms=["none", "before", "after"], grid=grid)
    assert warnings(run) == (
        "initial weights: xavier is too small for relu and elu: without norm the signal shrinks in every layer, which "
        "holds back none but not before and after (model.init: he)",
    )


def test_initial_weights_hold_back_whichever_side_of_the_comparison_lacks_norm(make_folder) -> None:
    arms = {"none": {"model.init": "he"}, "small": {"model.norm.kind": "none"}, "before": None}
    run = make_folder(**network(), arms=arms)
    assert warnings(run) == ()
    assert warnings(run, baseline="before") == (RELU.format("xavier", "relu").replace("back none", "back small"),)


def test_initial_weights_of_joined_runs_that_differ_in_them(make_folder) -> None:
    runs = [make_folder(name=scheme, **network(init=scheme)) for scheme in ("he", "xavier")]
    assert warnings(*runs) == (RELU.format("xavier", "relu"),)


def test_where_the_momentum_is_swept_the_worst_grid_point_is_named(make_folder) -> None:
    # 0.999 ** 40 = 0.961, 0.98 ** 40 = 0.446
    run = make_folder(**SIX, grid={"model.norm.momentum": [0.001, 0.02, 0.1]})
    where = "0.001; the worst of 2 such grid points: model.norm.momentum 0.001"
    assert warnings(run)[-1] == LAG.format("before", LEFT.format(96, where))
    one = make_folder(**SIX, grid={"model.norm.momentum": [0.02, 0.1]})
    assert "(norm.momentum 0.02; only at model.norm.momentum 0.02)" in warnings(one)[-1]


def test_running_averages_that_the_network_was_trained_with_do_not_lag(make_folder) -> None:
    slow = {"model.norm.momentum": 0.01}
    run = make_folder(**SIX, arms={"none": None, "slow": slow, "frozen": slow | {"model.norm.freeze_at": 20}})
    assert [line.split(":")[0] for line in warnings(run)] == ["running averages of slow"]


def test_arms_go_by_their_labels(make_folder) -> None:
    arms = {"none": None, "before": None, "slow": {"model.norm.placement": "before", "train.epochs": 20}}
    labels = {"none": "without BN", "before": "BN", "slow": "slow BN"}
    run = make_folder(**SIX, arms=arms, labels=labels, outcomes={0: "failed"}, model={"norm": {"momentum": 0.01}})
    said = " ".join(warnings(run))
    for text in ("no finished partner in without BN;", "failed trials: 1 of without BN;", "averages of slow BN:"):
        assert text in said
    assert "train.epochs is 20 in slow BN and 10 in without BN" in said
