"""Studies small enough to be worked out by hand, and claims with evidence given by hand: every number is known."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.study import Study
from bnexp.claims.catalogue import Claim, ClaimSettings, MeasureSettings
from bnexp.claims.evidence import Chosen, Evidence, Judgement
from bnexp.claims.pairs import Pairs
from bnexp.claims.rows import Row, rows_of
from bnexp.claims.runs import CheckResult, Finding, Regime
from bnexp.claims.verdicts import judge
from bnexp.config.trial import TrialSettings
from tests.analysis.conftest import a_study as make_study
from tests.helpers import experiment


def a_study(*rows: Mapping[str, Any], chance: float | None = 0.1) -> Study:
    """The study of tests.analysis with the arms that the rows have, and an accuracy of 0.5 and a second for ten steps.

    Beside the rest a trial may have `probes`: rows of layer, probe, step and value.
    """
    probes = [
        {"trial": number, "epoch": 0, "layer": layer, "probe": probe, "step": step, "value": value}
        for number, row in enumerate(rows)
        for layer, probe, step, value in row.get("probes", ())
    ]
    usual = {"accuracy": 0.5, "pace": 1.0, "diverged_step": np.nan}
    given = [usual | {name: value for name, value in row.items() if name != "probes"} for row in rows]
    arms, found = list(dict.fromkeys(row["arm"] for row in rows)), pd.DataFrame(probes) if probes else None
    return replace(make_study(given, arms, chance), settings={arm: TrialSettings() for arm in arms}, probes=found)


def by_seed(arm: str, values: Sequence[Any], name: str = "accuracy", **others: Any) -> list[dict[str, Any]]:
    """Return rows that differ in the seed and one thing."""
    return [{"arm": arm, "seed": seed, name: value} | others for seed, value in enumerate(values)]


def measure(**raw: Any) -> MeasureSettings:
    """A measure from keywords: by default of the final test accuracy, where more is better."""
    return MeasureSettings.model_validate(
        {"label": "made up", "value": "final_test_accuracy", "better": "higher", "margin": 0.01} | raw
    )


WORDS: dict[str, Any] = {"claim": "So it is.", "notes": ["S0"], "literature": ["A"]}


def a_claim(*measures: MeasureSettings, **raw: Any) -> Claim:
    """A claim of one's own: from data where it has measures, else exact unless it has an experiment."""
    given = WORDS | raw
    if measures:
        given |= {"experiment": {}, "tiers": {"small": {}, "full": {}}}
    elif "experiment" not in raw:
        given |= {"check": "four_parameters"}
    settings = ClaimSettings.model_validate(given | {"measures": [each.model_dump() for each in measures]})
    return Claim("made_up", "folder/made_up.yaml", settings, {})


def judged(
    baseline: Sequence[float],
    treated: Sequence[float],
    regime: Regime = "equal",
    *,
    decides: bool = True,
    of: MeasureSettings | None = None,
    choices: tuple[Chosen, ...] = (),
    bound: Sequence[bool] = (),
    point: Mapping[str, Any] | None = None,
) -> Judgement:
    """A measure judged from a value of each arm per seed."""
    of = of or measure()
    ours, theirs = np.array(treated, dtype=float), np.array(baseline, dtype=float)
    change = np.log(ours) - np.log(theirs) if of.of_logarithms else ours - theirs
    pairs = Pairs(
        seeds=tuple(range(len(ours))),
        baseline=theirs,
        treated=ours,
        change=change if of.better == "higher" else -change,
        bound=np.array(bound or [False] * len(ours)),
    )
    verdict = judge(pairs, of.margin)
    return Judgement(regime, of, pairs, verdict, point or {}, choices=choices, decides=decides)


def from_data(*rows: Judgement, studies: Mapping[Regime, Study] | None = None, **raw: Any) -> Evidence:
    """What is known of a claim from such rows; its measures are theirs, the deciding one first."""
    ordered = sorted(rows, key=lambda row: not row.decides)
    measures = list({row.measure.label: row.measure for row in ordered}.values())
    return Evidence(a_claim(*measures, **raw), rows, studies or {}, experiment(), missing=False)


def from_check(*findings: Finding, **raw: Any) -> Evidence:
    """What is known of an exact claim."""
    return Evidence(a_claim(**raw), result=CheckResult(findings, (), 1.0, {}, "four_parameters"))


def head(evidence: Evidence) -> Row:
    """The row with the verdict."""
    return rows_of(evidence)[0]
