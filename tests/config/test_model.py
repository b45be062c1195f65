"""The model section: short forms, and layer counts."""

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


@pytest.mark.parametrize("scheme", ["fixup", "skipinit"])
@pytest.mark.parametrize("network", [{"family": "resnet"}, {"residual": True}, {"residual": True, "depth": 3}])
def test_learned_scalars_are_for_residual_networks_without_norm(network: dict[str, Any], scheme: str) -> None:
    assert ModelSettings.model_validate(network | {"init": scheme, "norm": "none"}).init.scheme == scheme
