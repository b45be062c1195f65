"""Folding: the same logits without norm layers, or one reason why that can't be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.config.source import settled
from bnexp.deploy.folding import Unfoldable, folded
from bnexp.nn.build import skeleton
from bnexp.nn.norm import BatchNorm
from tests.helpers import EXACT_FLOAT32, PLAIN_FLOAT64, assert_close, noise
from tests.nn.own import user_networks
from tests.nn.plain import PLAIN_NORMS
from tests.nn.test_plain_layers import FAMILIES, IMAGE, assert_same, trained

PADDED = "the next convolution pads with zeros, which don't get the shift"
AROUND = "its output enters the next residual block, and also its shortcut"
SUM = "it comes after an addition, which has no weights of its own, and before an activation"
EACH = "its statistics are those of each image, so it isn't a fixed map"
BY_STEP = "it has one set of statistics per time step, and the steps share their weights"
BY_ROW = "the rows of an image share the next layer's weights, and it differs from row to row"
POOLED = "max pooling comes next, and a negative γ, or mixed channels, change which number is largest"


def built(family: str, activation: str = "tanh", **norm: Any) -> nn.Module:
    return trained(FAMILIES[family] | {"activation": activation, "norm": {"groups": 2, "group_size": 2, **norm}})


def assert_folded(network: nn.Module) -> None:
    """Fold, and find no norm layer, and the logits as they were."""
    made = folded(network)
    assert not any(isinstance(layer, PLAIN_NORMS) for layer in made.modules())
    assert_same(made, network)


@pytest.mark.parametrize(
    ("family", "norm"),
    [
        ("mlp", {"input": True}),
        ("mlp", {"kind": "noisy_batch", "placement": "after"}),
        ("mlp", {"kind": "whiten", "placement": "after", "input": True}),
        ("mlp", {"kind": "mean", "input": True}),
        ("resnet", {"kind": "mean"}),
        ("resnet", {"kind": "renorm", "eps": 0.2}),
        ("mlp", {"kind": "renorm", "placement": "after"}),
        ("residual mlp", {"kind": "variance"}),
        ("vgg", {"kind": "variance"}),
        ("residual mlp", {"kind": "whiten"}),
        ("residual mlp", {"input": True}),
        ("vgg", {}),
        ("resnet", {"kind": "whiten"}),
        ("rnn", {"steps": "shared"}),
        ("rnn", {"steps": "shared", "recurrent": False}),
    ],
)
def test_a_folded_network_answers_as_before(family: str, norm: dict[str, Any]) -> None:
    assert_folded(built(family, **norm))


OWN = str(Path(user_networks.__file__))
TOKENS = (1, 8, 8)


def own(name: str, **norm: Any) -> nn.Module:
    """A network of the tests' own, with running statistics and γ and β that training could have left."""
    model = ModelSettings(family="module", source=settled(f"{OWN}:{name}", Path()), norm=norm or "as_written")
    network = skeleton([model], TOKENS, 10).double()
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(noise(*tensor.shape).abs() + 0.5)
    return network.eval()


def test_batch_norm_behind_a_layer_of_tokens_is_folded_if_it_scales_its_features() -> None:
    network = own("NormOfTokens", kind="batch", placement="before")
    x_BCHW = noise(3, *TOKENS)
    made = folded(network)
    assert not any(isinstance(layer, PLAIN_NORMS) for layer in made.modules())
    assert_close(made(x_BCHW).detach(), network(x_BCHW.flatten(1)[None])[0].detach(), PLAIN_FLOAT64)
    with pytest.raises(Unfoldable, match=r"^norm: it normalises each token, and embed has weights for features"):
        folded(own("NormOfTokens"))


def test_a_layer_whose_output_goes_elsewhere_too_is_not_folded_into() -> None:
    with pytest.raises(Unfoldable, match=r"^norm: no layer with weights stands right before it alone$"):
        folded(own("AddsWhatItNormalises"))


