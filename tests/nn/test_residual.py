"""Residual blocks: what stands in the branch, and what behind the addition; and how Fixup lets them start."""

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
    "mlp": {"depth": 5, "width": 6, "residual": True},
    "resnet": {"family": "resnet", "depth": 14, "width": 2},
}
WEIGHTS = {"mlp": "linear", "resnet": "conv"}


def built(family: str, seeds: list[int] | None = None, **raw: Any) -> nn.Module:
    seeds = seeds or [0]
    models = [ModelSettings.model_validate(FAMILIES[family] | {"activation": "relu"} | raw)] * len(seeds)
    return build(models, seeds, IMAGE, CLASSES, seed_draws(seeds), CPU, torch.float64)


def fixup(family: str, seeds: list[int] | None = None, **raw: Any) -> nn.Module:
    return built(family, seeds, norm="none", init="fixup", **raw)


def blocks(network: nn.Module) -> list[ResidualBlock]:
    return [module for module in network.modules() if isinstance(module, ResidualBlock)]


def names(block: ResidualBlock) -> tuple[str, str, str]:
    """The steps of the first layer, of the second up to the addition, and of what follows."""
    first, second, joined = (
        " ".join(dict(part.named_children())) for part in (block.first, block.second, block.joined)
    )
    return first, second, joined


SKELETONS = {
    ("before", "before"): ("weights norm activation", "weights norm", "activation"),
    ("before", "after"): ("weights norm activation", "weights", "norm activation"),
    ("after", "before"): ("weights activation norm", "weights norm", "activation"),
    ("after", "after"): ("weights activation norm", "weights", "activation norm"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("placement", "addition"), SKELETONS)
def test_the_norm_stands_where_placement_and_addition_say(placement: str, addition: str, family: str) -> None:
    found = blocks(built(family, norm={"placement": placement, "addition": addition}))
    assert found
    for block in found:
        expected = SKELETONS[placement, addition]
        assert names(block) == tuple(part.replace("weights", WEIGHTS[family]) for part in expected)


@pytest.mark.parametrize(
    ("family", "placement", "addition"), [("mlp", "before", "after"), ("resnet", "after", "before")]
)
def test_without_a_norm_all_other_steps_keep_their_places(family: str, placement: str, addition: str) -> None:
    norm = {"placement": placement, "addition": addition}
    for dropout_at in ("each", "before_norm", "after_norm", "last"):
        raw = {"dropout": 0.5, "dropout_at": dropout_at}
        with_norm, without = built(family, norm=norm, **raw), built(family, norm=norm | {"kind": "none"}, **raw)
        for one, other in zip(blocks(with_norm), blocks(without), strict=True):
            assert tuple(" ".join(part.replace("norm", "").split()) for part in names(one)) == names(other)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ({"placement": "before", "addition": "before"}, (False, False)),
        ({"placement": "before", "addition": "after"}, (False, False)),
        ({"placement": "after", "addition": "before"}, (True, False)),
        ({"placement": "after", "addition": "after"}, (True, True)),
        ({"kind": "layer"}, (True, True)),
        ({"kind": "none"}, (True, True)),
    ],
)
def test_auto_leaves_out_the_bias_in_front_of_a_norm_over_the_batch(
    norm: dict[str, Any], expected: tuple[bool, bool], family: str
) -> None:
    for block in blocks(built(family, norm=norm)):
        parts = [part.get_submodule(WEIGHTS[family]) for part in (block.first, block.second)]
        assert tuple(part.bias is not None for part in parts) == expected


@pytest.mark.parametrize("family", FAMILIES)
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


@pytest.mark.parametrize(("family", "raw", "count"), GAINS)
def test_under_fixup_there_are_scalars_before_weights_and_activations_and_no_other_biases(
    family: str, raw: dict[str, Any], count: int
) -> None:
    network = fixup(family, [0, 3], **raw)
    biases = [module for module in network.modules() if isinstance(module, ScalarBias)]
    factors = [module for module in network.modules() if isinstance(module, ScalarMultiplier)]
    # Four biases and a factor a block, one bias for every activation besides, one before the output and the left-over.
    left_over = family == "mlp" and raw["depth"] % 2 == 0
    assert (len(biases), len(factors)) == (4 * count + 2 + 2 * left_over, count)
    assert all(torch.equal(each.bias, torch.zeros(2, 1).double()) for each in biases)
    assert all(torch.equal(each.factor, torch.ones(2, 1).double()) for each in factors)
    vectors = [name for name, theta in network.named_parameters() if name.endswith("bias") and theta.shape != (2, 1)]
    assert vectors == ["output.bias"]


@pytest.mark.parametrize("family", FAMILIES)
def test_fixups_block_and_the_biases_that_were_asked_for(family: str) -> None:
    steps = (
        f"outer_bias {WEIGHTS[family]} inner_bias activation",
        f"outer_bias {WEIGHTS[family]} multiplier",
        "inner_bias activation",
    )
    assert {names(block) for block in blocks(fixup(family))} == {steps}
    assert not any(layer.bias is not None for block in blocks(fixup(family)) for layer in weights(block))
    assert all(layer.bias is not None for block in blocks(fixup(family, bias=True)) for layer in weights(block))


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
