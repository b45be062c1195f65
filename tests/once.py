"""Done once in a process: what nearly every test asks for, and what depends on nothing but what is given."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import typer.main

from bnexp.config import yaml
from bnexp.data import raw
from bnexp.store import reader


def remember(patch: pytest.MonkeyPatch) -> None:
    """Keep the commands of `bnexp`, the digits as they lie in their file, and what files in YAML say."""
    patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
    patch.setattr(raw, "digit_rows", cache(raw.digit_rows))
    parse = _by_text(yaml.parse)
    for module in (yaml, reader):
        patch.setattr(module, "parse", parse)


def _by_text(parse: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    said: dict[str, Any] = {}

    def parse_once(text: str, source: str) -> Any:
        if text not in said:
            said[text] = parse(text, source)
        return deepcopy(said[text])

    return parse_once
