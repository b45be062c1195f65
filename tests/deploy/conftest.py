"""One run with an arm for everything that folding and exporting tell apart."""

from typing import Any

import pytest

from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from bnexp.store.reader import RunRecord
from tests.helpers import experiment, leave_out_report

CONV: dict[str, Any] = {"model.width": 2, "model.activation": "relu"}
VGG = CONV | {"model.family": "vgg", "model.depth": 5}
RESNET = CONV | {"model.family": "resnet", "model.depth": 8}
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "before": {},
    "after": {},
    "layer": {"model.norm.kind": "layer", "data.normalize": "center"},
    "whiten": {"model.norm.kind": "whiten", "model.norm.group_size": 2, "model.norm.input": True},
    "residual": {"model.residual": True, "model.depth": 3},
    "vgg_after": VGG | {"model.norm.placement": "after", "data.normalize": "zca_whiten"},
    "resnet": RESNET,
    "fixup": RESNET | {"model.norm.kind": "none", "model.init.scheme": "fixup"},
    "standardized": {"model.weights": "standardized"},
    "scaled": RESNET | {"model.norm.kind": "none", "model.init.scheme": "skipinit", "model.weights": "scaled"},
    "unit": {"data.normalize": "unit", "data.feature_scale": {"3": 2.5, "20": 0.0}},
    "pca": {"data.normalize": "pca_whiten", "data.feature_scale": {"3": 2.5}},
    "double_vgg": VGG | {"train.precision": "fp64"},
}
NUMBERS = {arm: number for number, arm in enumerate(ARMS)}
"""The trial of each arm."""


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """It, trained a little; tests leave it as it is."""
    config = experiment(
        data={"name": "digits", "train_size": 120, "val_size": 30, "test_size": 40},
        model={"depth": 2, "width": 8},
        arms=ARMS,
        train={"epochs": 4, "batch_size": 30, "lr": 0.2},
    )
    with pytest.MonkeyPatch.context() as patch:
        leave_out_report(patch)
        return run(prepare(config, tmp_path_factory.mktemp("runs"), "cpu"))
