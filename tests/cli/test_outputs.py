"""What `--json` of each command prints fits its schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bnexp.cli.outputs import OUTPUTS
from tests.cli.command import Command

COMMANDS = {
    "compare": "compare tiny",
    "run": "run exp.yaml",
    "show": "show exp.yaml",
    "list": "list",
    "list-configs": "list configs",
    "settings": "settings train",
    "probe": "probe tiny --probe rank --trial 0",
    "claims": "claims show clipping_numbers higher_lr",
    "papers": "papers show udacity",
    "fold": "fold tiny --no-timing --trial 0 --trial 2",
    "export": "export tiny 2",
    "doctor": "doctor --device cpu",
    "report": "report tiny",
}
"""A command for each output that is printed whole."""
LINES = {"dry-run": "run exp.yaml --dry-run", "watch": "watch tiny --json"}
"""A command for each output of which every line is an object."""
SLOW = ("report", "doctor")


def faults(name: str, printed: Any) -> list[str]:
    schema = OUTPUTS[name].schema()
    Draft202012Validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(printed)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in COMMANDS]
)
def test_what_a_command_prints_fits_its_schema(runs: Path, cli: Command, name: str) -> None:
    printed = cli(*COMMANDS[name].split(), "--json").json()
    assert printed
    assert faults(name, printed) == []


@pytest.mark.parametrize("name", LINES)
def test_each_line_fits_its_schema(runs: Path, cli: Command, name: str) -> None:
    printed = list(map(json.loads, cli(*LINES[name].split()).out.splitlines()))
    assert printed
    assert [fault for line in printed for fault in faults(name, line)] == []


def test_every_output_is_tried() -> None:
    assert {*COMMANDS, *LINES} == set(OUTPUTS)


def test_a_key_too_few_or_too_many_does_not_fit(runs: Path, cli: Command) -> None:
    (row,) = cli("list", "--json").json()
    assert faults("list", [row | {"other": 1}]) != []
    assert faults("list", [{key: value for key, value in row.items() if key != "path"}]) != []


def test_the_schema_of_an_output_is_printed_with_its_version(cli: Command) -> None:
    assert cli("schema", "list").json() == OUTPUTS["list"].schema()
    assert (cli("schema", "list").json()["title"], cli("schema", "list").json()["version"]) == ("bnexp list --json", 1)
    refused = cli("schema", "lst")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("bnexp: lst: no such schema (nearest: list); there are experiment, claim, paper, ")
