"""Runs become one study: trials meet by their settings, whichever run trained them, and nothing goes unsaid."""

import pandas as pd
import pytest

from bnexp.analysis.joining import arm_names, join
from bnexp.analysis.runs import compare_study, filtered, study_of
from bnexp.analysis.study import Study
from bnexp.errors import InputError
from bnexp.store.reader import RunRecord
from tests.helpers import experiment


def names(*runs: RunRecord) -> list[str]:
    return [run.path.name for run in runs]


def pairs(study: Study) -> list[tuple]:
    """Return the grid keys' values, the arm, its trials and its pairs of every row of the comparison."""
    return [(*row.point.values(), row.arm, row.n, row.pairs) for row in compare_study(study).rows]


def test_one_run_is_itself_with_its_name_and_numbers(make_folder) -> None:
    run = make_folder(name="a", question="Why?", grid={"train.lr": [0.1, 0.5]}, seeds=2)
    study = join([run])
    (name,) = names(run)
    assert (study.name, study.runs, study.question) == (name, (name,), "Why?")
    assert (study.grid_keys, study.arms) == (("train.lr",), ("none", "before"))
    assert (study.differs, study.left_out) == ((), ())
    pd.testing.assert_frame_equal(study.trials[run.trials.columns], run.trials, check_dtype=False)
    assert study.trials["run"].tolist() == [name] * 8
    assert study.trials["number"].tolist() == study.trials["trial"].tolist() == list(range(8))
    assert study.curves.equals(run.curves)
    assert [study.settings[arm].model.norm.kind for arm in study.arms] == ["none", "batch"]


def test_arms_of_two_runs_with_the_same_settings_pair(make_folder) -> None:
    runs = [
        make_folder(name="plain", question="Slow?", arms=["none"], seeds=3, accuracy=lambda trial: 0.5),
        make_folder(name="bn", question="Fast?", arms=["before"], seeds=3, accuracy=lambda trial: 0.6),
    ]
    study = join(runs)
    assert (study.grid_keys, study.arms, study.differs, study.left_out) == ((), ("none", "before"), (), ())
    assert (study.name, study.question) == (" + ".join(names(*runs)), "Slow? Fast?")
    comparison = compare_study(study)
    before = comparison.rows[1]
    assert (before.pairs, before.difference, before.better) == (3, pytest.approx(0.1), 3)
    assert (comparison.finished, comparison.planned) == (6, 6)


def test_trials_have_numbers_of_their_own_and_curves_follow_them(make_folder) -> None:
    runs = [
        make_folder(name="a", arms=["none"], seeds=3, accuracy=lambda trial: 0.2 + trial.seed / 100),
        make_folder(name="b", seeds=[1, 5], accuracy=lambda trial: 0.6 + trial.seed / 100),
    ]
    study = join(runs)
    trials = study.trials.set_index("trial")
    assert trials.index.is_unique
    # Seed 1 without BN stands in both.
    assert trials["number"].tolist() == [0, 1, 2, 1, 2, 3]
    assert trials["run"].tolist() == [names(*runs)[number] for number in (0, 0, 0, 1, 1, 1)]
    assert study.curves.groupby("trial").size().to_dict() == dict.fromkeys(trials.index, 3)
    last = study.curves[study.curves["epoch"] == 2].set_index("trial")["test_accuracy"]
    assert last.to_dict() == trials["final_test_accuracy"].to_dict()
    assert last.tolist() == pytest.approx([0.20, 0.21, 0.22, 0.65, 0.61, 0.65])


def test_swept_in_one_run_and_fixed_in_the_other(make_folder) -> None:
    swept = make_folder(name="a", arms=["none"], grid={"train.lr": [0.1, 0.5]})
    fixed = make_folder(name="b", arms=["before"], train={"lr": 0.5})
    study = join([swept, fixed])
    assert (study.grid_keys, study.trials["train.lr"].dtype) == (("train.lr",), float)
    assert pairs(study) == [(0.1, "none", 1, 0), (0.5, "none", 1, 0), (0.5, "before", 1, 1)]
    first, second = names(swept, fixed)
    assert study.differs == (f"train.lr: swept in {first}, 0.5 in {second}",)
    assert pairs(join([fixed, swept])) == [(0.1, "none", 1, 0), (0.5, "before", 1, 1), (0.5, "none", 1, 0)]


