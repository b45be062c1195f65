"""ResNet: the paper's sizes and counts, its shortcuts without weights, and the forward pass by hand."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from bnexp.config.model import ActivationName, ModelSettings
from bnexp.config.norm import NORMS
from bnexp.nn.convolutional import _padded
from bnexp.nn.table import LayerRow, layer_table
from tests.helpers import EXACT_FLOAT64, assert_close, noise
from tests.nn.plain import assert_equals_plain, network

IMAGE = (2, 8, 8)
SMALL: dict[str, Any] = {"family": "resnet", "depth": 8, "width": 4, "activation": "tanh"}


def table(image: tuple[int, int, int] = (3, 32, 32), **raw: Any) -> list[LayerRow]:
    return layer_table(ModelSettings.model_validate({"family": "resnet", "activation": "relu", **raw}), image, 10)


@pytest.mark.parametrize("addition", ["before", "after"])
@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize("kind", NORMS)
def test_the_forward_pass_equals_one_written_by_hand(kind: str, placement: str, addition: str) -> None:
    norm = {"kind": kind, "placement": placement, "addition": addition, "groups": 2, "group_size": 2, "input": True}
    assert_equals_plain(SMALL | {"norm": norm}, IMAGE)


@pytest.mark.parametrize("where", ["each", "before_norm", "after_norm", "last"])
@pytest.mark.parametrize("addition", ["before", "after"])
@pytest.mark.parametrize("placement", ["before", "after"])
def test_with_dropout_it_does_too(where: str, addition: str, placement: str) -> None:
    norm = {"placement": placement, "addition": addition}
    assert_equals_plain(SMALL | {"dropout": 0.4, "dropout_at": where, "norm": norm}, IMAGE)


@pytest.mark.parametrize("activation", get_args(ActivationName))
def test_with_every_activation_it_does_too(activation: str) -> None:
    assert_equals_plain(SMALL | {"activation": activation}, IMAGE)


@pytest.mark.parametrize("image", [(1, 9, 5), (3, 4, 4), (2, 1, 1), (1, 7, 7)])
def test_with_several_blocks_a_stage_and_odd_sides_it_does_too(image: tuple[int, int, int]) -> None:
    assert_equals_plain({"family": "resnet", "depth": 20, "width": 2, "activation": "relu"}, image)


@pytest.mark.parametrize("depth", [8, 14])
def test_with_fixup_it_does_too(depth: int) -> None:
    assert_equals_plain(SMALL | {"depth": depth, "norm": "none", "init": "fixup"}, IMAGE)


@pytest.mark.parametrize("apart", [True, False])
def test_one_input_for_all_trials_is_one_for_each(apart: bool) -> None:
    built = network(SMALL | {"norm": {"input": apart}}, [0, 0, 3], IMAGE)
    x_1BP = noise(1, 4, 128)
    assert_close(built(x_1BP).detach(), built(x_1BP.expand(3, -1, -1)).detach(), EXACT_FLOAT64)


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
        ((1, 28, 28), [(16, 28, 28), (32, 14, 14), (64, 7, 7)]),
        ((1, 8, 8), [(16, 8, 8), (32, 4, 4), (64, 2, 2)]),
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


def test_layers_stand_in_the_order_of_the_paper() -> None:
    names = [row.name for row in table(depth=8, width=4)]
    block = ["first.conv", "first.norm", "first.activation", "second.conv", "second.norm", "joined.activation"]
    stages = [f"stages.{stage}.0.{step}" for stage in range(3) for step in block]
    assert names == ["stem.conv", "stem.norm", "stem.activation", *stages, "output"]


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("sides", [(8, 8), (7, 4), (1, 1)])
def test_the_shortcut_is_every_second_pixel_with_channels_of_zeros_behind_each_trials_own(
    trials: int, sides: tuple[int, int]
) -> None:
    x_BDHW = noise(2, trials * 3, *sides)
    padded = _padded(x_BDHW, features=3, channels=6)
    halved = tuple((side + 1) // 2 for side in sides)
    assert padded.shape == (2, trials * 6, *halved)
    assert padded.is_contiguous(memory_format=torch.channels_last)
    expected = torch.zeros(2, trials, 6, *halved, dtype=torch.float64)
    for row in range(halved[0]):
        for column in range(halved[1]):
            for k in range(trials):
                expected[:, k, :3, row, column] = x_BDHW[:, 3 * k : 3 * k + 3, 2 * row, 2 * column]
    assert torch.equal(padded, expected.flatten(1, 2))


def test_activations_stay_channels_last_from_layer_to_layer() -> None:
    built = network(SMALL | {"norm": "before"}, [0, 3], IMAGE).float()
    seen: list[torch.Tensor] = []
    for each in built.modules():
        if isinstance(each, nn.Sequential) and len(each):
            each.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    built(noise(1, 4, 128).float())
    assert len(seen) == 1 + 1 + 3 + 3 * 3
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in seen)
