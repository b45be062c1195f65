"""Networks of every family against networks of torch.nn that are written from the papers, layer by layer."""

from typing import get_args

import pytest

from bnexp.config.model import ActivationName
from bnexp.config.norm import NORMS
from tests.helpers import pairwise, thinned
from tests.nn.plain import assert_equals_plain, takes
from tests.nn.test_plain_layers import FAMILIES as EVERY_FAMILY
from tests.nn.test_plain_layers import IMAGE

FAMILIES = {name: raw for name, raw in EVERY_FAMILY.items() if name != "rnn"}


@pytest.mark.parametrize(
    ("family", "kind", "placement", "addition", "where", "activation", "norm_input"),
    [
        row
        for row in pairwise(
            FAMILIES,
            NORMS,
            ["before", "after"],
            ["before", "after"],
            ["each", "before_norm", "after_norm", "last"],
            get_args(ActivationName),
            [False, True],
        )
        if takes(FAMILIES[row[0]]["family"], row[1])
    ],
)
def test_the_forward_pass_equals_one_written_by_hand(
    family: str, kind: str, placement: str, addition: str, where: str, activation: str, norm_input: bool
) -> None:
    norm = {"kind": kind, "placement": placement, "addition": addition, "input": norm_input}
    model = {"activation": activation, "dropout": 0.4, "dropout_at": where}
    assert_equals_plain(FAMILIES[family] | model | {"norm": norm | {"groups": 2, "group_size": 2}}, IMAGE)


@pytest.mark.parametrize(
    ("family", "depth", "image"),
    [
        *((family, depth, (1, 3, 3)) for family in ("mlp", "residual mlp") for depth in (1, 2, 5, 6)),
        *(("vgg", depth, (1, 9, 5)) for depth in (11, 13, 16, 19)),
        ("vgg", 11, (3, 4, 4)),
        *(("resnet", 20, image) for image in ((1, 9, 5), (2, 1, 1))),
    ],
)
def test_at_every_depth_it_does_too(family: str, depth: int, image: tuple[int, int, int]) -> None:
    assert_equals_plain(FAMILIES[family] | {"depth": depth, "width": 2, "activation": "tanh"}, image)


@pytest.mark.parametrize("scheme", ["fixup", "skipinit"])
@pytest.mark.parametrize(("family", "depth"), [("residual mlp", 5), ("resnet", 8), ("resnet", 14)])
def test_with_learned_scalars_it_does_too(family: str, depth: int, scheme: str) -> None:
    assert_equals_plain(FAMILIES[family] | {"depth": depth, "norm": "none", "init": scheme}, IMAGE)


@pytest.mark.parametrize(
    ("family", "weights", "activation", "norm", "bias"),
    thinned(
        pairwise(
            FAMILIES, ["standardized", "scaled"], get_args(ActivationName), ["none", "before", "layer"], ["auto", False]
        ),
        2,
    ),
)
def test_with_standardized_weights_it_does_too(
    family: str, weights: str, activation: str, norm: str, bias: object
) -> None:
    raw = {"weights": weights, "activation": activation, "norm": norm, "bias": bias, "init": {"scale": 0.01}}
    assert_equals_plain(FAMILIES[family] | raw, IMAGE)