def test_settings_that_differ_become_grid_keys(make_folder) -> None:
    runs = [make_folder(name=name, model={"depth": depth}) for name, depth in (("a", 3), ("b", 4))]
    study = join(runs)
    assert study.grid_keys == ("model.depth",)
    assert pairs(study) == [(3, "none", 1, 0), (3, "before", 1, 1), (4, "none", 1, 0), (4, "before", 1, 1)]
    first, second = names(*runs)
    assert study.differs == (f"model.depth: 3 in {first}, 4 in {second}",)


def test_runs_that_differ_in_several_settings_at_once_have_no_axis(make_folder) -> None:
    settings = [(0.1, 3), (0.2, 4), (0.3, 4)]
    runs = [make_folder(arms=["none"], train={"lr": lr}, model={"depth": depth}) for lr, depth in settings]
    assert compare_study(join(runs[:2])).robustness == ()
    found = compare_study(join(runs)).robustness
    assert [(row.axis, row.arm, row.worst_at, row.best_at) for row in found] == [("train.lr", "none", 0.2, 0.3)]


def test_null_is_a_setting_like_any_other(make_folder) -> None:
    swept = make_folder(name="a", arms=["none"], seeds=2, grid={"train.clip.norm_global": [None, 1.0]})
    fixed = make_folder(name="b", seeds=2)
    study = join([swept, fixed])
    assert pairs(study) == [(None, "none", 2, 0), (None, "before", 2, 2), (1.0, "none", 2, 0)]
    assert study.left_out == (f"{names(fixed)[0]}: 2 trials that an earlier run has too (same arm, seed and settings)",)


def test_lists_and_truths_among_texts_are_settings_too(make_folder) -> None:
    swept = make_folder(name="a", arms=["none"], model={"depth": None}, grid={"model.width": [[100, 50], 100]})
    number = make_folder(name="b", arms=["before"], model={"width": 100})
    assert pairs(join([swept, number])) == [("100 50", "none", 1, 0), (100, "none", 1, 0), (100, "before", 1, 1)]
    swept = make_folder(name="c", arms=["none"], grid={"model.bias": ["auto", True]})
    fixed = make_folder(name="d", arms=["before"], model={"bias": True})
    assert pairs(join([swept, fixed])) == [("auto", "none", 1, 0), (True, "none", 1, 0), (True, "before", 1, 1)]
    assert len(study_of([swept], condition="bias == true").trials) == 1


def test_a_section_swept_as_a_whole_is_the_settings_in_it_that_change(make_folder) -> None:
    swept = make_folder(name="a", arms=["none"], grid={"model.init": ["he", "lecun"]})
    fixed = make_folder(name="b", arms=["before"], model={"init": "he"})
    study = join([swept, fixed])
    assert study.grid_keys == ("model.init.scheme",)
    assert pairs(study) == [("he", "none", 1, 0), ("he", "before", 1, 1), ("lecun", "none", 1, 0)]


