"""docs/reliability.md and docs/reproducibility.md promise nothing that no test holds, and count nothing that the tests
don't."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = "".join((ROOT / "docs" / name).read_text() for name in ("reliability.md", "reproducibility.md"))
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)))
COUNTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::([A-Z_]+) = ([\d_]+)`", DOCUMENT)))


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


def constants(file: str) -> dict[str, object]:
    """The constants of a module that are written as they are."""
    found = {}
    for node in tree(file).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if several else [(target, node.value)]
            found |= {ast.unparse(name): value.value for name, value in pairs if isinstance(value, ast.Constant)}
    return found


def test_the_document_names_tests_and_counts() -> None:
    assert len(TESTS) >= 30
    assert len(COUNTS) >= 5


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_every_test_that_the_document_names_is_there(file: str, name: str) -> None:
    assert name in {node.name for node in tree(file).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name", "count"), COUNTS)
def test_every_count_in_the_document_is_that_of_the_tests(file: str, name: str, count: str) -> None:
    assert constants(file)[name] == int(count)
