"""What is known about a claim from its runs: what arms chose, what failed, and which arm ended how."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bnexp.analysis.study import Study
from bnexp.claims import evidence as module
from bnexp.claims.catalogue import Claim, ClaimSettings
from bnexp.claims.evidence import Chosen, Evidence, Judgement, evidence, rows_against
from bnexp.claims.runs import EntryRuns
from bnexp.claims.verdicts import VerdictLabel
from bnexp.config.experiment import ExperimentConfig
from tests.claims.made_up import a_study, by_seed
from tests.helpers import experiment

MEASURES = [{"label": "first", "value": "final_test_accuracy", "better": "higher", "margin": 0.01}]
SETTINGS = ClaimSettings.model_validate(
    {"claim": "So it is.", "notes": ["S0"], "literature": ["A"], "experiment": {}, "measures": MEASURES}
    | {"tiers": {"small": {}, "full": {}}}
)
ARMS = ["none", "before", "after"]


def judged(monkeypatch: pytest.MonkeyPatch, config: ExperimentConfig, study: Study, **measure: Any) -> Judgement:
    """The one row that decides a claim whose one run had these trials."""
    (row,) = known(monkeypatch, config, study, **measure).deciding
    return row


def known(monkeypatch: pytest.MonkeyPatch, config: ExperimentConfig, study: Study, **measure: Any) -> Evidence:
    """What is known about a claim whose one run had these trials."""
    there: Any = {"tuned" if config.tuned else "equal": SimpleNamespace(config=config)}
    monkeypatch.setattr(module, "runs_of", lambda *_: EntryRuns(there, {}))
    monkeypatch.setattr(module, "study_of", lambda *_, **__: study)
    settings = SETTINGS.model_copy(update={"measures": (SETTINGS.measures[0].model_copy(update=measure),)})
    (found,) = evidence([Claim("made_up", "made_up.yaml", settings, {"small": config})], "small", Path())
    return found


def test_failed_trials_are_counted_of_those_of_both_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for arm in ARMS for row in by_seed(arm, [0.5, 0.6, 0.7])]
    rows[0]["outcome"] = rows[-1]["outcome"] = "failed"
    assert judged(monkeypatch, experiment(arms=ARMS), a_study(*rows)).verdict.reasons[-1] == "1 of 6 trials failed"


@pytest.mark.parametrize(("value", "said"), [("final_test_accuracy", True), ("diverged", False)])
def test_running_averages_that_lag_stand_in_the_verdict(
    monkeypatch: pytest.MonkeyPatch, value: str, said: bool
) -> None:
    config = experiment(arms=["none", "before"], seeds=3)
    study = a_study(*(row for arm in config.arms for row in by_seed(arm, [0.5, 0.6, 0.7])))  # 10 updates
    trials = study.trials.assign(run="a", number=study.trials["trial"])
    known = replace(study, trials=trials, configs={"a": config})
    lag = "running averages of before: after 10 updates, 35 % of their initial value is still in them"
    assert (lag in judged(monkeypatch, config, known, value=value).verdict.reasons) == said


def test_it_is_said_where_nothing_but_diverged_trials_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for arm in ARMS for row in by_seed(arm, [0.5, 0.6, 0.7], outcome="diverged")]
    said, config = "all trials of both arms diverged", experiment(arms=ARMS)
    assert said in judged(monkeypatch, config, a_study(*rows)).verdict.reasons
    rows[0]["outcome"] = "completed"
    assert said not in judged(monkeypatch, config, a_study(*rows)).verdict.reasons


def test_what_arms_chose_is_told_with_the_ends_of_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = [
        {"arm": arm, "point": {"model.depth": depth}, "values": {"train.lr": rate}, "tried": 3, "ties": ties}
        for depth, rates in ((2, (0.1, 1.0, 0.1)), (3, (0.3, 0.3, 1.0)))
        for arm, rate, ties in zip(ARMS, rates, (depth - 1, None, 3), strict=True)  # the last arm isn't compared
    ]
    config = experiment(
        data={"name": "digits"},
        arms=ARMS,
        grid={"model.depth": [2, 3]},
        tune={"grid": {"train.lr": [0.1, 0.3, 1.0]}},
        tuned=tuned,
    )
    rows = [row for arm in ARMS for depth in (2, 3) for row in by_seed(arm, [0.5, 0.6], **{"model.depth": depth})]
    found = judged(monkeypatch, config, a_study(*rows))
    assert found.choices == (
        Chosen("none", {"model.depth": 2}, "train.lr", 0.1, at_edge=True),
        Chosen("none", {"model.depth": 3}, "train.lr", 0.3),
        Chosen("before", {"model.depth": 2}, "train.lr", 1.0, at_edge=True),
        Chosen("before", {"model.depth": 3}, "train.lr", 0.3),
    )
    assert found.verdict.reasons[-2:] == (
        "at the edge: none and before chose an end of what was tried; better may lie beyond",
        "tuned with 2 seeds, where up to 2 values tie for the best, and the noise of that choice is not in the "
        "interval",
    )


def test_with_tuning_studies_no_noise_is_left_out_of_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(
        data={"name": "digits"},
        arms=["none", "before"],
        tune={"grid": {"train.lr": [0.1, 0.3, 1.0]}, "seeds": 1, "studies": 3},
        tuned=[
            {"arm": arm, "study": study, "values": {"train.lr": 1.0 if (arm, study) == ("none", 2) else 0.3}}
            for arm in ("none", "before")
            for study in range(3)
        ],
        seeds=3,
    )
    study = replace(a_study(*by_seed("none", [0.5, 0.6, 0.4]), *by_seed("before", [0.5, 0.6, 0.7])), tunings=3)
    found = judged(monkeypatch, config, study)
    assert (found.verdict.n, found.pairs.one) == (3, "tuning")
    assert found.verdict.reasons == (
        "at the edge: none (1 of 3 times) chose an end of what was tried; better may lie beyond",
    )


def test_without_tuning_the_rates_of_the_arms_are_told_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(
        arms={"none": {}, "before": {"train.lr": 0.7}}, grid={"train.lr": [0.1, 0.3], "model.depth": [2, 3]}
    )
    rows = [row for arm in ("none", "before") for row in by_seed(arm, [0.5, 0.6])]
    found = judged(monkeypatch, config, a_study(*rows))
    assert [(each.arm, each.value) for each in found.choices] == [("none", 0.1), ("none", 0.3), ("before", 0.7)]


def test_unlike_grid_points_have_rows_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = "model.depth"
    config = experiment(arms=["none", "before"], grid={depth: [2, 9]}, seeds=3)
    study = a_study(
        *by_seed("none", [0.5, 0.5, 0.5], **{depth: 2}),
        *by_seed("before", [0.5, 0.501, 0.499], **{depth: 2}),
        *by_seed("none", [0.2, 0.2, 0.2], **{depth: 9}, outcome="diverged"),
        *by_seed("before", [0.6, 0.61, 0.62], **{depth: 9}),
    )
    found = known(monkeypatch, config, study, each=(depth,), diverged="counted")
    assert found.label is VerdictLabel.depends
    assert [(row.point, row.verdict.label) for row in found.deciding] == [
        ({depth: 2}, VerdictLabel.equivalent),
        ({depth: 9}, VerdictLabel.supported),
    ]
    assert [{arm: (row.trials, row.diverged) for arm, row in each.arms.items()} for each in found.deciding] == [
        {"none": (3, 0), "before": (3, 0)},
        {"none": (3, 3), "before": (3, 0)},
    ]
    assert found.deciding[0].p_holm == found.deciding[0].verdict.p == 1.0
    assert found.deciding[1].p_holm == 2 * (found.deciding[1].verdict.p or 0)


def test_arms_are_compared_over_all_grid_points_or_at_each() -> None:
    study = a_study(
        *by_seed("none", [0.2, 0.3], **{"train.lr": 0.1}),
        *by_seed("before", [0.6, 0.8], **{"train.lr": 0.1}),
        *by_seed("none", [0.4, 0.5], **{"train.lr": 1.0}),
        *by_seed("before", [0.4, 0.4], outcome="diverged", **{"train.lr": 1.0}),
    )
    metric, overall = rows_against(study, "none", threshold=0.55)
    assert metric == "final_test_accuracy"
    assert [(row.arm, row.trials, row.diverged, row.pairs, row.reached) for row in overall] == [
        ("none", 4, 0, 0, 0),
        ("before", 4, 2, 2, 2),
    ]
    assert (overall[1].first, overall[1].difference) == (2, pytest.approx(0.2))
    _, each = rows_against(study, "none", by=["train.lr"])
    assert [(row.arm, row.point["train.lr"], row.difference) for row in each] == [
        ("none", 0.1, None),
        ("before", 0.1, pytest.approx(0.45)),
        ("none", 1.0, None),
        ("before", 1.0, pytest.approx(-0.05)),
    ]