NONE, BN = {"name": "none", "arms": ["none"]}, {"name": "bn", "arms": ["before"]}
SAME: dict[str, tuple[dict, dict]] = {
    "norm: none in one, an arm none in the other": (
        {"name": "none", "arms": None, "model": {"norm": "none"}},
        BN | {"model": {"norm": "before"}},
    ),
    "an arm that BN was put in for": (
        {"name": "a", "arms": ["none", "before"], "model": {"norm": "none"}, "seeds": [7]},
        {"name": "b", "arms": ["none", "before"]},
    ),
    "momentum of no norm": (NONE, BN | {"model": {"norm": {"momentum": 0.5}}}),
    "the place of no dropout": (NONE, BN | {"model": {"dropout_at": "last"}}),
    "moments of recording": (NONE, BN | {"train": {"record_at": [3]}}),
    "a width for every layer": (NONE | {"model": {"width": [50, 50, 50]}}, BN | {"model": {"depth": 3, "width": 50}}),
    "a bias without BN": (NONE | {"model": {"bias": True}}, BN),
    "epochs, written out": (NONE | {"train": {"epochs": 10}}, BN),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_what_has_no_effect_keeps_no_trials_apart(make_folder, one: dict, other: dict) -> None:
    runs = [make_folder(**{"seeds": 1} | each) for each in (one, other)]
    for study in (join(runs), join(runs[::-1])):
        assert (study.grid_keys, study.differs, study.left_out) == ((), (), ())
        assert set(study.arms) == {"none", "before"}
        assert max(row.pairs for row in compare_study(study).rows) == len(set(study.trials["seed"]))


def test_when_it_was_recorded_matters_to_what_is_the_best_of_the_records(make_folder) -> None:
    runs = [make_folder(**NONE, seeds=1), make_folder(**BN, seeds=1, train={"record_at": [3]})]
    assert join(runs, "best_val_accuracy").grid_keys == ("train.record_at",)


def test_patience_matters_to_measures_of_early_stopping_alone(make_folder) -> None:
    runs = [make_folder(**NONE, seeds=1, train={"patience": 1}), make_folder(**BN, seeds=1, train={"patience": 2})]
    assert join(runs, "test_accuracy_at_early_stop").grid_keys == ("train.patience",)
    assert join(runs, "best_val_accuracy").grid_keys == join(runs).grid_keys == ()


def test_what_matters_to_one_arm_alone_is_no_matter_to_its_partner(make_folder) -> None:
    plain = make_folder(name="plain", arms=["none"], seeds=2, accuracy=lambda trial: 0.5 + trial.seed / 100)
    swept = make_folder(name="swept", arms=["before"], seeds=2, grid={"model.norm.momentum": [0.1, 0.2]})
    study = join([plain, swept])
    assert (study.grid_keys, study.differs) == (("model.norm.momentum",), ())
    assert sorted(pairs(study)) == [
        (0.1, "before", 2, 2),
        (0.1, "none", 2, 0),
        (0.2, "before", 2, 2),
        (0.2, "none", 2, 0),
    ]
    plains = study.trials[study.trials["arm"] == "none"]
    last = study.curves[study.curves["epoch"] == 2].set_index("trial")["test_accuracy"]
    assert last[plains["trial"]].tolist() == plains["final_test_accuracy"].tolist() == [0.5, 0.5, 0.51, 0.51]


def test_a_trial_that_stands_at_several_grid_points_is_counted_once(make_folder) -> None:
    momenta = {"model.norm.momentum": [0.1, 0.2, 0.3]}
    ended = {0: "diverged", 5: "failed"}
    plain = make_folder(name="plain", arms=["none"], seeds=6, outcomes=ended)
    swept = make_folder(name="swept", arms=["before"], seeds=6, grid=momenta, outcomes={0: None})
    study = join([plain, swept])
    comparison = compare_study(study)
    assert (len(study.trials), comparison.planned, comparison.finished) == (36, 24, 23)
    rows = {row.arm: row for row in compare_study(study, by=[]).rows}
    counts = {arm: (row.trials, row.diverged, row.failed) for arm, row in rows.items()}
    assert counts == {"none": (5, 1, 1), "before": (17, 0, 0)}
    said = " ".join(comparison.warnings)
    assert "unfinished: 1 of 24 trials has not ended" in said
    assert "failed trials: 1 of none" in said
    assert "unpaired: 3 trials have no finished partner in none" in said
    assert "unequal budgets: before has 18 trials and none 6" in said


def test_a_trial_stands_in_where_another_run_lacks_it(make_folder) -> None:
    whole = make_folder(name="whole", seeds=3, model={"norm": {"momentum": 0.1}})
    some = make_folder(name="some", arms=["before"], seeds=2, model={"norm": {"momentum": 0.2}})
    both = make_folder(name="both", seeds=3, model={"norm": {"momentum": 0.3}})
    assert pairs(join([whole, some])) == [
        (0.1, "none", 3, 0),
        (0.1, "before", 3, 3),
        (0.2, "before", 2, 2),
        (0.2, "none", 2, 0),
    ]
    study = join([whole, both])
    assert pairs(study) == [(0.1, "none", 3, 0), (0.1, "before", 3, 3), (0.3, "none", 3, 0), (0.3, "before", 3, 3)]
    assert study.left_out == ()


def test_arms_that_come_to_the_same_have_one_name(make_folder) -> None:
    one = make_folder(name="a", arms={"bn": {"model.norm.kind": "batch"}, "none": None}, seeds=1)
    other = make_folder(name="b", arms={"bn": {"model.norm.placement": "before"}}, seeds=[4])
    third = make_folder(name="c", arms={"bn": {"model.norm.placement": "after"}}, seeds=[5])
    assert join([one, other]).arms == ("bn", "none")
    assert join([one, third]).arms == ("bn", "none", "bn of c")


def test_of_two_that_are_the_same_the_one_that_finished_counts(make_folder) -> None:
    runs = [
        make_folder(name="a", seeds=2, outcomes={0: None, 1: "failed"}, accuracy=lambda trial: 0.5),
        make_folder(name="b", seeds=2, outcomes={3: "failed"}, accuracy=lambda trial: 0.9),
    ]
    study = join(runs)
    assert sorted(pairs(study)) == [("before", 2, 2), ("none", 2, 0)]
    first, second = names(*runs)
    assert study.trials[["run", "number"]].to_numpy().tolist() == [[first, 2], [first, 3], [second, 0], [second, 1]]
    assert study.left_out == (
        f"{first}: 2 trials that a later run finished (same arm, seed and settings)",
        f"{second}: 2 trials that an earlier run has too (same arm, seed and settings)",
    )


def test_an_arm_that_means_something_else_gets_a_name_of_its_own(make_folder) -> None:
    meanings = [("one", 0.5), ("two", 1.0), ("two", 2.0), ("three", 1.0), ("three", 0.5)]
    runs = [
        make_folder(name=name, seeds=[seed], arms={"none": None, "fast": {"train.lr": rate}})
        for seed, (name, rate) in enumerate(meanings)
    ]
    study = join(runs)
    third = f"fast of {names(*runs)[2]}"
    assert study.arms == ("none", "fast", "fast of two", third)
    assert pairs(study) == [("none", 5, 0), ("fast", 2, 2), ("fast of two", 2, 2), (third, 1, 1)]
    assert [study.settings[arm].train.lr for arm in study.arms] == [0.1, 0.5, 1.0, 2.0]


RATE = {"arms": ["none", "before"], "train": {"lr": 1}}
OWN_RATES = {"arms": {"none": {"train.lr": 0.1}, "before": {"train.lr": 0.3}}}
CHOSE = {"tune": {"grid": {"train.lr": [0.1, 0.3]}}} | {
    "tuned": [{"arm": arm, "values": {"train.lr": 0.1}} for arm in ("none", "before")]
}


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (OWN_RATES, ["none of b", "before of b"]),  # though 0.1 is what b has outside its arms
        (RATE | CHOSE, ["none of b", "before of b"]),
        (RATE | {"grid": {"train.lr": [1, 0.1]}}, ["none", "before"]),
        ({"arms": {"none": {"train.lr": 1}, "before": {}}}, ["none", "before"]),
        (RATE | {"arms": {"none": {"model.norm.momentum": 0.5}, "before": {}}}, ["none", "before"]),
    ],
)
def test_an_arm_whose_own_setting_differs_from_the_other_run_is_another(other: dict, names: list[str]) -> None:
    configs = [experiment(name="a", **RATE), experiment(name="b", **other)]
    assert list(arm_names(["a-1", "b-1"], configs)[1].values()) == names


