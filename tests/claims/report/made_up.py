"""Claims with evidence given by hand: nothing has run, and every number is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnexp.analysis.study import Study
from bnexp.claims.catalogue import Claim, ClaimSettings, MeasureSettings
from bnexp.claims.evidence import Chosen, Evidence, Judgement, judge
from bnexp.claims.pairs import Pairs
from bnexp.claims.report.tables import Row, rows_of
from bnexp.claims.results import CheckResult, Finding, Regime
from tests.claims.made_up import measure
from tests.helpers import experiment

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
    return Judgement(regime, of, pairs, judge(pairs, of.margin), choices=choices, decides=decides)


def from_data(*rows: Judgement, studies: Mapping[Regime, Study] | None = None, **raw: Any) -> Evidence:
    """What is known of a claim from such rows; its measures are theirs, the deciding one first."""
    ordered = sorted(rows, key=lambda row: not row.decides)
    measures = list({row.measure.label: row.measure for row in ordered}.values())
    return Evidence(a_claim(*measures, **raw), rows, studies or {}, experiment(), missing=False)


def from_check(*findings: Finding, **raw: Any) -> Evidence:
    """What is known of an exact claim."""
    return Evidence(a_claim(**raw), result=CheckResult(findings, None, 1.0, {}, "four_parameters"))


def head(evidence: Evidence) -> Row:
    """The row with the verdict."""
    return rows_of(evidence)[0]
