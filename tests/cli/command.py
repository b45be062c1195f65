"""What the command tests pass around: the result of a command, and the state of a folder."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import pytest

from bnexp.cli.main import main


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, as JSON proper: without NaN and infinities."""
        return json.loads(self.out, parse_constant=_refuse)


Command = Callable[..., Result]
"""Runs `bnexp` with some words."""


@dataclass(frozen=True)
class Trained:
    """A finished run, the command that made it, and where."""

    folder: Path
    """The working directory, with exp.yaml and runs/ in it."""
    path: Path
    """The run folder."""
    result: Result

    def table(self, name: str) -> pd.DataFrame:
        """One of its CSV files."""
        return pd.read_csv(self.path / name, keep_default_na=False, na_values=[""])


def in_this_process(patch: pytest.MonkeyPatch, *words: object) -> int:
    """Run `bnexp`, which is fast where torch is loaded already; return its exit code. An uncaught error is raised."""
    patch.setattr(sys, "argv", ["bnexp", *map(str, words)])
    patch.setattr(logging.root.manager, "disable", logging.NOTSET)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return every file below a folder with its content, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def without_seconds(curves: pd.DataFrame) -> pd.DataFrame:
    """Return curves in the order of their trials, without what differs from run to run."""
    return curves.drop(columns="seconds").sort_values(["trial", "step"], ignore_index=True)


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")
