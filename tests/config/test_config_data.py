"""The data section: names, sizes and the pixels to scale."""

from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.data import DataSettings


def test_defaults() -> None:
    data = DataSettings()
    assert (data.name, data.root, data.train_size, data.val_size, data.normalize) == (
        "mnist",
        None,
        None,
        None,
        "standard",
    )


@pytest.mark.parametrize("scale", [{0: 2.0, 783: 1}, {"0": 2, "783": 1.0}])
def test_pixels_are_counted_in_whole_numbers_however_a_file_spells_them(scale: dict[Any, float]) -> None:
    assert DataSettings(feature_scale=scale).feature_scale == {0: 2.0, 783: 1.0}


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (
            {"name": "minst"},
            'data.name: "minst": expected one of digits, mnist, fashion_mnist, cifar10, cifar100, image_folder '
            "(nearest: mnist)",
        ),
        ({"normalize": "unt"}, 'data.normalize: "unt": expected one of none, unit, standard (nearest: unit)'),
        ({"normalize": None}, "data.normalize: null: expected one of none, unit, standard (nearest: none)"),
        ({"train_size": -1}, "data.train_size: -1: expected a number greater than or equal to 0"),
        ({"feature_scale": {-1: 2.0}}, "data.feature_scale.-1: expected a number greater than or equal to 0"),
        ({"feature_scale": [1]}, "data.feature_scale: [1]: expected a mapping of keys"),
        ({"root": 3}, "data.root: 3: expected a string"),
        ({"nmae": "digits"}, "data.nmae: unknown key (nearest: data.name)"),
    ],
)
def test_a_wrong_value_is_refused_in_words(refused: Callable[..., list[str]], raw: dict[str, Any], line: str) -> None:
    assert refused({"data": raw}) == [f"exp.yaml: {line}"]