@pytest.mark.parametrize(
    ("family", "norm", "reason"),
    [
        ("vgg", {"input": True}, f"input.norm: {PADDED}"),
        ("vgg", {"placement": "after"}, f"stages.0.0.norm: {PADDED}"),
        ("vgg", {"kind": "whiten", "placement": "after"}, f"stages.0.0.norm: {POOLED}"),
        ("resnet", {"placement": "after"}, f"stem.norm: {AROUND}"),
        ("resnet", {"kind": "whiten", "addition": "after"}, f"stages.0.0.joined.norm: {SUM}"),
        ("residual mlp", {"placement": "after"}, f"hidden.0.norm: {AROUND}"),
        ("residual mlp", {"kind": "noisy_batch", "addition": "after"}, f"hidden.1.joined.norm: {SUM}"),
        ("mlp", {"kind": "layer"}, f"hidden.0.norm: {EACH}"),
        ("vgg", {"kind": "group"}, f"stages.0.0.norm: {EACH}"),
        ("vgg", {"kind": "instance"}, f"stages.0.0.norm: {EACH}"),
        ("resnet", {"kind": "rms"}, f"stem.norm: {EACH}"),
        ("rnn", {"kind": "rms"}, f"hidden.0.input.norm: {EACH}"),
        ("rnn", {}, f"hidden.0.input.norm: {BY_STEP}"),
        ("rnn", {"steps": "shared", "input": True}, f"input.norm: {BY_ROW}"),
        ("rnn", {"kind": "layer"}, f"hidden.0.input.norm: {EACH}"),
        *((family, {"kind": "none"}, "there is no norm layer") for family in FAMILIES),
    ],
)
def test_what_can_not_be_exact_is_refused_with_the_layer(family: str, norm: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfoldable) as refused:
        folded(built(family, **norm))
    assert str(refused.value) == reason


def without_shift(network: nn.Module) -> nn.Module:
    """Let every norm layer map 0 to 0, and each channel upwards."""
    for norm in network.modules():
        if isinstance(norm, BatchNorm):
            norm.gamma.data.abs_()
            norm.beta.data.zero_()
            norm.running_mean.zero_()
    return network


def test_without_a_shift_even_padded_convolutions_take_it_in() -> None:
    assert_folded(without_shift(built("vgg", placement="after", input=True)))


def test_behind_the_last_pooling_a_shift_is_no_matter() -> None:
    network = without_shift(built("vgg", placement="after"))
    [*_, last] = (norm for norm in network.modules() if isinstance(norm, BatchNorm))
    last.beta.data += 0.5
    last.gamma.data[0, 0] = 0  # a scale of zero passes max pooling
    assert_folded(network)


def test_one_negative_scale_does_not_pass_max_pooling() -> None:
    network = without_shift(built("vgg", placement="after"))
    [*_, last] = (norm for norm in network.modules() if isinstance(norm, BatchNorm))
    last.gamma.data[0, 1] *= -1
    with pytest.raises(Unfoldable) as refused:
        folded(network)
    assert str(refused.value) == f"stages.2.1.norm: {POOLED}"


def test_where_nothing_is_pooled_the_means_take_any_scale() -> None:
    # A picture of one pixel: every convolution is followed by the next, the last by the mean.
    raw = FAMILIES["vgg"] | {"activation": "tanh", "norm": {"placement": "after"}}
    image = (2, 1, 1)
    network = without_shift(trained(raw, image))
    [*_, last] = (norm for norm in network.modules() if isinstance(norm, BatchNorm))
    last.gamma.data[0, 1] *= -1
    last.beta.data += 0.5
    assert_same(folded(network), network, image)


def test_an_identity_for_activation_is_in_nobodys_way() -> None:
    # Behind it a norm layer stands right behind the weights.
    raw = FAMILIES["resnet"] | {"activation": "identity", "norm": {"placement": "after"}}
    network = trained(raw)
    assert_same(folded(network), network)


def test_the_last_block_may_normalise_its_sum_into_the_output_layer() -> None:
    raw = {"family": "mlp", "depth": 3, "width": 4, "residual": True}
    network = trained(raw | {"activation": "tanh", "norm": {"placement": "after", "addition": "after"}})
    with pytest.raises(Unfoldable, match=r"^hidden\.0\.norm: "):
        folded(network)
    first = network.get_submodule("hidden.0")
    del first.norm
    assert_same(folded(network), network)


@pytest.mark.parametrize(("affine", "bias"), [("gamma", True), ("beta", False), ("none", True)])
def test_with_and_without_biases_and_learned_parameters_it_is_exact(affine: str, bias: bool) -> None:
    raw = FAMILIES["mlp"] | {"bias": bias, "norm": {"affine": affine, "eps": 0.1, "placement": "after", "input": True}}
    network = trained(raw)
    assert_same(folded(network), network)


def test_new_weights_of_a_float32_network_are_rounded_once_and_it_stays_as_it_is() -> None:
    network = built("mlp").float()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = folded(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    exact = folded(network.double())
    for name, tensor in made.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, exact.state_dict()[name].float())
    x_BCHW = noise(6, *IMAGE).float()
    assert_close(made(x_BCHW).detach(), network.float()(x_BCHW.flatten(1)[None])[0].detach(), EXACT_FLOAT32)
