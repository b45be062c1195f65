"""Every check belongs to a claim that is shipped, under its name."""

import pytest

from bnexp.claims.catalogue import Claim, load_claim
from bnexp.claims.checks import CHECKS
from bnexp.config.load import shipped
from bnexp.config.yaml import read_mapping

NAMES = {"step_times": "costs_per_step"}
"""Claims that aren't named as their check."""
WRONG_AS_WORDED = {"per_feature", "eval_is_deterministic"}


def claim_of(check: str) -> Claim:
    return load_claim(shipped("claims")[NAMES.get(check, check)])


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_its_claim(check: str) -> None:
    claim = claim_of(check)
    assert claim.settings.check == check
    assert claim.settings.kind == ("empirical" if check == "step_times" else "exact")
    assert claim.settings.as_worded == (check not in WRONG_AS_WORDED)


@pytest.mark.parametrize("check", CHECKS)
def test_its_header_names_the_command(check: str) -> None:
    path = shipped("claims")[NAMES.get(check, check)]
    assert f"# Run:       bnexp claims run {path.stem}" in path.read_text()


def test_every_check_that_a_claim_names_is_there() -> None:
    named = {path.stem: read_mapping(path).get("check") for path in shipped("claims").values()}
    assert {check for check in named.values() if check} == set(CHECKS)
