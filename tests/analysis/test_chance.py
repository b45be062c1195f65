"""What guessing scores: one in so many classes, and with few test images what the largest class may have of them."""

import numpy as np
import pytest

from bnexp.analysis.study import ABOVE_CHANCE, chance
from tests.helpers import experiment


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # 10,000 images: three standard errors are 0.009, less than ABOVE_CHANCE
        ({"name": "mnist"}, (0.1, ABOVE_CHANCE)),
        ({"name": "cifar100"}, (0.01, ABOVE_CHANCE)),
        ({"name": "mnist", "test_size": 1000}, (0.1, 3 * np.sqrt(0.09 / 1000))),
        ({"name": "mnist", "test_size": 0, "val_size": 500}, (0.1, 3 * np.sqrt(0.09 / 500))),
        ({"name": "image_folder"}, None),
    ],
)
def test_chance_is_one_in_so_many_classes_and_the_margin_is_larger_with_few_images(
    data: dict[str, object], expected: tuple[float, float] | None
) -> None:
    found = chance([experiment(data=data)])
    assert (found and (found.accuracy, found.margin, found.measured)) == (
        expected and (*map(pytest.approx, expected), False)
    )


def test_the_fewest_images_count_and_what_has_not_as_many_classes_has_no_chance() -> None:
    few, many = (experiment(data={"name": "mnist", "test_size": size}) for size in (200, 2000))
    assert chance([few, many]) == chance([many, few]) == chance([few])
    swept = experiment(data={"name": "mnist"}, grid={"data.test_size": [2000, 200], "train.lr": [0.1, 1.0]})
    assert chance([swept]) == chance([few])
    whole = experiment(grid={"data": [{"name": "mnist", "test_size": 200}, {"name": "mnist", "test_size": 2000}]})
    assert chance([whole]) == chance([few])
    assert chance([few, experiment(data={"name": "cifar100"})]) is None


def test_who_always_guesses_the_most_frequent_of_the_first_images_has_learned_nothing() -> None:
    """12.6 % of MNIST's first 1,000 test images are ones, and 12.5 % of the digits' test images zeros."""
    for name, size, share in (("mnist", 1000, 0.126), ("digits", None, 0.125)):
        found = chance([experiment(data={"name": name, "test_size": size})])
        assert found is not None
        assert share < found.above
