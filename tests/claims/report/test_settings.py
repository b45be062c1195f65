"""The setting of a claim: what isn't as by default, without what is swept, chosen, or an arm's own."""

from bnexp.claims.report.documents import setting_text
from tests.helpers import experiment


def test_everything_that_is_not_as_by_default_is_told_and_the_basics_anyway() -> None:
    config = experiment(
        data={"name": "digits", "normalize": "unit", "val_size": 300},
        model={"depth": 7, "residual": True, "init": "he", "norm": {"groups": 5}},
        train={"lr": 0.1, "clip": {"norm_global": 1.0}, "record_at": [1, 2], "steps": 20},
    )
    assert setting_text(config) == (
        "data: digits, val_size 300, normalize unit; "
        "model: family mlp, depth 7, width 100, activation sigmoid, residual true, init.scheme he, norm.groups 5; "
        "train: steps 20, batch_size 128, optimizer sgd, lr 0.1, clip.norm_global 1"
    )


def test_what_is_swept_chosen_or_differs_between_arms_is_no_shared_setting() -> None:
    config = experiment(
        data={"name": "digits"},
        arms={"none": {}, "small": {"train.batch_size": 8}},
        grid={"model.depth": [2, 10, 20], "model.init": ["he", "xavier"]},
        tune={"grid": {"train.lr": [0.1, 0.3, 1, 3, 10]}},
    )
    assert setting_text(config) == (
        "data: digits; model: family mlp, width 100, activation sigmoid; train: epochs 10, optimizer sgd; "
        "over depth 2 / 10 / 20, init he / xavier; every arm chose of lr 0.1 … 10 (5)"
    )