def test_an_arm_that_is_impossible_in_the_first_run_has_the_settings_of_its_own(make_folder) -> None:
    runs = [
        make_folder(name="a", arms=["none"], model={"width": 100}),
        make_folder(name="b", arms={"none": None, "groups": {"model.norm.kind": "group"}}, model={"width": 64}),
    ]
    study = join(runs)
    assert (study.settings["groups"].model.width, study.settings["none"].model.width) == (64, 100)
    assert [row.pairs for row in compare_study(study).rows if row.arm == "groups"] == [1]


def test_a_run_with_nothing_finished_is_left_out_and_alone_a_study_all_the_same(make_folder) -> None:
    done = make_folder(name="a")
    waiting, other = (make_folder(name=name, seeds=[1], outcomes={0: None, 1: None}) for name in ("b", "c"))
    for runs in ([done, waiting], [waiting, done]):
        study = join(runs)
        assert (study.runs, len(study.trials)) == ((done.path.name,), 2)
        assert study.left_out == (f"{waiting.path.name}: no trial has finished",)
    assert (len(join([waiting]).trials), join([waiting]).left_out) == (2, ())
    assert compare_study(join([waiting])).finished == 0
    assert join([waiting, other]).left_out == (f"{other.path.name}: no trial has finished",)
    failed = make_folder(name="d", outcomes={0: "failed", 1: "failed"})
    assert join([done, failed]).left_out == (f"{failed.path.name}: all its trials so far have failed",)


