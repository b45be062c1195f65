"""The networks in examples/ train as their files say, in small."""

from pathlib import Path

import numpy as np
import pytest

from bnexp.config.load import load
from bnexp.nn.table import layer_table
from bnexp.plan import groups, trials
from tests.helpers import curve, finished, made_up_data

FOLDER = Path(__file__).parent.parent / "examples" / "networks"
SMALL = {"seeds": 1, "train.steps": 1, "train.epochs": None, "train.batch_size": 8, "train.schedule": "constant"}
NORMS = {"resnet18": 20, "mobilenet_v3_small": 34, "densenet121": 121, "convnext_tiny": 23}
"""Norm layers of each, as torchvision has them."""


@pytest.mark.parametrize(
    "name",
    ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in NORMS if name != "resnet18")],
)
def test_arms_of_torchvisions_networks_have_all_their_norm_layers_or_none(name: str) -> None:
    config = load(FOLDER / "resnet18.yaml", {"model.source": f"cifar.py:{name}", "model.arguments": {"num_classes": 3}})
    kinds = {
        arm: [row.kind for row in layer_table(config.settings(arm, {}).model, (3, 32, 32), 3)] for arm in config.arms
    }
    assert sum("Norm" in kind for kind in kinds["as_written"]) == NORMS[name]
    assert not any("Norm" in kind for kind in kinds["none"])


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in NORMS])
def test_torchvisions_networks_train(name: str) -> None:
    model = {"model.source": f"cifar.py:{name}", "model.arguments": {"num_classes": 3}}
    config = load(FOLDER / "resnet18.yaml", SMALL | model | {"train.augment": "none"})
    for group in groups(trials(config)):
        data = made_up_data(group, 16, side=32, channels=3, test=4)
        records = [each.record for each in finished(group, data)]
        assert np.isfinite(curve(records, group.numbers[0])[:, 0]).all()


@pytest.mark.parametrize(("name", "side"), [("lenet5", 28), ("mixer", 8), ("unet", 8)])
def test_small_networks_train_in_every_arm(name: str, side: int) -> None:
    config = load(FOLDER / f"{name}.yaml", SMALL | {"model.arguments": {"num_classes": 3}})
    for group in groups(trials(config)):
        records = [each.record for each in finished(group, made_up_data(group, 16, side=side, test=4))]
        assert np.isfinite(curve(records, group.numbers[0])).all()
