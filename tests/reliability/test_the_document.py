"""docs/reliability.md and docs/reproducibility.md promise nothing that no test holds."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = "".join((ROOT / "docs" / name).read_text() for name in ("reliability.md", "reproducibility.md"))
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)))


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_every_test_that_the_document_names_is_there(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text()
