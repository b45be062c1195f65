"""Every warning comes when it should, word for word, and a fair study of six seeds gives none."""

from dataclasses import replace

import pytest

from bnexp.analysis.comparison import headline
from bnexp.analysis.runs import compare_study, study_of

SIX = {"seeds": 6}
FEW = "few seeds: {} per row; p can't fall below 0.05 with fewer than 6 (seeds: 6)"


def warnings(*runs, condition=None, **options) -> tuple[str, ...]:
    return compare_study(study_of(runs, condition=condition), **options).warnings


def test_a_fair_study_of_six_seeds_gives_none(make_folder) -> None:
    assert warnings(make_folder(**SIX)) == ()
    assert warnings(make_folder(**SIX, arms=["none", "before", "after"], grid={"train.lr": [0.1, 0.5]})) == ()


@pytest.mark.parametrize(("seeds", "pairs"), [(1, "1 pair"), (5, "5 pairs")])
def test_few_seeds(make_folder, seeds: int, pairs: str) -> None:
    assert warnings(make_folder(seeds=seeds)) == (FEW.format(pairs),)


def test_few_seeds_in_some_of_the_rows(make_folder) -> None:
    # Trials: at each rate six without BN and six with; one with BN failed at the first rate, two at the second.
    run = make_folder(**SIX, grid={"train.lr": [0.1, 0.5]}, outcomes={8: "failed", 18: "failed", 19: "failed"})
    failed = "failed trials: 3 of before; they are in no mean"
    left_out = (
        "unbalanced: 3 of 6 seeds have pairs of before at each of the 2 grid points; means over grid points leave the "
        "others out",
        "candidates: the best of before is chosen over 3 of 6 seeds, those that finished each of the 2 candidates",
    )
    assert warnings(run) == (FEW.format("4 to 5 pairs"), *left_out, failed)
    assert warnings(run, by=[]) == (FEW.format("3 pairs"), *left_out, failed)  # of the seeds that have both rates


def test_trials_without_a_partner(make_folder) -> None:
    one = make_folder(seeds=7, outcomes={0: "failed"})
    failed = "failed trials: {} of none; they are in no mean"
    line = "unpaired: 1 trial has no finished partner in none; differences leave them out"
    assert warnings(one) == (line, failed.format(1))
    two = make_folder(seeds=8, outcomes={0: "failed", 1: "failed"})
    line = "unpaired: 2 trials have no finished partner in none; differences leave them out"
    assert warnings(two) == (line, failed.format(2))
    assert warnings(two, baseline="before") == (failed.format(2),)  # there, what is left out is the baseline's


def test_unfinished_trials(make_folder) -> None:
    one = make_folder(seeds=7, outcomes={13: None})
    assert warnings(one) == ("unfinished: 1 of 14 trials has not ended; so far at epoch 2",)
    two = make_folder(seeds=8, outcomes={7: None, 15: None})
    assert warnings(two) == ("unfinished: 2 of 16 trials have not ended; so far at epoch 2",)


def test_unfinished_trials_say_how_far_they_are(make_folder) -> None:
    study = study_of([make_folder(seeds=7, outcomes={7: None, 8: None, 9: None})])
    trial, epoch = study.curves["trial"], study.curves["epoch"]
    behind = replace(study, curves=study.curves[(trial != 7) & ((trial != 8) | (epoch < 2))])
    (line,) = (line for line in compare_study(behind).warnings if line.startswith("unfinished"))
    assert line == "unfinished: 3 of 14 trials have not ended; so far at epochs 0 to 2"


def test_before_anything_has_ended_that_is_all_there_is_to_say(make_folder) -> None:
    run = make_folder(seeds=2, outcomes=dict.fromkeys(range(4)), grid={})
    assert warnings(run) == ("unfinished: 4 of 4 trials have not ended; so far at epoch 2",)


@pytest.mark.parametrize(
    ("base", "overrides", "lines"),
    [
        ({"epochs": 5}, {"train.epochs": 7}, ["train.epochs is 7 in long and 5 in none"]),
        ({"batch_size": 32}, {"train.batch_size": 64}, ["train.batch_size is 64 in long and 32 in none"]),
        ({"steps": 50}, {"train.steps": 60}, ["train.steps is 60 in long and 50 in none"]),
        (
            {"epochs": 5},
            {"train.epochs": None, "train.steps": 60},
            ["train.epochs is null in long and 5 in none", "train.steps is 60 in long and null in none"],
        ),
        ({}, {"train.epochs": 7}, ["train.epochs is 7 in long and 10 in none"]),
        ({}, {"train.epochs": 10}, []),  # the default, written out
        ({}, {"train.epochs": None}, []),
    ],
)
def test_unequal_budgets(make_folder, base: dict, overrides: dict, lines: list[str]) -> None:
    run = make_folder(**SIX, train=base, arms={"none": None, "long": overrides})
    assert warnings(run) == tuple(f"unequal budgets: {line}" for line in lines)


