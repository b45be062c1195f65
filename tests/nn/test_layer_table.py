"""The layer table: the counts of a book's two networks, and that it agrees with the networks it describes."""

from math import prod
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.load import load
from bnexp.config.model import FAMILIES, VGG_STAGES, ModelSettings
from bnexp.nn.build import skeleton
from bnexp.nn.table import LayerRow, layer_table
from tests.nn.plain import seed_draws

CONFIGS = Path(__file__).parents[2] / "configs"


def shipped_table(name: str) -> list[LayerRow]:
    config = load(CONFIGS / name)
    (arm,) = config.arms
    return layer_table(config.settings(arm, {}).model, (1, 28, 28), 10)


def totals(rows: list[LayerRow]) -> tuple[int, int, int]:
    return sum(row.parameters for row in rows), sum(row.trainable for row in rows), sum(row.fixed for row in rows)


def test_the_book_network_with_batch_norm_after_the_activation() -> None:
    rows = shipped_table("hands_on_elu.yaml")
    assert [row.parameters for row in rows if row.kind == "BatchNorm"] == [3136, 1200, 400]
    assert all(row.trainable == row.fixed for row in rows if row.kind == "BatchNorm")
    assert [row.parameters for row in rows if row.kind == "Linear"] == [235_500, 30_100, 1_010]
    assert totals(rows) == (271_346, 268_978, 2_368)


def test_rows_stand_in_the_order_of_the_data_with_the_features_that_they_hand_on() -> None:
    rows = layer_table(ModelSettings(width=(5, 7), activation="relu"), (1, 3, 3), 3)
    assert [(row.name, row.kind, row.shape, row.output, row.macs) for row in rows] == [
        ("hidden.0.linear", "Linear", (5,), 5, 45),
        ("hidden.0.norm", "BatchNorm", (5,), 5, 0),
        ("hidden.0.activation", "relu", (5,), 5, 0),
        ("hidden.1.linear", "Linear", (7,), 7, 35),
        ("hidden.1.norm", "BatchNorm", (7,), 7, 0),
        ("hidden.1.activation", "relu", (7,), 7, 0),
        ("output", "Linear", (3,), 3, 21),
    ]


def test_rows_of_convolutions_have_channels_and_sides_and_a_product_for_every_weight_at_every_place() -> None:
    rows = layer_table(ModelSettings(family="vgg", depth=5, width=2, activation="relu"), (3, 7, 6), 3)
    assert [(row.name, row.kind, row.shape, row.output, row.macs) for row in [*rows[:5], rows[-1]]] == [
        ("stages.0.0.conv", "Conv2d", (2, 7, 6), 84, 27 * 84),
        ("stages.0.0.norm", "BatchNorm", (2, 7, 6), 84, 0),
        ("stages.0.0.activation", "relu", (2, 7, 6), 84, 0),
        ("stages.0.1", "maxpool2d", (2, 3, 3), 18, 0),
        ("stages.1.0.conv", "Conv2d", (4, 3, 3), 36, 18 * 36),
        ("output", "Linear", (3,), 3, 24),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {"norm": "none"},
        {"norm": {"input": True}},
        {"norm": {"affine": "gamma"}},
        {"norm": {"affine": "none", "placement": "after"}},
        {"norm": {"kind": "group", "groups": 2}, "residual": True},
        {"norm": {"kind": "noisy_batch", "input": True}},
        {"norm": "mean"},
        {"family": "vgg", "depth": 5, "norm": "instance"},
        {"norm": "none", "residual": True, "init": "fixup"},
        {"norm": "none", "residual": True, "init": "skipinit"},
        {"weights": "scaled", "residual": True},
        {"weights": "standardized", "family": "vgg", "depth": 5},
        {"family": "vgg", "depth": 5, "norm": {"kind": "whiten", "group_size": 3}},
        {"family": "resnet", "depth": 8, "norm": {"addition": "after"}},
        {"family": "resnet", "depth": 14, "norm": "none", "init": "fixup"},
        {"family": "rnn", "norm": {"steps": "shared", "input": True}},
        {"family": "rnn", "norm": {"affine": "none"}},
    ],
)
def test_the_table_counts_what_the_network_has(raw: dict[str, Any]) -> None:
    model = ModelSettings.model_validate({"depth": 3, "width": 6, **raw})
    image = (3, 8, 8)
    network = skeleton([model], image, 3, seed_draws([0]))
    learned = sum(parameter.numel() for parameter in network.parameters())
    state = sum(tensor.numel() for tensor in network.state_dict().values())
    assert totals(layer_table(model, image, 3)) == (state, learned, state - learned)


def test_for_training_there_are_rows_for_what_only_training_has() -> None:
    model = ModelSettings(width=(5,), activation="relu", dropout=0.5, norm={"kind": "noisy_batch"})
    names = [row.name for row in layer_table(model, (1, 3, 3), 3)]
    trained = [row.name for row in layer_table(model, (1, 3, 3), 3, training=True)]
    first, rest = ["hidden.0.linear", "hidden.0.norm"], "hidden.0.activation"
    assert names == [*first, rest, "output"]
    assert trained == [*first, "hidden.0.noise", rest, "hidden.0.dropout", "output"]


def test_a_network_too_large_for_any_memory_can_be_described() -> None:
    assert totals(layer_table(ModelSettings(width=(10**6, 10**6), norm={"kind": "none"}), (1, 28, 28), 10))[0] > 10**12


@pytest.mark.parametrize("image", [(1, 1, 1), (3, 9, 5), (3, 32, 32)])
@pytest.mark.parametrize(
    ("family", "depth"),
    [("mlp", 2), ("rnn", 1), *(("vgg", depth) for depth in VGG_STAGES), ("resnet", 8), ("resnet", 14)],
)
def test_the_fewest_places_are_those_of_the_norm_layers(family: str, depth: int, image: tuple[int, int, int]) -> None:
    norm = {"addition": "after", "input": family in ("vgg", "resnet")}
    model = ModelSettings.model_validate({"family": family, "depth": depth, "width": 2, "norm": norm})
    norms = [row.shape for row in layer_table(model, image, 3) if "BatchNorm" in row.kind]
    places = [prod(shape[1:]) if len(shape) == 3 else 1 for shape in norms]
    assert FAMILIES[family].fewest_places(depth, image) == min(places)


def test_rows_are_json_under_the_names_that_scripts_know() -> None:
    row = layer_table(ModelSettings(depth=1, width=8), (1, 2, 2), 3)[0].as_json()
    named = {"name": "hidden.0.linear", "kind": "Linear", "shape": (8,)}
    assert row == named | {"trainable": 32, "fixed": 0, "products": 32, "output": 8}
