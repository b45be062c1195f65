"""The model section: short forms, layer counts, and settings that exclude each other."""

from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.model import FAMILIES, ModelSettings
from bnexp.config.norm import NormSettings


@pytest.mark.parametrize(
    ("short", "resolved"),
    [
        ("before", NormSettings(kind="batch", placement="before")),
        ("after", NormSettings(kind="batch", placement="after")),
        ("batch", NormSettings(kind="batch")),
        ("whiten", NormSettings(kind="whiten")),
        ({"addition": "after"}, NormSettings(kind="batch", placement="before", addition="after")),
        ({"placement": "after", "eps": 1e-3}, NormSettings(placement="after", eps=1e-3)),
    ],
)
def test_norm_short_forms(short: object, resolved: NormSettings) -> None:
    assert ModelSettings.model_validate({"norm": short, "width": 16}).norm == resolved


@pytest.mark.parametrize(
    ("raw", "widths"),
    [
        ({}, (100,) * FAMILIES["mlp"].depth),
        ({"depth": 3, "width": 7}, (7, 7, 7)),
        ({"width": [300, 100]}, (300, 100)),
        ({"family": "rnn"}, (100,)),
        ({"family": "rnn", "width": [8, 6]}, (8, 6)),
    ],
)
def test_units_of_every_hidden_layer(raw: dict[str, Any], widths: tuple[int, ...]) -> None:
    model = ModelSettings.model_validate(raw)
    assert (model.widths, model.layers) == (widths, len(widths))


@pytest.mark.parametrize(
    ("raw", "layers", "widths"),
    [
        ({"family": "vgg"}, 11, (64, 128, 256, 512, 512)),
        ({"family": "vgg", "depth": 5, "width": 8}, 5, (8, 16, 32)),
        ({"family": "vgg", "depth": 11, "width": 2}, 11, (2, 4, 8, 16, 16)),
        ({"family": "vgg", "depth": 19, "width": 1}, 19, (1, 2, 4, 8, 8)),
        ({"family": "resnet"}, 20, (16, 32, 64)),
        ({"family": "resnet", "depth": 110, "width": 4.0}, 110, (4, 8, 16)),
    ],
)
def test_channels_of_every_stage(raw: dict[str, Any], layers: int, widths: tuple[int, ...]) -> None:
    model = ModelSettings.model_validate(raw)
    assert (model.layers, model.widths) == (layers, widths)


@pytest.mark.parametrize(
    "layers",
    [
        {"norm": {"kind": "batch", "groups": 3, "group_size": 7}},
        {"norm": {"kind": "group", "groups": 4, "group_size": 3}},
        {"norm": "whiten", "width": 7},
        {"norm": {"kind": "group", "groups": 2}, "family": "resnet", "width": 2},
    ],
)
def test_groups_matter_to_the_kind_of_norm_that_has_them_and_must_divide_there(layers: dict[str, Any]) -> None:
    assert ModelSettings.model_validate(layers).norm == NormSettings.model_validate(layers["norm"])


@pytest.mark.parametrize("network", [{"family": "resnet"}, {"residual": True}, {"residual": True, "depth": 3}])
def test_fixup_is_for_residual_networks_without_norm(network: dict[str, Any]) -> None:
    assert ModelSettings.model_validate(network | {"init": "fixup", "norm": "none"}).init.scheme == "fixup"


SIX_N = "a resnet has 6n+2 layers; take 8, 14, 20, 32, 44, 56, 110 or another of them"
FIXUP_NEEDS_BLOCKS = "model: init fixup is for residual networks: family resnet, or mlp with residual: true"
FIXUP_INSTEAD_OF_NORM = "model: init fixup stands in for norm layers; set norm.kind: none with it"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"width": [300, 100], "depth": 3}, "model: depth 3 does not fit the 2 layers that width lists"),
        ({"norm": "group", "width": 20}, "model: norm.groups 8 does not divide the width 20"),
        ({"residual": True, "width": [8, 6]}, "model: residual: true needs hidden layers of one width"),
        ({"family": "cnn"}, 'model.family: "cnn": expected one of mlp, vgg, resnet, rnn (nearest: vgg)'),
        ({"family": "vgg", "depth": 12}, "model: depth 12: a vgg has 5, 11, 13, 16, 19 layers"),
        *(({"family": "resnet", "depth": depth}, f"model: depth {depth}: {SIX_N}") for depth in (1, 2, 9, 18, 34)),
        (
            {"family": "vgg", "width": [8, 16, 32]},
            "model: width: a vgg takes one number, the channels of its first stage",
        ),
        (
            {"family": "vgg", "residual": True},
            "model: residual: true is for family mlp; vgg has the connections that it has",
        ),
        ({"norm": {"kind": "whiten", "group_size": 3}}, "model: norm.group_size 3 does not divide the width 100"),
        ({"norm": {"addition": "behind"}}, 'model.norm.addition: "behind": expected one of before, after'),
        ({"init": "fixup", "norm": "none"}, FIXUP_NEEDS_BLOCKS),
        ({"init": "fixup", "family": "resnet"}, FIXUP_INSTEAD_OF_NORM),
        (
            {"norm": "befor"},
            'model.norm: "befor": expected a mapping of keys, or one of before, after, none, batch, layer, group, '
            "whiten, noisy_batch (nearest: before)",
        ),
        ({"norm": ["before"]}, 'model.norm: ["before"]: expected a mapping of keys; write before'),
        (
            {"init": "xaver"},
            'model.init.scheme: "xaver": expected one of normal, xavier, he, lecun, orthogonal, fixup '
            "(nearest: xavier)",
        ),
        (
            {"activation": "sigmoyd"},
            'model.activation: "sigmoyd": expected one of relu, leaky_relu, elu, selu, gelu, silu, tanh, sigmoid, '
            "identity (nearest: sigmoid)",
        ),
        ({"bias": "no"}, 'model.bias: "no": expected auto, true or false'),
        ({"width": 0}, "model.width: 0: expected a whole number of units above 0, or a list of them"),
        ({"width": [8, 0]}, "model.width: [8, 0]: expected a whole number of units above 0, or a list of them"),
        ({"dropout": 1}, "model.dropout: 1: expected a number less than 1"),
        *(
            (
                {"family": "rnn", "norm": kind},
                f"model: norm.kind: {kind} is not for family rnn; set none, batch, layer or group",
            )
            for kind in ("whiten", "noisy_batch")
        ),
        *(
            (
                {"family": "rnn", "norm": norm},
                "model: norm.placement: after is not for family rnn, which normalises what enters the activation; "
                "set before",
            )
            for norm in ("after", {"kind": "layer", "placement": "after"})
        ),
        *(
            (
                {"family": "rnn", "dropout_at": where},
                f"model: dropout_at: {where} is not for family rnn, which drops what a layer hands up; set each",
            )
            for where in ("before_norm", "after_norm", "last")
        ),
        (
            {"family": "rnn", "norm": {"kind": "group", "groups": 8}},
            "model: norm.groups 8 does not divide the width 100",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_words(refused: Callable[..., list[str]], raw: dict[str, Any], line: str) -> None:
    assert refused({"model": raw, "arms": {"plain": {}}}) == [f"exp.yaml: {line}"]
