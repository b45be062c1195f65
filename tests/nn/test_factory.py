"""Which layers have biases, and how Fixup lets residual blocks start; what stands where is in test_forward.py."""

from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.nn.build import build
from bnexp.nn.factory import ResidualBlock
from bnexp.nn.layers import Conv2d, Linear, ScalarBias, ScalarMultiplier
from tests.helpers import EXACT_FLOAT64, assert_close, noise
from tests.nn.plain import CPU, seed_draws

IMAGE, CLASSES = (2, 4, 4), 3
FAMILIES: dict[str, dict[str, Any]] = {
    "plain": {"depth": 2, "width": 8},
    "mlp": {"depth": 5, "width": 6, "residual": True},
    "resnet": {"family": "resnet", "depth": 14, "width": 2},
}
RESIDUAL = ("mlp", "resnet")
WEIGHTS = {"mlp": "linear", "resnet": "conv"}


def built(family: str, seeds: list[int] | None = None, **raw: Any) -> nn.Module:
    seeds = seeds or [0]
    models = [ModelSettings.model_validate(FAMILIES[family] | {"activation": "relu"} | raw)] * len(seeds)
    return build(models, seeds, IMAGE, CLASSES, seed_draws(seeds), CPU, torch.float64)


def fixup(family: str, seeds: list[int] | None = None, **raw: Any) -> nn.Module:
    return built(family, seeds, norm="none", init="fixup", **raw)


def blocks(network: nn.Module) -> list[ResidualBlock]:
    return [module for module in network.modules() if isinstance(module, ResidualBlock)]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"norm": "before"}, False),
        ({"norm": "after"}, True),
        ({"norm": "none"}, True),
        ({"norm": "layer"}, True),
        ({"norm": "before", "dropout_at": "before_norm"}, True),
        ({"norm": "before", "dropout_at": "after_norm"}, False),
        ({"norm": "whiten"}, False),
        ({"norm": "mean"}, False),
        ({"norm": "variance"}, True),
        ({"norm": "rms"}, True),
        ({"norm": {"kind": "whiten", "placement": "after"}}, True),
        ({"norm": "before", "bias": True}, True),
        ({"norm": "none", "bias": False}, False),
    ],
)
def test_auto_leaves_the_bias_out_where_batch_norm_comes_next(raw: dict[str, Any], expected: bool) -> None:
    network = built("plain", **raw)
    *hidden, output = (layer for layer in network.modules() if isinstance(layer, Linear))
    assert [layer.bias is not None for layer in hidden] == [expected, expected]
    assert output.bias is not None
    assert not output.bias.any()


@pytest.mark.parametrize("family", RESIDUAL)
@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ({"placement": "before", "addition": "before"}, (False, False)),
        ({"placement": "before", "addition": "after"}, (False, False)),
        ({"placement": "after", "addition": "before"}, (True, False)),
        ({"placement": "after", "addition": "after"}, (True, True)),
        ({"kind": "layer"}, (True, True)),
        ({"kind": "variance"}, (True, True)),
        ({"kind": "none"}, (True, True)),
    ],
)
def test_auto_leaves_out_the_bias_in_front_of_a_norm_over_the_batch(
    norm: dict[str, Any], expected: tuple[bool, bool], family: str
) -> None:
    for block in blocks(built(family, norm=norm)):
        parts = [part.get_submodule(WEIGHTS[family]) for part in (block.first, block.second)]
        assert tuple(part.bias is not None for part in parts) == expected


@pytest.mark.parametrize("family", RESIDUAL)
def test_under_fixup_all_logits_start_at_exactly_zero(family: str) -> None:
    logits_KBC = fixup(family, [0, 3])(noise(1, 5, 32))
    assert torch.equal(logits_KBC, torch.zeros(2, 5, CLASSES, dtype=torch.float64))


GAINS = [
    ("mlp", {"depth": 6}, 2),
    ("mlp", {"depth": 9}, 4),
    ("resnet", {"depth": 14}, 6),
]


@pytest.mark.parametrize(("family", "raw", "count"), GAINS)
def test_fixup_shrinks_the_first_layers_of_branches_by_the_root_of_the_number_of_blocks(
    family: str, raw: dict[str, Any], count: int
) -> None:
    network = fixup(family, **raw)
    assert len(blocks(network)) == count
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            first, second = (part.get_submodule(WEIGHTS[family]) for part in (module.first, module.second))
            assert (first.fixup_gain, second.fixup_gain) == (count**-0.5, 0.0)
    within = {id(each) for block in blocks(network) for each in block.modules()}
    others = [each for each in network.modules() if isinstance(each, Linear | Conv2d) and id(each) not in within]
    assert not any(bool(second.weight.any()) for _, second in map(weights, blocks(network)))
    # The stem, the one hidden layer that an even depth leaves over, and the output.
    left_over = family == "mlp" and raw["depth"] % 2 == 0
    assert [each.fixup_gain for each in others] == [1.0] * (1 + left_over) + [0.0]


@pytest.mark.parametrize("family", RESIDUAL)
def test_fixups_scalars_take_the_place_of_biases_unless_they_are_asked_for(family: str) -> None:
    assert not any(layer.bias is not None for block in blocks(fixup(family)) for layer in weights(block))
    assert all(layer.bias is not None for block in blocks(fixup(family, bias=True)) for layer in weights(block))


@pytest.mark.parametrize("family", RESIDUAL)
def test_under_skipinit_every_block_starts_as_a_way_around_its_branch(family: str) -> None:
    for block in blocks(built(family, norm="none", init="skipinit")):
        assert all(layer.bias is not None and bool(layer.weight.any()) for layer in weights(block))
        features = weights(block)[0].weight.shape[2]
        x = noise(6, features).relu()[None] if family == "mlp" else noise(3, features, 4, 4).relu()
        skip = x if block._shortcut is None else block._shortcut(x)
        assert torch.equal(block(x), skip)


def weights(block: ResidualBlock) -> list[Linear | Conv2d]:
    return [module for module in block.modules() if isinstance(module, Linear | Conv2d)]


@pytest.mark.parametrize("kind", [ScalarBias, ScalarMultiplier])
def test_a_scalar_learns_at_a_tenth_of_the_rate(kind: type[ScalarBias] | type[ScalarMultiplier]) -> None:
    layer, x_KBC = kind(1).double(), noise(1, 6, 3)
    scalar = torch.tensor(float(kind is ScalarMultiplier), dtype=torch.float64, requires_grad=True)
    ours = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9)
    theirs = torch.optim.SGD([scalar], lr=0.001, momentum=0.9)
    for _ in range(5):
        plain_KBC = x_KBC * scalar if kind is ScalarMultiplier else x_KBC + scalar
        assert_close(layer(x_KBC).detach(), plain_KBC.detach(), EXACT_FLOAT64)
        for optimizer, y_KBC in ((ours, layer(x_KBC)), (theirs, plain_KBC)):
            optimizer.zero_grad()
            (y_KBC - 1).square().sum().backward()
            optimizer.step()
