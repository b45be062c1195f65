"""Numbers as people write them."""

import pytest

from bnexp.config.text import counted, gibibytes, listed


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (11, "11 trials"), (101, "101 trials")]
)
def test_one_thing_is_singular_and_no_other_number(number: int, text: str) -> None:
    assert counted(number, "trial") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 MiB"), (2**20, "1 MiB"), (2**30 - 2**20, "1023 MiB"), (2**30, "1.0 GiB"), (3 * 2**29, "1.5 GiB")],
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert gibibytes(count) == text


def test_names_are_listed_with_an_and_before_the_last() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
