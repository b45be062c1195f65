"""The model section: short forms, layer counts, and settings that exclude each other."""

from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.model import DEFAULT_DEPTH, InitSettings, ModelSettings, NormSettings


@pytest.mark.parametrize(
    ("short", "resolved"),
    [
        ("before", NormSettings(kind="batch", placement="before")),
        ("after", NormSettings(kind="batch", placement="after")),
        ("none", NormSettings(kind="none")),
        ("batch", NormSettings(kind="batch")),
        ("layer", NormSettings(kind="layer")),
        ("group", NormSettings(kind="group")),
        ({"placement": "after", "eps": 1e-3}, NormSettings(placement="after", eps=1e-3)),
    ],
)
def test_norm_short_forms(short: object, resolved: NormSettings) -> None:
    assert ModelSettings.model_validate({"norm": short, "width": 16}).norm == resolved


@pytest.mark.parametrize("scheme", ["normal", "xavier", "he", "lecun", "orthogonal"])
def test_init_short_form(scheme: str) -> None:
    assert ModelSettings.model_validate({"init": scheme}).init == InitSettings.model_validate({"scheme": scheme})
    assert ModelSettings.model_validate({"init": scheme}).init.scale == 1.0


@pytest.mark.parametrize(
    ("raw", "widths"),
    [
        ({}, (100,) * DEFAULT_DEPTH),
        ({"width": 7}, (7,) * DEFAULT_DEPTH),
        ({"depth": 3, "width": 7}, (7, 7, 7)),
        ({"width": [300, 100]}, (300, 100)),
        ({"width": [300, 100], "depth": 2}, (300, 100)),
        ({"width": [5]}, (5,)),
    ],
)
def test_units_of_every_hidden_layer(raw: dict[str, Any], widths: tuple[int, ...]) -> None:
    assert ModelSettings.model_validate(raw).widths == widths


@pytest.mark.parametrize("bias", ["auto", True, False])
def test_bias_is_auto_or_a_boolean(bias: object) -> None:
    assert ModelSettings.model_validate({"bias": bias}).bias is bias or bias == "auto"


@pytest.mark.parametrize("layers", [{"norm": {"kind": "batch", "groups": 3}}, {"norm": "layer", "width": [7, 9]}])
def test_the_number_of_groups_matters_to_group_norm_alone(layers: dict[str, Any]) -> None:
    assert ModelSettings.model_validate(layers).norm.kind != "group"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"width": [300, 100], "depth": 3}, "model: depth 3 does not fit the 2 layers that width lists"),
        ({"norm": "group", "width": 20}, "model: norm.groups 8 does not divide the width 20"),
        (
            {"norm": {"kind": "group", "groups": 4}, "width": [8, 6]},
            "model: norm.groups 4 does not divide the width 6",
        ),
        ({"residual": True, "width": [8, 6]}, "model: residual: true needs hidden layers of one width"),
        (
            {"norm": "befor"},
            'model.norm: "befor": expected a mapping of keys, or one of before, after, none, batch, layer, group '
            "(nearest: before)",
        ),
        ({"norm": ["before"]}, 'model.norm: ["before"]: expected a mapping of keys'),
        (
            {"init": "xaver"},
            'model.init.scheme: "xaver": expected one of normal, xavier, he, lecun, orthogonal (nearest: xavier)',
        ),
        (
            {"activation": "sigmoyd"},
            'model.activation: "sigmoyd": expected one of relu, leaky_relu, elu, selu, gelu, silu, tanh, sigmoid, '
            "identity (nearest: sigmoid)",
        ),
        ({"bias": "no"}, 'model.bias: "no": expected auto, true or false'),
        ({"bias": 1}, "model.bias: 1: expected auto, true or false"),
        ({"width": 0}, "model.width: 0: expected a whole number of units above 0, or a list of them"),
        ({"width": []}, "model.width: []: expected a whole number of units above 0, or a list of them"),
        ({"width": [8, 0]}, "model.width: [8, 0]: expected a whole number of units above 0, or a list of them"),
        ({"width": "wide"}, 'model.width: "wide": expected a whole number of units above 0, or a list of them'),
        ({"widht": 8}, "model.widht: unknown key (nearest: model.width)"),
        ({"dropout": 1}, "model.dropout: 1: expected a number less than 1"),
        ({"norm": {"momentum": 0}}, "model.norm.momentum: 0: expected a number greater than 0"),
    ],
)
def test_a_wrong_value_is_refused_in_words(refused: Callable[..., list[str]], raw: dict[str, Any], line: str) -> None:
    assert refused({"model": raw, "arms": {"plain": {}}}) == [f"exp.yaml: {line}"]
