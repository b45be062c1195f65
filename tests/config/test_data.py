"""The data section: the pixels to scale."""

from typing import Any

import pytest

from bnexp.config.data import DataSettings


@pytest.mark.parametrize("scale", [{0: 2.0, 783: 1}, {"0": 2, "783": 1.0}])
def test_pixels_are_counted_in_whole_numbers_however_a_file_spells_them(scale: dict[Any, float]) -> None:
    assert DataSettings(feature_scale=scale).feature_scale == {0: 2.0, 783: 1.0}
