"""One trial by hand: the program a reader would write with torch.nn, torch.optim and docs/reproducibility.md."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.model import ModelSettings
from bnexp.nn.build import skeleton
from bnexp.training.group_state import GroupTrainState
from tests.helpers import (
    PLAIN_FLOAT64,
    assert_close,
    crossed,
    curve,
    experiment,
    finished,
    made_up_data,
    only_group,
    pairwise,
)
from tests.nn.plain import PLAIN_NORMS, PlainDropout, PlainNoise, has_bias, plain, take_over, with_numbers

SEED, EPOCHS, IMAGES, SIDE = 5, 2, 48, 6
"""Sides of 6, 3 and 2 pixels with strides, of 6, 3 and 1 with poolings."""
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.01),
    "nadam": lambda parameters: torch.optim.NAdam(parameters, lr=0.01, weight_decay=0.01),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.9, weight_decay=0.01),
}
PLACES = ["before", "after"]
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"depth": 2, "width": 8},
    "vgg": {"family": "vgg", "depth": 5, "width": 4},
    "resnet": {"family": "resnet", "depth": 8, "width": 4},
}


def stream(seed: int, name: str, index: int) -> torch.Generator:
    """The generator of one random stream, from the description in bnexp.streams."""
    digest = hashlib.sha256(f"bnexp/{seed}/{name}/{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def started(model: dict[str, Any], image: tuple[int, int, int]) -> nn.Module:
    """A plain network with weights by He et al. from the documented streams, and biases of 0 where there are any."""
    made = plain(model, image, seed=SEED)
    layers = [layer for layer in made.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for index, layer in enumerate(layers):
        z = torch.randn(layer.weight.shape, dtype=torch.float64, generator=stream(SEED, "weights", index))
        layer.weight.data = z * (2 / layer.weight[0].numel()) ** 0.5
        assert layer.bias is not None
        layer.bias.data.zero_()
    network = skeleton([ModelSettings.model_validate(model)], image, 3)
    for layer, ours in zip(with_numbers(made), with_numbers(network), strict=True):
        if isinstance(layer, nn.Conv2d | nn.Linear) and not has_bias(ours):
            layer.bias.requires_grad_(False)
    return made


def clip_adaptively(made: nn.Module, limit: float) -> None:
    """Adaptive gradient clipping, unit by unit (Brock et al. 2021, equation 3), of all but the output layer."""
    output = [layer for layer in made.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][-1]
    left = {id(parameter) for parameter in output.parameters()}
    for parameter in made.parameters():
        if parameter.grad is not None and id(parameter) not in left:
            vector = parameter.ndim == 1
            rows = (parameter.detach()[None], parameter.grad[None]) if vector else (parameter.detach(), parameter.grad)
            for weights, grad in zip(*rows, strict=True):
                grad *= min(1.0, limit * max(float(weights.norm()), 1e-3) / max(float(grad.norm()), 1e-300))


CLIPS: dict[str, Callable[[nn.Module, float], object]] = {
    "norm_global": lambda made, limit: torch.nn.utils.clip_grad_norm_(made.parameters(), limit),
    "adaptive": clip_adaptively,
}


def trained(
    made: nn.Module, optimizer: torch.optim.Optimizer, x_BCHW: Tensor, y: Tensor, size: int, clip: dict[str, float]
) -> np.ndarray:
    """Loss and accuracy over the training images before training and after each epoch."""
    seen = []
    for epoch in range(EPOCHS + 1):
        if epoch:
            order = torch.randperm(len(x_BCHW), generator=stream(SEED, "batches", epoch))
            uniforms, noise = stream(SEED, "dropout", epoch), stream(SEED, "noise", epoch)
            for layer in made.train().modules():
                if isinstance(layer, PlainDropout):
                    layer.uniforms = uniforms
                if isinstance(layer, PlainNoise):
                    layer.draws = noise
            for batch in order.split(size):
                optimizer.zero_grad()
                F.cross_entropy(made(x_BCHW[batch]), y[batch], label_smoothing=0.1).backward()
                for kind, limit in clip.items():
                    CLIPS[kind](made, limit)
                optimizer.step()
        with torch.no_grad():
            logits = made.eval()(x_BCHW)
            seen.append([F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()])
    return np.array(seen)


def assert_as_by_hand(
    model: dict[str, Any],
    name: str,
    size: int = 16,
    images: int = IMAGES,
    side: int = SIDE,
    clip: dict[str, float] | None = None,
    only: str = "all",
) -> None:
    """Train a network of bnexp and the same one in plain PyTorch, and compare all that they have learned."""
    clip = clip or {"norm_global": 0.5}
    model = {"activation": "relu", "init": "he"} | model
    train = {"optimizer": name, "lr": 0.01, "weight_decay": 0.01, "decay_all": True, "nesterov": name == "sgd"}
    train |= {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    train |= {"epochs": EPOCHS, "batch_size": size, "precision": "fp64"}
    train |= {"label_smoothing": 0.1, "clip": clip, "only": only}
    group = only_group(experiment(model=model, arms={"only": {}}, train=train, seeds=[SEED]))
    data = made_up_data(group, images, side=side, channels=3)
    progress, made = finished(group, data), started(model, data.shape.image)
    for layer in with_numbers(made) if only == "norm" else ():
        layer.requires_grad_(isinstance(layer, PLAIN_NORMS))
    optimizer = OPTIMIZERS[name](parameter for parameter in made.parameters() if parameter.requires_grad)
    x_BCHW = data.inputs(data.train.images_NP).view(-1, *data.shape.image)
    expected = trained(made, optimizer, x_BCHW, data.train.labels_N, size, clip)
    assert_close(curve([each.record for each in progress], 0)[:, :2], expected, PLAIN_FLOAT64)
    network = skeleton([group.settings.model], data.shape.image, 3, dtype=torch.float64)
    arrays = progress[-1].snapshot().arrays
    network.load_state_dict({key: torch.from_numpy(arrays[f"network.{key}"]) for key in network.state_dict()})
    learned = plain(model, data.shape.image)
    take_over(learned, network, 0)
    for key, tensor in learned.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert_close(tensor, made.state_dict()[key], PLAIN_FLOAT64)


@pytest.mark.usefixtures("float64_scalars")
@pytest.mark.parametrize(
    ("family", "kind", "placement", "addition", "rate", "name"),
    pairwise(
        FAMILIES,
        ["none", "batch", "layer", "group"],
        PLACES,
        PLACES,
        [0.0, 0.3],
        ["sgd", "adamw"],
    ),
)
def test_a_trial_by_hand(family: str, kind: str, placement: str, addition: str, rate: float, name: str) -> None:
    norm = {"kind": kind, "placement": placement, "addition": addition, "groups": 2}
    # Adam takes off with gradients of rounding noise: on one pixel, batch norm cancels β of the channels before it.
    name = "sgd" if family != "mlp" and kind in ("batch", "group") else name
    assert_as_by_hand(FAMILIES[family] | {"norm": norm, "dropout": rate}, name)


@pytest.mark.parametrize(
    ("family", "name"), [("mlp", "sgd"), ("resnet", "sgd"), pytest.param("mlp", "adamw", marks=pytest.mark.slow)]
)
def test_skipinit_by_hand(family: str, name: str) -> None:
    model = FAMILIES[family] | ({"depth": 4, "residual": True} if family == "mlp" else {})
    assert_as_by_hand(model | {"norm": "none", "init": "skipinit"}, name)


@pytest.mark.usefixtures("float64_scalars")
@pytest.mark.parametrize(("placement", "name"), crossed(PLACES, list(OPTIMIZERS), fast=2))
def test_every_optimizer_by_hand(placement: str, name: str) -> None:
    assert_as_by_hand(FAMILIES["mlp"] | {"norm": placement, "activation": "tanh", "dropout": 0.3}, name)


@pytest.mark.parametrize(
    ("family", "weights"), [("mlp", "scaled"), ("vgg", "standardized"), ("resnet", "scaled"), ("mlp", "standardized")]
)
def test_standardized_weights_by_hand(family: str, weights: str) -> None:
    residual = {"init": "skipinit"} if family == "resnet" else {}
    assert_as_by_hand(FAMILIES[family] | residual | {"norm": "none", "weights": weights}, "sgd")


@pytest.mark.parametrize(
    ("family", "norm", "name"),
    [("mlp", "before", "adamw"), ("vgg", "after", "sgd"), ("resnet", "layer", "sgd"), ("mlp", "layer", "rmsprop")],
)
def test_norm_layers_alone_by_hand(family: str, norm: str, name: str) -> None:
    assert_as_by_hand(FAMILIES[family] | {"norm": norm}, name, only="norm")


@pytest.mark.parametrize("family", FAMILIES)
def test_adaptive_clipping_by_hand(family: str) -> None:
    assert_as_by_hand(FAMILIES[family] | {"norm": "none"}, "sgd", clip={"adaptive": 0.05})


@pytest.mark.parametrize(("family", "placement"), crossed(["vgg", "resnet"], PLACES, fast=2))
def test_a_batch_of_one_image_is_normalised_over_its_places(family: str, placement: str) -> None:
    # 2 pixels a side are left at the end.
    assert_as_by_hand(FAMILIES[family] | {"norm": placement}, "sgd", size=1, images=12, side=8)


def test_initial_weights_are_the_documented_draws_exactly() -> None:
    group = only_group(
        experiment(
            model={"depth": 2, "width": 8, "init": {"scheme": "normal", "scale": 0.5}},
            seeds=[5],
            train={"batch_size": 16},
        )
    )
    network = GroupTrainState(group, made_up_data(group)).network
    z = torch.randn(8, 16, dtype=torch.float64, generator=stream(5, "weights", 0))
    assert torch.equal(network.get_parameter("hidden.0.linear.weight")[0], (0.5 * z).float())
