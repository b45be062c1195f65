"""What the tests themselves rely on: a wrong type or shape is found, also where others were right before."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor

CHECKED = jaxtyped(typechecker=beartype)
GOOD = torch.zeros(2, 3)


@CHECKED
def narrow(x_KB: Float[Tensor, "K B"], columns: int, kind: Literal["first", "last"] = "first") -> Float[Tensor, "K C"]:
    return x_KB[:, :columns] if columns else x_KB[0]


@pytest.fixture(autouse=True)
def seen() -> None:
    """Let all that is right be known."""
    for _ in range(2):
        assert narrow(GOOD, 2).shape == (2, 2)


@pytest.mark.parametrize("act", [
    lambda: narrow(GOOD[0], 2),
    lambda: narrow(GOOD.int(), 2),
    lambda: narrow(GOOD, 2.0),
    lambda: narrow(GOOD, columns="2"),
    lambda: narrow(GOOD, 2, "middle"),
], ids=["shape", "dtype", "type", "named", "value"])  # fmt: skip
def test_an_argument_that_is_wrong_is_found_before_the_call(act: Callable[[], object]) -> None:
    with pytest.raises(TypeCheckError, match=r"checking the parameters of .*narrow"):
        act()


def test_a_result_that_is_wrong_is_found() -> None:
    with pytest.raises(TypeCheckError, match=r"checking the return value of .*narrow"):
        narrow(GOOD, 0)
    assert narrow(GOOD, 1).shape == (2, 1)


def test_axes_of_one_name_are_as_long_as_each_other() -> None:
    @CHECKED
    def pair(one_KB: Float[Tensor, "K B"], others: list[Float[Tensor, "K B"]]) -> None: ...

    pair(GOOD, [GOOD])
    with pytest.raises(TypeCheckError):
        pair(GOOD, [GOOD[:1]])


def test_a_function_in_a_function_is_called_itself() -> None:
    def make(number: int) -> Callable[[int], int]:
        @CHECKED
        def add(to: int) -> int:
            return to + number if to < 5 else add(to - 1)

        return add

    assert [make(number)(7) for number in (1, 2)] == [5, 6]
    with pytest.raises(TypeCheckError):
        make(3)("7")
    assert make(3)(1) == 4
