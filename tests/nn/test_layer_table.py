"""The layer table: the counts of a book's two networks, and that it agrees with the networks it describes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.config.load import load
from bnexp.config.model import ModelSettings
from bnexp.nn.build import build
from bnexp.nn.table import LayerRow, layer_table

CONFIGS = Path(__file__).parents[2] / "configs"


def shipped_table(name: str) -> list[LayerRow]:
    config = load(CONFIGS / name)
    (arm,) = config.arms
    return layer_table(config.settings(arm, {}).model, 784, 10)


def totals(rows: list[LayerRow]) -> tuple[int, int, int]:
    return sum(row.parameters for row in rows), sum(row.trainable for row in rows), sum(row.fixed for row in rows)


def test_the_book_network_with_batch_norm_after_the_activation() -> None:
    rows = shipped_table("hands_on_elu.yaml")
    assert [row.parameters for row in rows if row.kind == "BatchNorm"] == [3136, 1200, 400]
    assert all(row.trainable == row.fixed for row in rows if row.kind == "BatchNorm")
    assert [row.parameters for row in rows if row.kind == "Linear"] == [235_500, 30_100, 1_010]
    assert totals(rows) == (271_346, 268_978, 2_368)


def test_the_book_network_with_batch_norm_before_the_activation_and_no_biases() -> None:
    rows = shipped_table("hands_on_elu_before.yaml")
    assert [row.kind for row in rows] == ["BatchNorm", *["Linear", "BatchNorm", "elu"] * 2, "Linear"]
    assert [row.parameters for row in rows if row.kind == "Linear"] == [235_200, 30_000, 1_010]
    assert totals(rows)[0] == 270_946


def test_rows_stand_in_the_order_of_the_data_with_the_features_that_they_hand_on() -> None:
    rows = layer_table(ModelSettings(width=(5, 7), activation="relu"), 9, 3)
    assert [(row.name, row.kind, row.output) for row in rows] == [
        ("hidden.0.linear", "Linear", 5),
        ("hidden.0.norm", "BatchNorm", 5),
        ("hidden.0.activation", "relu", 5),
        ("hidden.1.linear", "Linear", 7),
        ("hidden.1.norm", "BatchNorm", 7),
        ("hidden.1.activation", "relu", 7),
        ("output", "Linear", 3),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {"norm": "none"},
        {"norm": {"input": True}},
        {"norm": {"affine": "gamma"}},
        {"norm": {"affine": "none", "placement": "after"}},
        {"norm": "layer"},
        {"norm": {"kind": "group", "groups": 2}, "residual": True},
    ],
)
def test_the_table_counts_what_the_network_has(raw: dict[str, Any]) -> None:
    model = ModelSettings.model_validate({"depth": 3, "width": 6, **raw})
    network, _ = build([model], [0], 9, 3, torch.device("cpu"))
    learned = sum(parameter.numel() for parameter in network.parameters())
    state = sum(tensor.numel() for tensor in network.state_dict().values())
    assert totals(layer_table(model, 9, 3)) == (state, learned, state - learned)


def test_a_network_too_large_for_any_memory_can_be_described() -> None:
    assert totals(layer_table(ModelSettings(width=(10**6, 10**6), norm={"kind": "none"}), 784, 10))[0] > 10**12
