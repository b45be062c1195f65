"""VGG and ResNet: where images shrink, how much there is to learn, and shortcuts without weights."""

from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.nn.table import LayerRow, layer_table
from tests.helpers import noise
from tests.nn.plain import network

IMAGE = (2, 8, 8)
SMALL = {"vgg": {"family": "vgg", "depth": 5, "width": 4}, "resnet": {"family": "resnet", "depth": 8, "width": 4}}


@pytest.mark.parametrize(("family", "layers"), [("vgg", 1 + 3 + 4), ("resnet", 1 + 1 + 3 + 3 * 3)])
def test_activations_stay_channels_last_from_layer_to_layer(family: str, layers: int) -> None:
    built = network(SMALL[family], [0, 3], IMAGE).float()
    seen: list[torch.Tensor] = []
    for each in built.modules():
        if isinstance(each, nn.Sequential) and len(each):
            each.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    built(noise(1, 4, 128).float())
    assert len(seen) == layers
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in seen)


@pytest.mark.parametrize(
    ("image", "poolings", "left"),
    [
        ((1, 28, 28), 4, (1, 1)),
        ((1, 1, 1), 0, (1, 1)),
        ((3, 64, 64), 5, (2, 2)),
        ((1, 4, 16), 2, (1, 4)),
    ],
)
def test_pictures_are_halved_until_a_side_is_one_pixel(
    image: tuple[int, int, int], poolings: int, left: tuple[int, int]
) -> None:
    model = ModelSettings.model_validate({"family": "vgg", "depth": 11, "width": 2})
    rows = layer_table(model, image, 10)
    assert sum(row.kind == "maxpool2d" for row in rows) == poolings
    assert rows[-2].shape == (16, *left)
    assert (rows[-1].kind, rows[-1].shape) == ("Linear", (10,))


@pytest.mark.parametrize(("depth", "norm"), [(11, "none"), (13, "batch"), (16, "none"), (19, "batch")])
def test_the_convolutions_learn_as_many_numbers_as_torchvisions(depth: int, norm: str) -> None:
    from torchvision import models  # takes seconds, which workers with other tests do without

    name = f"vgg{depth}" + ("_bn" if norm == "batch" else "")
    with torch.device("meta"):
        theirs = getattr(models, name)(weights=None).features
    model = ModelSettings.model_validate({"family": "vgg", "depth": depth, "bias": True, "norm": norm})
    rows = layer_table(model, (3, 32, 32), 10)
    assert sum(row.trainable for row in rows[:-1]) == sum(theta.numel() for theta in theirs.parameters())
    assert [row.shape[0] for row in rows if row.kind == "Conv2d"] == [
        each.out_channels for each in theirs if isinstance(each, nn.Conv2d)
    ]
    assert sum(row.kind == "maxpool2d" for row in rows) == sum(isinstance(each, nn.MaxPool2d) for each in theirs) == 5


def table(image: tuple[int, int, int] = (3, 32, 32), **raw: Any) -> list[LayerRow]:
    return layer_table(ModelSettings.model_validate({"family": "resnet", "activation": "relu", **raw}), image, 10)


@pytest.mark.parametrize(("depth", "learned"), [(20, 269_722), (56, 853_018), (110, 1_727_962)])
def test_the_paper_networks_have_the_numbers_that_they_are_known_for(depth: int, learned: int) -> None:
    rows = table(depth=depth)
    assert sum(row.trainable for row in rows) == learned
    assert sum(row.macs > 0 for row in rows) == depth
    # A mean and a variance for every γ and β.
    norms = [row for row in rows if row.kind == "BatchNorm"]
    assert len(norms) == depth - 1
    assert all(row.trainable == row.fixed == 2 * row.shape[0] for row in norms)


@pytest.mark.parametrize(
    ("image", "shapes"),
    [
        ((3, 32, 32), [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ((1, 9, 5), [(16, 9, 5), (32, 5, 3), (64, 3, 2)]),
    ],
)
def test_the_second_and_third_stage_have_half_the_size_and_twice_the_channels(
    image: tuple[int, int, int], shapes: list[tuple[int, ...]]
) -> None:
    rows = table(image, depth=20)
    for stage, shape in enumerate(shapes):
        assert {row.shape for row in rows if row.name.startswith(f"stages.{stage}.")} == {shape}
    assert rows[-1].trainable == 64 * 10 + 10
