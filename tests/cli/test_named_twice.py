"""A command that names one thing twice, in whatever words, says so and does nothing."""

from pathlib import Path

import pytest

from bnexp.config.load import shipped
from tests.cli.command import Command, Trained, tree

CLAIM, *_ = shipped("claims")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "exp.yaml", "exp.yaml"], "exp.yaml: named twice"),
        (["run", "exp.yaml", "copy.yaml"], "copy.yaml: the same as exp.yaml"),
        (["compare", "tiny", "tiny"], "tiny: named twice"),
        (["compare", "tiny", "NAME"], "NAME: the same as tiny"),
        (["report", "runs/NAME", "NAME"], "NAME: the same as runs/NAME"),
        (["compare", "tiny", "--by", "lr", "--by", "lr"], "lr: named twice"),
        (["compare", "tiny", "--by", "lr", "--by", "train.lr"], "train.lr: the same as lr"),
        (["fold", "tiny", "--trial", "1", "--trial", "1"], "trial 1: named twice"),
        (["probe", "tiny", "--probe", "rank", "--trial", "0", "--trial", "0"], "trial 0: named twice"),
        (["claims", "show", CLAIM, CLAIM], f"{CLAIM}: named twice"),
    ],
)
def test_what_is_named_twice_is_refused(
    runs: Path, cli: Command, trained: Trained, words: list[str], message: str
) -> None:
    (runs.parent / "copy.yaml").write_bytes((runs.parent / "exp.yaml").read_bytes())
    before = tree(runs.parent)
    result = cli(*(word.replace("NAME", trained.path.name) for word in words))
    message = message.replace("NAME", trained.path.name)
    assert (result.code, result.out, result.err) == (2, "", f"bnexp: {message}; name it once\n")
    assert tree(runs.parent) == before
