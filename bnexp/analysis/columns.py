"""What the columns of a comparison are called on a command line."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bnexp.errors import InputError, nearest


def full_key(written: str, known: Sequence[str]) -> str:
    """Return the column that a name means: whole (`train.lr`), or its last parts (`lr`) where that is one column's.

    Raises:
        InputError: no such column, or several that end so.
    """
    if written in known:
        return written
    ending = [key for key in known if key.endswith(f".{written}")]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise InputError(f"{written}: could be {' or '.join(ending)}; write one of them whole")
    if not known:
        raise InputError(f"{written}: no such column; the trials differ in arm and seed only, nothing is swept")
    raise InputError(f"{written}: no such column{nearest(written, list(known))}; there are {', '.join(known)}")


def is_number(value: Any) -> bool:
    """Tell whether a grid value is a number, so that a key's values have an order."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)
