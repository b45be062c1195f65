"""Claims in files: every shipped one loads, in both tiers, and what is wrong in one is said with its place."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bnexp.claims.catalogue import Claim, find_claims, load_claim
from bnexp.claims.checks import CHECKS
from bnexp.config.experiment import default_config
from bnexp.config.load import shipped
from bnexp.config.yaml import to_yaml
from bnexp.errors import ConfigError, InputError
from bnexp.papers.catalogue import find_papers
from bnexp.runner.prepare import prepare

MEASURE = {"label": "test accuracy", "value": "final_test_accuracy", "better": "higher", "margin": 0.005}
CLAIM: dict[str, Any] = {
    "claim": "It helps.",
    "notes": ["S0"],
    "literature": ["Ioffe & Szegedy 2015"],
    "experiment": {"data": {"name": "digits"}, "grid": {"train.lr": [0.1, 1]}},
    "tiers": {"small": {"train.epochs": 2}, "full": {}},
    "measures": MEASURE,
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "helps.yaml"
    path.write_text(to_yaml({key: value for key, value in (CLAIM | changes).items() if value is not None}))
    return path


def problems(folder: Path, **changes: Any) -> list[str]:
    path = written(folder, **changes)
    with pytest.raises(ConfigError) as caught:
        load_claim(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_a_claim_has_an_experiment_of_its_name_in_both_tiers(tmp_path: Path) -> None:
    claim = load_claim(written(tmp_path))
    small, full = claim.experiments["small"], claim.experiments["full"]
    assert (claim.id, small.name, full.name) == ("helps", "helps", "helps")
    assert (small.train.epochs, full.train.epochs) == (2, None)
    assert (small.seeds, small.question) == (tuple(range(300, 306)), "It helps.")
    assert [measure.label for measure in claim.settings.measures] == ["test accuracy"]
    assert claim.settings.kind == "empirical"


def test_a_measure_has_a_row_for_each_value_or_combination_that_it_looks_at(tmp_path: Path) -> None:
    swept = {
        "data": {"name": "digits"},
        "zip": {"model.depth": [9, 2], "model.width": [20, 50]},  # rows ascend all the same
        "grid": {"train.lr": [0.1, 1]},
    }
    measures = [
        MEASURE | extra
        for extra in ({"each": "model.depth"}, {"each": ["model.width", "train.lr"], "at": {"model.depth": 9}}, {})
    ]
    claim = load_claim(written(tmp_path, experiment=swept, measures=measures))
    by_depth, both, none = (measure.rows(claim.experiments["small"]) for measure in claim.settings.measures)
    assert by_depth == [{"model.depth": 2}, {"model.depth": 9}]
    assert both == [{"model.width": 20, "train.lr": 0.1}, {"model.width": 20, "train.lr": 1}]
    assert none == [{}]
    assert claim.settings.measures[1].at_row(both[0]).at == {"model.depth": 9} | both[0]


CHECKED: dict[str, Any] = {"experiment": None, "tiers": None}
"""Leaves out the experiment."""


def along(key: str, values: list[Any], by: str) -> dict[str, Any]:
    experiment = {"data": {"name": "digits"}, "grid": {key: values}}
    return {"experiment": experiment, "measures": MEASURE | {"over": {"key": key, "by": by}}}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"literatur": ["x"]}, "literatur: unknown key (nearest: literature)"),
    (CHECKED, "expected either a check or an experiment"),
    ({"check": "folds_away"}, "expected either a check or an experiment"),
    ({"tiers": {"small": {}}}, "tiers: expected small and full, each with what it changes ({} for nothing)"),
    ({"tiers": {"small": {"train.lrr": 1}, "full": {}}}, "tiers.small.train.lrr: unknown key (nearest: train.lr)"),
    ({"as_worded": False}, "as_worded: false needs tested, the corrected wording"),
    (along("model.activation", ["elu", "relu"], "largest"), "measures.0.over.key: model.activation: largest is along "
     "numbers, and elu is none"),
    (along("model.dropout", [0, 0.5], "slope"), "measures.0.over.key: model.dropout: slope is along numbers above 0, "
     "and 0 is none"),
    ({"measures": MEASURE | {"over": {"key": "train.lr", "by": "best", "least": 0.5}}}, "measures.0.over: least and "
     "short_by say which settings are usable; by: best has no use for them"),
    (CHECKED | {"measures": None, "check": "folds_awy"}, 'check: "folds_awy": expected one of '),
    ({"measures": MEASURE | {"value": "measured"}}, "measures: value: measured is what a check measures, and all other "
     "values an experiment"),
    *(
        ({"measures": MEASURE | changes}, f"measures.0{message}")
        for changes, message in (
            ({"margin": 0}, ".margin: 0: expected a number greater than 0"),
            ({"arm": "befor"}, ".arm: befor: no such arm (nearest: before); arms: none, before"),
            ({"arm": "none"}, ": arm and baseline are both none"),
            ({"at": {"train.momentum": 0.9}}, ".at.train.momentum: train.momentum: not swept in the experiment"),
            ({"at": {"train.lr": 3}}, ".at.train.lr: 3: not among the values that are swept"),
            ({"over": {"key": "model.depth", "by": "worst"}}, ".over.key: model.depth: not swept in the experiment"),
            ({"change": {"train.lr": [0.1, 7]}}, ".change.train.lr: 7: not among the values that are swept"),
            ({"each": "train.momentum"}, ".each: train.momentum: not swept in the experiment"),
            ({"each": "train.lr", "at": {"train.lr": 1}}, ": each: train.lr stands in at, too; take it out of one"),
            ({"value": "probe"}, ": value: probe and the name of the probe belong together"),
            ({"value": "probe", "probe": "rank"}, ".probe: rank: the experiment takes no such probe; it takes none"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    found = problems(tmp_path, **changes)
    assert any(line.startswith(message) for line in found), found


def test_every_problem_of_both_tiers_is_said(tmp_path: Path) -> None:
    tiers = {"small": {"train.lrr": 1, "train.stepz": 2}, "full": {"train.rate": 1}}
    assert [line.partition(":")[0] for line in problems(tmp_path, tiers=tiers)] == [
        "tiers.small.train.lrr",
        "tiers.small.train.stepz",
        "tiers.full.train.rate",
    ]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    assert [claim.id for claim in find_claims([str(written(tmp_path))])] == ["helps"]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, other = (written(tmp_path / name) for name in ("a", "b"))
    with pytest.raises(ConfigError) as caught:
        find_claims([str(one), str(other)])
    assert str(caught.value) == f"{other}: {one} is called helps, too; rename one of the files"


def test_a_claim_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        InputError, match=r"trains_fastr: no such claim \(nearest: trains_faster\); there are .*whitening"
    ):
        find_claims(["trains_fastr"])


# Those that come with bnexp


@pytest.fixture(scope="module")
def claims() -> dict[str, Claim]:
    return {claim.id: claim for claim in find_claims()}


def test_all_claims_are_there_exact_ones_first_and_every_check_has_one(claims: dict[str, Claim]) -> None:
    kinds = [claim.settings.kind for claim in claims.values()]
    assert kinds[:14] == ["exact"] * 14
    assert Counter(kinds) == {"exact": 14, "empirical": 20, "descriptive": 1}
    assert {claim.settings.check for claim in claims.values()} - {None} == set(CHECKS)
    corrected = {name for name, claim in claims.items() if claim.settings.check and not claim.settings.as_worded}
    assert corrected == {"per_feature", "eval_is_deterministic"}


@pytest.mark.parametrize("name", sorted(shipped("claims")))
def test_a_shipped_claim_can_be_judged(name: str, claims: dict[str, Claim]) -> None:
    claim = claims[name]
    head = Path(claim.source).read_text().split("\n\n")[0]
    assert f"bnexp claims run {name}" in head
    assert claim.settings.discuss
    for experiment in claim.experiments.values():
        assert experiment.name == name
        assert len(experiment.seeds) >= 6 or not claim.settings.measures
    if claim.settings.measures and claim.experiments:
        assert claim.settings.measures[0].margin > 0


def test_what_trains_on_digits_can_be_trained_as_it_says(claims: dict[str, Claim], tmp_path: Path) -> None:
    experiments = [entry.experiments for entry in claims.values()] + [paper.experiments for paper in find_papers()]
    small = [found["small"] for found in experiments if found]
    digits = [experiment for experiment in small if experiment.data.name == "digits"]
    assert {"deep_needs_it", "fixup", "wu_he"} <= {experiment.name for experiment in digits}
    for experiment in digits:
        assert prepare(default_config(experiment), tmp_path, "cpu").groups