def test_unequal_numbers_of_trials(make_folder) -> None:
    run = make_folder(**SIX, grid={"train.lr": [0.1, 0.5]})
    assert warnings(run, condition="arm==before or lr==0.1") == (
        FEW.format("0 to 6 pairs"),
        "unbalanced: means of before are over 1 of 2 grid points; at the others too few seeds have pairs",
        "unpaired: 6 trials have no finished partner in none; differences leave them out",
        "unequal budgets: before has 12 trials and none 6",
    )
    assert warnings(run, condition="arm==none or seed==0 and lr==0.1") == (
        FEW.format("1 pair"),
        "unbalanced: means of before are over 1 of 2 grid points; at the others too few seeds have pairs",
        "unequal budgets: before has 1 trial and none 12",
    )


def test_biases_in_some_of_the_arms_that_cancel_them(make_folder) -> None:
    kept = {"model.norm.placement": "before", "model.bias": True}
    both = {"none": None, "before": None, "kept": kept, "more": kept}
    line = "bias: kept and more keep the biases that BN subtracts again (model.bias: true), before does not"
    assert warnings(make_folder(**SIX, arms=both)) == (line,)
    one = {"none": None, "before": None, "bare": {"model.norm.placement": "before"}, "kept": kept}
    line = "bias: kept keeps the biases that BN subtracts again (model.bias: true), before and bare do not"
    assert warnings(make_folder(**SIX, arms=one)) == (line,)
    assert warnings(make_folder(**SIX, arms={"none": None, "kept": kept})) == ()  # all alike
    whiten = kept | {"model.norm.kind": "whiten"}
    line = "bias: kept keeps the biases that BN subtracts again (model.bias: true), before does not"
    assert warnings(make_folder(**SIX, arms={"none": None, "before": None, "kept": whiten})) == (line,)
    after = {"model.norm.placement": "after", "model.bias": True}
    assert warnings(make_folder(**SIX, arms={"none": None, "before": None, "late": after})) == ()  # nothing cancels


def test_two_changes_at_once(make_folder) -> None:
    both = {"train.lr": 1.0, "model.init": "he"}
    line = "two changes: tuned differs from none in both its learning rate and its initial weights"
    assert warnings(make_folder(**SIX, arms={"none": None, "tuned": both})) == (line,)
    assert warnings(make_folder(**SIX, arms={"none": None, "tuned": both}), baseline="tuned") == (
        "two changes: none differs from tuned in both its learning rate and its initial weights",
    )
    for key, value in both.items():
        assert warnings(make_folder(**SIX, arms={"none": None, "tuned": {key: value}})) == ()


def test_weight_decay_on_the_norms_own_parameters(make_folder) -> None:
    line = "weight decay: in before it shrinks the norm's γ and β too (train.decay_all: true)"
    assert warnings(make_folder(**SIX, train={"weight_decay": 0.01, "decay_all": True})) == (line,)
    swept = {"grid": {"train.weight_decay": [0.0, 0.01]}}
    assert warnings(make_folder(**SIX, train={"decay_all": True}, **swept)) == (line,)
    assert warnings(make_folder(**SIX, train={"weight_decay": 0.01})) == ()
    assert warnings(make_folder(**SIX, train={"decay_all": True})) == ()
    plain = make_folder(
        **SIX,
        train={"weight_decay": 0.01, "decay_all": True},
        arms={"none": None, "low": {"train.lr": 0.01, "model.norm.kind": "none"}},
    )
    assert warnings(plain) == ()


@pytest.mark.parametrize("order", [1, -1])
def test_weight_decay_on_the_norm_in_one_of_two_runs(make_folder, order: int) -> None:
    decay = {"weight_decay": 0.01}
    runs = [make_folder(name=f"d{every}", **SIX, train=decay | {"decay_all": every}) for every in (False, True)]
    line = "weight decay: in before it shrinks the norm's γ and β too (train.decay_all: true)"
    assert line in warnings(*runs[::order])


def test_the_best_at_the_end_of_the_grid(make_folder) -> None:
    best = {"none": 0.1, "before": 1e6}
    run = make_folder(
        **SIX,
        grid={"train.lr": [0.01, 0.1, 1e6]},
        accuracy=lambda trial: 0.9 if trial.point["train.lr"] == best[trial.arm] else 0.5,
    )
    assert warnings(run) == (
        "at the edge: the best train.lr of before is 1e+06, an end of the grid; better may lie beyond",
    )


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
    noise = "each arm chose its train.lr with 2 tuning seeds, and the noise of that choice is not in the interval"
    assert comparison.warnings == (f"tuned: {noise} ({told})",)
    assert headline(comparison).endswith(" (tuned; the choice's noise is not in the interval)")