def test_a_run_without_the_metric_is_left_out(make_folder) -> None:
    tested = make_folder(name="a", seeds=[0])
    unseen = make_folder(name="b", seeds=[1], measures=["train_loss", "train_accuracy"])
    assert join([tested, unseen]).left_out == (f"{unseen.path.name}: final_test_accuracy was not measured",)
    assert join([unseen, tested]).runs == (tested.path.name,)
    assert join([tested, unseen], "final_train_accuracy").left_out == ()
    assert compare_study(join([unseen])).metric == "final_train_accuracy"
    with pytest.raises(
        InputError, match="--metric final_val_accuracy: was not measured in this run; measured: final_train_acc"
    ):
        join([unseen], "final_val_accuracy")


def test_environments_are_kept_and_their_differences_said(make_folder) -> None:
    here = {"bnexp": "1.0", "torch": "2.15.0", "device_name": "x86_64", "cores": 2}
    runs = [
        make_folder(name="a", environment=here),
        make_folder(name="b", seeds=[1], environment=here | {"device_name": "NVIDIA H100", "cores": 16}),
    ]
    study = join(runs)
    first, second = names(*runs)
    assert study.differs == (f"device_name: x86_64 in {first}, NVIDIA H100 in {second}",)
    assert [study.environments[name]["cores"] for name in (first, second)] == [2, 16]
    assert join(runs[:1]).differs == ()


def test_folders_of_one_name_are_told_apart(make_folder) -> None:
    runs = [make_folder(name=name, train={"lr": lr}, among=name) for name, lr in (("a", 0.5), ("b", 0.1))]
    runs = [RunRecord(run.path.rename(run.path.parent / "run")) for run in runs]
    study = join(runs)
    assert study.runs == tuple(str(run.path) for run in runs)
    assert study.differs == (f"train.lr: 0.5 in {runs[0].path}, 0.1 in {runs[1].path}",)
    assert join([runs[0], runs[0]]).runs == ("run",)


def probes_of(run: RunRecord) -> pd.DataFrame:
    """A value per trial that tells its run and its number there."""
    place = {"epoch": 0, "step": 0, "layer": "output", "probe": "update_ratio"}
    return pd.DataFrame(
        [{"trial": trial, **place, "value": f"{run.path.name} {trial}"} for trial in run.trials["trial"]]
    )


def test_probes_follow_the_numbers_of_their_trials(make_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make_folder(name="a", arms=["none"], seeds=2), make_folder(name="b", seeds=[1, 5])]
    assert join(runs, probed=True).probes is None  # there are none
    monkeypatch.setattr(RunRecord, "probes", property(probes_of))
    assert join(runs).probes is None  # nobody asked
    study = join(runs, probed=True)
    trials = study.trials.set_index("trial")
    assert study.probes is not None
    assert study.probes.index.tolist() == list(range(5))  # seed 1 without BN stands in both
    places = trials.loc[study.probes["trial"], ["run", "number"]].astype(str)
    assert study.probes["value"].tolist() == places.agg(" ".join, axis=1).tolist()
    before = filtered(study, "arm == before").probes
    assert before is not None
    assert before["trial"].tolist() == trials.index[trials["arm"] == "before"].tolist()


SIZES = [{"name": "mnist", "train_size": 500}, {"name": "mnist", "train_size": 1000, "test_size": 200}]
FOLDERS = [{"name": "image_folder", "root": root} for root in ("cats", "dogs")]


@pytest.mark.parametrize(
    ("grid", "data_sets", "grid_keys"),
    [
        ({"data": SIZES}, (), ("data.train_size", "data.test_size")),
        ({"data": ["mnist", {"name": "mnist", "normalize": "unit"}]}, (), ("data.normalize",)),
        ({"data": ["mnist", "digits"]}, ("mnist", "digits"), ("data.name",)),
        ({"data.name": ["mnist", "digits"]}, ("mnist", "digits"), ("data.name",)),
        ({"data": FOLDERS}, ("cats", "dogs"), ("data.root",)),
        (
            {"data": ["mnist", *FOLDERS]},
            ("mnist", "image_folder cats", "image_folder dogs"),
            ("data.name", "data.root"),
        ),
        ({"data.root": ["here", "there"]}, (), ("data.root",)),  # which isn't read
    ],
)
def test_other_names_or_picture_folders_make_other_data_sets_and_sizes_do_not(
    make_folder, grid: dict, data_sets: tuple, grid_keys: tuple
) -> None:
    comparison = compare_study(join([make_folder(grid=grid)]))
    assert (comparison.data_sets, comparison.grid_keys) == (data_sets, grid_keys)
    assert len(comparison.overall) == (0 if data_sets else 2)
