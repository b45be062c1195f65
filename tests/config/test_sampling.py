"""`tune.sample`: what is drawn, from which distribution, and that everyone draws the same."""

import numpy as np
import pytest

from bnexp.config.sampling import Sample, draws

LR: Sample = {"train.lr": {"loguniform": (0.001, 10)}}
DROPOUT: Sample = {"model.dropout": {"uniform": (0, 0.5)}}


def column(distribution: dict[str, tuple[object, ...]], count: int) -> list[object]:
    return [point["key"] for point in draws({"key": distribution}, count, 0)]


def test_a_seed_draws_the_same_every_time_and_another_seed_something_else() -> None:
    assert draws(LR | DROPOUT, 3, 1000) == [
        {"train.lr": 0.525, "model.dropout": 0.402},
        {"train.lr": 0.721, "model.dropout": 0.0798},
        {"train.lr": 0.201, "model.dropout": 0.414},
    ]
    assert draws(LR, 3, 1000) != draws(LR, 3, 1002)


def test_more_draws_begin_with_those_that_fewer_give() -> None:
    assert draws(LR | DROPOUT, 32, 7)[:8] == draws(LR | DROPOUT, 8, 7)


def test_other_settings_and_their_order_leave_a_setting_alone() -> None:
    alone = [point["train.lr"] for point in draws(LR, 8, 7)]
    assert alone == [point["train.lr"] for point in draws(LR | DROPOUT, 8, 7)]
    assert alone == [point["train.lr"] for point in draws(DROPOUT | LR, 8, 7)]


@pytest.mark.parametrize(
    ("distribution", "quartiles"),
    [({"uniform": (0, 0.5)}, (0.125, 0.25, 0.375)), ({"loguniform": (0.001, 10)}, (0.01, 0.1, 1.0))],
)
def test_values_are_distributed_as_they_should_be(distribution, quartiles) -> None:
    values = np.array([point["key"] for seed in range(50) for point in draws({"key": distribution}, 10, seed)])
    for quartile, share in zip(quartiles, (0.25, 0.5, 0.75), strict=True):
        assert (values < quartile).mean() == pytest.approx(share, abs=0.05)


def test_values_have_three_digits_and_stay_within_the_bounds() -> None:
    values = column({"uniform": (0.12344, 0.12351)}, 1)  # three digits would be 0.123 and so below
    assert values == [0.12344]
    assert all(float(f"{value:.3g}") == value for value in column({"loguniform": (0.001, 10)}, 100))


def test_whole_numbers_include_both_bounds_and_a_choice_all_its_values_each_once() -> None:
    assert sorted(column({"integers": (2, 5)}, 4)) == [2, 3, 4, 5]
    assert {*column({"choice": ("sgd", "adam")}, 2)} == {"sgd", "adam"}
    with pytest.raises(ValueError, match="5 draws were asked for, but only 4 different ones came; ask for fewer"):
        column({"integers": (2, 5)}, 5)