def test_over_grid_points_the_range_of_the_choices_is_told(make_folder) -> None:
    tuned = [
        {
            "arm": arm,
            "point": {"model.depth": depth},
            "values": {"train.lr": 0.3},
            "tried": 3,
            "ties": depth,
            "lead": 0.1,
        }
        for arm in ("none", "before")
        for depth in (1, 2)
    ]
    tune = {"grid": {"train.lr": [0.1, 0.3, 1.0]}, "seeds": 2}
    (line,) = warnings(make_folder(**SIX, grid={"model.depth": [1, 2]}, tune=tune, tuned=tuned))
    assert "none: 1 to 2 of 3 values tie for the best, the next is 0.100 behind" in line


def test_two_runs_that_do_not_go_together(make_folder) -> None:
    runs = [
        make_folder(name="a", arms=["none"], **SIX, train={"lr": 0.1}),
        make_folder(name="b", arms=["before"], **SIX, train={"lr": 0.5}),
    ]
    assert warnings(*runs) == (
        FEW.format("0 pairs"),
        "unpaired: 6 trials have no finished partner in none; differences leave them out",
    )


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("outcome==completed", "outcome"),
        ("final_test_accuracy>0 and outcome!=failed", "outcome, final_test_accuracy"),
    ],
)
def test_a_filter_that_looks_at_results(make_folder, condition: str, columns: str) -> None:
    line = f"chosen by results: the filter looks at {columns}; what is left is no fair sample"
    assert warnings(make_folder(**SIX), condition=condition) == (line,)
    assert warnings(make_folder(**SIX), condition="seed<6") == ()


# Initial weights


def network(**model) -> dict:
    return {**SIX, "model": {"depth": 3, "activation": "relu"} | model}


RELU = (
    "initial weights: {} is too small for {}: without norm the signal shrinks in every layer, which holds back none "
    "but not before (model.init: he)"
)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "silu"])
@pytest.mark.parametrize("scheme", ["xavier", "lecun"])
def test_initial_weights_too_small_for_the_activation(make_folder, activation: str, scheme: str) -> None:
    assert warnings(make_folder(**network(activation=activation, init=scheme))) == (RELU.format(scheme, activation),)
    assert warnings(make_folder(**network(activation=activation, init="he"))) == ()
    assert warnings(make_folder(**network(activation=activation, init="orthogonal"))) == ()


@pytest.mark.parametrize("activation", ["identity", "selu"])
def test_initial_weights_too_large_for_the_activation(make_folder, activation: str) -> None:
    assert warnings(make_folder(**network(activation=activation, init="he"))) == (
        f"initial weights: he is too large for {activation}: without norm the signal grows in every layer, which holds "
        "back none but not before (model.init: lecun)",
    )
    for scheme in ("xavier", "lecun", "orthogonal"):
        assert warnings(make_folder(**network(activation=activation, init=scheme))) == ()


@pytest.mark.parametrize(
    "unharmed",
    [
        network(activation="sigmoid"),
        network(activation="tanh", init="he"),
        network(init="normal"),
        network(init={"scheme": "xavier", "scale": 1.41}),
        network() | {"grid": {"model.init.scale": [0.5, 1, 2]}},
        network() | {"grid": {"model.init.scheme": ["xavier", "he"]}},
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
    run = make_folder(**network(), arms=["none", "before", "after"])
    assert warnings(run, baseline="before") == (RELU.format("xavier", "relu"),)
    assert warnings(run, baseline="none") == (RELU.format("xavier", "relu").replace("before", "before and after"),)


def test_initial_weights_are_those_of_arms_that_are_compared(make_folder) -> None:
    arms = {"none": {"model.init": "he"}, "small": {"model.norm.kind": "none"}, "before": None}
    run = make_folder(**network(), arms=arms)
    assert warnings(run) == ()
    assert warnings(run, baseline="before") == (RELU.format("xavier", "relu").replace("back none", "back small"),)


@pytest.mark.parametrize("order", [1, -1])
def test_initial_weights_of_joined_runs_that_differ_in_them(make_folder, order: int) -> None:
    runs = [make_folder(name=scheme, **network(init=scheme)) for scheme in ("he", "xavier")]
    assert warnings(*runs[::order]) == (RELU.format("xavier", "relu"),)
