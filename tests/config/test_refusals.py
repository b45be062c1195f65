"""Each refusal in refusals.txt is said word for word."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from bnexp.config.load import resolve
from bnexp.config.problems import MOST_FINDINGS
from bnexp.config.yaml import parse

Refused = Callable[..., list[str]]
TEXT = (Path(__file__).parent / "refusals.txt").read_text(encoding="utf-8")
CASES = re.findall(r"^(\{.*)\n((?:  .*\n)+)", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("written", "said"), CASES)
def test_what_is_wrong_is_said_word_for_word(refused: Refused, written: str, said: str) -> None:
    raw, *overrides = written.split(" + ")
    assert refused(parse(raw, "exp.yaml"), *overrides) == dedent(said).splitlines()


def test_every_line_is_part_of_a_case() -> None:
    others = "".join(f"{written}\n{said}" for written, said in CASES).splitlines()
    assert [line for line in TEXT.splitlines() if line and line[0] != "#"] == others


def test_two_arms_may_be_alike_for_a_study_of_chance() -> None:
    arms = {"a": {"model.norm": "none"}, "b": {"model.norm": "none"}}
    assert list(resolve({"name": "exp", "arms": arms}, "").arms) == ["a", "b"]


def test_of_very_many_problems_the_first_are_said(refused: Refused) -> None:
    *found, last = refused({"seeds": [-1 - i for i in range(5_000)]})
    assert (len(found), last) == (MOST_FINDINGS, "exp.yaml: and more; correct these first")
