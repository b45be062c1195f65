"""The data section: names, sizes and the pixels to scale."""

from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.data import DataSettings


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
        (
            {"normalize": None},
            "data.normalize: null: expected one of none, unit, standard, pca_whiten, zca_whiten (nearest: none)",
        ),
        ({"whiten_eps": -1e-5}, "data.whiten_eps: -1e-05: expected a number greater than 0"),
        ({"train_size": -1}, "data.train_size: -1: expected a number greater than or equal to 0"),
        ({"feature_scale": {-1: 2.0}}, "data.feature_scale.-1: expected a number greater than or equal to 0"),
        ({"feature_scale": [1]}, "data.feature_scale: [1]: expected a mapping of keys"),
        ({"root": 3}, "data.root: 3: expected a string"),
    ],
)
def test_a_wrong_value_is_refused_in_words(refused: Callable[..., list[str]], raw: dict[str, Any], line: str) -> None:
    assert refused({"data": raw}) == [f"exp.yaml: {line}"]


WITHOUT_PIXELS = (
    "train.augment: flip_crop moves pixels, and data.normalize: pca_whiten leaves none; "
    "use zca_whiten, or augment: none"
)


@pytest.mark.parametrize(
    ("raw", "arm"),
    [
        ({"data": {"normalize": "pca_whiten"}, "train": {"augment": "flip_crop"}}, ""),
        (
            {
                "train": {"augment": "flip_crop"},
                "arms": {"pca": {"data.normalize": "pca_whiten"}, "zca": {"data.normalize": "zca_whiten"}},
            },
            " (arm pca)",
        ),
        (
            {
                "data": {"normalize": "pca_whiten"},
                "arms": {"plain": {}},
                "grid": {"train.augment": ["none", "flip_crop"]},
            },
            " (arm plain)",
        ),
    ],
)
def test_principal_components_are_not_moved_like_pixels(
    refused: Callable[..., list[str]], raw: dict[str, Any], arm: str
) -> None:
    assert refused(raw) == [f"exp.yaml: {WITHOUT_PIXELS}{arm}"]
