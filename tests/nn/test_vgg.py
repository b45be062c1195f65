"""VGG: which layers stand where, where pooling stops, how much there is to learn, and the forward pass by hand."""

from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import nn

from bnexp.config.model import ActivationName, ModelSettings
from bnexp.config.norm import NORMS
from bnexp.nn.build import skeleton
from bnexp.nn.table import layer_table
from tests.helpers import EXACT_FLOAT64, assert_close, noise
from tests.nn.plain import assert_equals_plain, network, seed_draws

IMAGE = (2, 8, 8)
SMALL: dict[str, Any] = {"family": "vgg", "depth": 5, "width": 4, "activation": "tanh"}


def small(**raw: Any) -> nn.Module:
    return skeleton([ModelSettings.model_validate(SMALL | raw)], IMAGE, 3, seed_draws([0]))


def kinds(stage: nn.Module) -> list[str]:
    """What a stage consists of, a hidden layer as its steps."""
    return [
        "pool" if isinstance(each, nn.MaxPool2d) else " ".join(dict(each.named_children())) for each in stage.children()
    ]


@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize("kind", NORMS)
def test_the_forward_pass_equals_one_written_by_hand(kind: str, placement: str) -> None:
    norm = {"kind": kind, "placement": placement, "groups": 2, "group_size": 2, "input": True}
    assert_equals_plain(SMALL | {"norm": norm}, IMAGE)


@pytest.mark.parametrize("where", ["each", "before_norm", "after_norm", "last"])
@pytest.mark.parametrize("placement", ["before", "after"])
def test_with_dropout_it_does_too(where: str, placement: str) -> None:
    norm = {"placement": placement, "input": True}
    assert_equals_plain(SMALL | {"dropout": 0.4, "dropout_at": where, "norm": norm}, IMAGE)


@pytest.mark.parametrize("activation", get_args(ActivationName))
def test_with_every_activation_it_does_too(activation: str) -> None:
    assert_equals_plain(SMALL | {"activation": activation}, IMAGE)


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
@pytest.mark.parametrize("image", [(1, 9, 5), (3, 4, 4)])
def test_at_every_depth_it_does_too(depth: int, image: tuple[int, int, int]) -> None:
    assert_equals_plain({"family": "vgg", "depth": depth, "width": 2, "activation": "relu"}, image)


@pytest.mark.parametrize("apart", [True, False])
def test_one_input_for_all_trials_is_one_for_each(apart: bool) -> None:
    built = network(SMALL | {"norm": {"input": apart}}, [0, 0, 3], IMAGE)
    x_1BP = noise(1, 4, 128)
    assert_close(built(x_1BP).detach(), built(x_1BP.expand(3, -1, -1)).detach(), EXACT_FLOAT64)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"norm": "none"}, "conv activation"),
        ({"norm": "before"}, "conv norm activation"),
        ({"norm": "after"}, "conv activation norm"),
        ({"norm": "noisy_batch"}, "conv norm noise activation"),
        ({"norm": "before", "dropout": 0.5}, "conv norm activation dropout"),
        ({"norm": "before", "dropout": 0.5, "dropout_at": "before_norm"}, "conv dropout norm activation"),
        ({"norm": "after", "dropout": 0.5, "dropout_at": "after_norm"}, "conv activation norm dropout"),
        ({"norm": "none", "dropout": 0.5, "dropout_at": "after_norm"}, "conv dropout activation"),
    ],
)
def test_layers_stand_where_the_settings_say(raw: dict[str, Any], expected: str) -> None:
    stages = list(small(**raw).get_submodule("stages"))
    assert [kinds(stage) for stage in stages] == [[expected, "pool"], [expected, "pool"], [expected, expected, "pool"]]


@pytest.mark.parametrize(
    ("image", "poolings", "left"),
    [
        ((3, 32, 32), 5, (1, 1)),
        ((1, 28, 28), 4, (1, 1)),
        ((1, 8, 8), 3, (1, 1)),
        ((1, 1, 1), 0, (1, 1)),
        ((3, 64, 64), 5, (2, 2)),
        ((1, 4, 16), 2, (1, 4)),
        ((1, 16, 1), 0, (16, 1)),
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


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_the_convolutions_learn_as_many_numbers_as_torchvisions(depth: int, norm: str) -> None:
    name = f"vgg{depth}" + ("_bn" if norm == "batch" else "")
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None).features
    model = ModelSettings.model_validate({"family": "vgg", "depth": depth, "bias": True, "norm": norm})
    rows = layer_table(model, (3, 32, 32), 10)
    assert sum(row.trainable for row in rows[:-1]) == sum(theta.numel() for theta in theirs.parameters())
    assert [row.shape[0] for row in rows if row.kind == "Conv2d"] == [
        each.out_channels for each in theirs if isinstance(each, nn.Conv2d)
    ]
    assert sum(row.kind == "maxpool2d" for row in rows) == sum(isinstance(each, nn.MaxPool2d) for each in theirs) == 5


def test_the_layers_with_weights_are_as_many_as_the_depth_says() -> None:
    # Of the paper's three fully connected layers only the last is left.
    for depth, hidden in ((5, 0), (11, 2), (13, 2), (16, 2), (19, 2)):
        rows = layer_table(ModelSettings.model_validate({"family": "vgg", "depth": depth, "width": 2}), (3, 8, 8), 3)
        assert sum(row.macs > 0 for row in rows) + hidden == depth


def test_activations_stay_channels_last_from_layer_to_layer() -> None:
    built, seen = small(norm="before").float(), []
    for each in built.modules():
        if isinstance(each, nn.Sequential) and len(each):
            each.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    built(noise(1, 4, 128).float())
    assert len(seen) == 1 + 3 + 4
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in seen)
