"""The example script that sweeps with commands in a loop, on a tiny experiment."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Command

SCRIPT = Path(__file__).parents[2] / "examples" / "sweep.py"


def test_the_script_raises_the_rate_until_no_arm_learns(
    runs: Path, cli: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(SCRIPT))
    assert script["FIRST"] == 0.1  # a rate that the experiment has trained with
    printed: list[str] = []

    def bnexp(*words: str) -> Any:
        printed.append(capsys.readouterr().out)
        return cli(*words, "--json").json()

    script["main"].__globals__["bnexp"] = bnexp  # in this process, where torch is loaded already
    script["main"](["exp.yaml", "grid={}"])
    header, *rows = ("".join(printed) + capsys.readouterr().out).splitlines()
    assert header.split("\t") == ["lr", "arm", "test accuracy", "diverged"]
    assert [row.split("\t")[:2] for row in rows] == [["0.1", "none"], ["0.1", "before"]]
    assert rows[0].endswith("0 of 2")
