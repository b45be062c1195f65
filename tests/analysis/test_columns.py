"""Names of columns as people write them."""

import numpy as np
import pytest

from bnexp.analysis.study import full_key, is_number
from bnexp.errors import InputError

KNOWN = ["arm", "train.lr", "model.init.scale", "data.scale", "lr_end"]


@pytest.mark.parametrize(
    ("written", "key"),
    [("train.lr", "train.lr"), ("lr", "train.lr"), ("init.scale", "model.init.scale"), ("arm", "arm")],
)
def test_a_key_may_be_written_by_its_end(written: str, key: str) -> None:
    assert full_key(written, KNOWN) == key


@pytest.mark.parametrize(
    ("written", "known", "message"),
    [
        ("scale", KNOWN, "scale: could be model.init.scale or data.scale; write one of them whole"),
        ("arn", KNOWN, f"arn: no such column (nearest: arm); there are {', '.join(KNOWN)}"),
        ("xyz", KNOWN, f"xyz: no such column; there are {', '.join(KNOWN)}"),
        ("r", ["train.lr"], "r: no such column; there are train.lr"),  # parts, not letters
        ("lr", [], "lr: no such column; the trials differ in arm and seed only, nothing is swept"),
    ],
)
def test_what_is_no_column_or_could_be_two_is_refused(written: str, known: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        full_key(written, known)
    assert str(error.value) == message


def test_numbers() -> None:
    assert all(map(is_number, [1, 0.5, np.int64(1), np.float32(1), float("nan")]))
    assert not any(map(is_number, [True, np.True_, "1", None, [1]]))
