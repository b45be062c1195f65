"""One convolutional trial by hand: the program a reader would write with torch.nn, torch.optim and the documented
streams, its residual blocks written out."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.helpers import PLAIN_FLOAT64, assert_close, crossed, curve, experiment, finished, made_up_data, only_group
from tests.training.test_plain_pytorch import OPTIMIZERS, stream

SEED, EPOCHS, BATCH, WIDTH, CHANNELS = 5, 2, 16, 4, 3
IMAGES, SIDE = 48, 6
"""Sides of 6, 3 and 2 pixels with strides, of 6, 3 and 1 with poolings."""


class ImageDropout(nn.Module):
    """Dropout whose uniforms are drawn from a given generator, the channels last."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate, self.generator = rate, torch.Generator()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        batch, channels, height, width = x.shape
        uniforms = torch.rand(batch, height, width, channels, generator=self.generator, dtype=torch.float32)
        return x * (uniforms >= self.rate).permute(0, 3, 1, 2) / (1 - self.rate)


def norm_layer(kind: str, channels: int) -> nn.Module:
    makers = {
        "none": lambda: nn.Identity(),
        "batch": lambda: nn.BatchNorm2d(channels),
        "layer": lambda: nn.GroupNorm(1, channels),
        "group": lambda: nn.GroupNorm(2, channels),
    }
    return makers[kind]()


def convolution(features: int, channels: int, stride: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(features, channels, 3, stride, padding=1, bias=bias)


class ConvBlock(nn.Module):
    """Convolution, norm and ReLU in the order asked for, dropout."""

    def __init__(self, features: int, channels: int, norm: dict[str, str], rate: float, stride: int = 1):
        super().__init__()
        self.early = norm["placement"] == "before"
        self.conv = convolution(features, channels, stride, bias=not (norm["kind"] == "batch" and self.early))
        self.norm, self.dropout = norm_layer(norm["kind"], channels), ImageDropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.dropout(F.relu(self.norm(x)) if self.early else self.norm(F.relu(x)))


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut without weights."""

    def __init__(self, features: int, channels: int, norm: dict[str, str], rate: float):
        super().__init__()
        self.grows, self.where = channels - features, (norm["addition"], norm["placement"])
        self.first = ConvBlock(features, channels, norm, rate, stride=2 if self.grows else 1)
        # Batch norm takes out what is constant over the batch also behind the addition.
        cancelled = norm["kind"] == "batch" and self.where != ("after", "after")
        self.conv = convolution(channels, channels, 1, bias=not cancelled)
        self.norm, self.dropout = norm_layer(norm["kind"], channels), ImageDropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.first(x))
        if self.grows:
            x = torch.cat([x[:, :, ::2, ::2], torch.zeros_like(x[:, :, ::2, ::2])], dim=1)
        match self.where:
            case ("before", _):
                y = F.relu(self.norm(y) + x)
            case (_, "before"):
                y = F.relu(self.norm(y + x))
            case _:
                y = self.norm(F.relu(y + x))
        return self.dropout(y)


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def plain_vgg(norm: dict[str, str], rate: float) -> nn.Sequential:
    """Depth 5: one, one and two convolutions, each group followed by pooling while there is something to pool."""
    fans = [(CHANNELS, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 4 * WIDTH), (4 * WIDTH, 4 * WIDTH)]
    one, two, three, four = (ConvBlock(*fan, norm, rate) for fan in fans)
    half, last = nn.MaxPool2d(2), nn.MaxPool2d(2, ceil_mode=True)  # which leaves a single pixel as it is
    return nn.Sequential(one, half, two, half, three, four, last, Pooled(), nn.Linear(4 * WIDTH, 3))


def plain_resnet(norm: dict[str, str], rate: float) -> nn.Sequential:
    """Depth 8: a convolution, three blocks, a linear layer."""
    fans = [(WIDTH, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 4 * WIDTH)]
    stem, blocks = ConvBlock(CHANNELS, WIDTH, norm, rate), (BasicBlock(*fan, norm, rate) for fan in fans)
    return nn.Sequential(stem, *blocks, Pooled(), nn.Linear(4 * WIDTH, 3))


def initialized(network: nn.Module) -> nn.Module:
    """Weights by He et al. from the documented streams, biases 0."""
    layers = [layer for layer in network.double().modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for index, layer in enumerate(layers):
        z = torch.randn(layer.weight.shape, dtype=torch.float64, generator=stream(SEED, "weights", index))
        layer.weight.data = z * (2 / layer.weight[0].numel()) ** 0.5
        if layer.bias is not None:
            layer.bias.data.zero_()
    return network


FAMILIES = {"vgg": (5, plain_vgg), "resnet": (8, plain_resnet)}
VGGS = [("vgg", kind, place, "before") for kind in ("batch", "layer", "group") for place in ("before", "after")]
RESNETS = [
    ("resnet", kind, place, addition)
    for kind, places in (("batch", ["before", "after"]), ("layer", ["before"]), ("group", ["after"]))
    for place in places
    for addition in ("before", "after")
]
NETWORKS = [("vgg", "none", "before", "before"), *VGGS, ("resnet", "none", "before", "before"), *RESNETS]


@pytest.mark.parametrize(("network", "rate"), crossed(NETWORKS, [0.0, 0.3], fast=2))
def test_a_trial_by_hand(network: tuple[str, str, str, str], rate: float) -> None:
    assert_as_by_hand(network, rate)


# Without the network that ends in a norm: the average over one image's places is then β whatever the image, and all
# other gradients are rounding.
@pytest.mark.parametrize(
    "network", [each for each in NETWORKS if each[1] == "batch" and each[2:] != ("after", "after")]
)
def test_a_batch_of_one_image_is_normalised_over_its_places(network: tuple[str, str, str, str]) -> None:
    assert_as_by_hand(network, images=12, batch=1, side=8)  # 2 pixels a side are left at the end


def assert_as_by_hand(
    network: tuple[str, str, str, str], rate: float = 0, images: int = IMAGES, batch: int = BATCH, side: int = SIDE
) -> None:
    """Train a network of bnexp and the same one in plain PyTorch, and compare all that they have learned."""
    family, kind, placement, addition = network
    depth, plain = FAMILIES[family]
    norm: dict[str, Any] = {"kind": kind, "placement": placement, "addition": addition, "groups": 2}
    # Adam takes off with gradients of rounding noise: on one pixel, batch norm cancels β of the channels before it.
    optimizer = "adam" if rate == 0 and kind in ("none", "layer") else "sgd"
    group = only_group(
        experiment(
            model={
                "family": family,
                "depth": depth,
                "width": WIDTH,
                "activation": "relu",
                "init": "he",
                "dropout": rate,
                "norm": norm,
            },
            arms={"only": {}},
            train={
                "epochs": EPOCHS,
                "batch_size": batch,
                "lr": 0.01,
                "weight_decay": 0.01,
                "decay_all": True,
                "precision": "fp64",
                "optimizer": optimizer,
                **({"momentum": 0.9, "nesterov": True} if optimizer == "sgd" else {}),
            },
            seeds=[SEED],
        )
    )
    data = made_up_data(group, images, side=side, channels=CHANNELS)
    progress = finished(group, data)

    by_hand = initialized(plain(norm, rate))
    expected = losses_by_hand(
        by_hand,
        OPTIMIZERS[optimizer](by_hand.parameters()),
        data.inputs(data.train.images_NP).view(-1, CHANNELS, side, side),
        data.train.labels_N,
        batch,
    )
    assert_close(curve([each.record for each in progress], 0)[:, :2], expected, PLAIN_FLOAT64)
    state = progress[-1].snapshot().arrays
    for suffix, wanted in by_name(by_hand).items():
        found = [array[0] for name, array in state.items() if name.startswith("network.") and name.endswith(suffix)]
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other, PLAIN_FLOAT64)


def losses_by_hand(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, size: int) -> np.ndarray:
    """Loss and accuracy over the training images before training and after each epoch."""
    seen = []
    for epoch in range(EPOCHS + 1):
        if epoch:
            order = torch.randperm(len(x), generator=stream(SEED, "batches", epoch))
            uniforms = stream(SEED, "dropout", epoch)
            for layer in network.modules():
                if isinstance(layer, ImageDropout):
                    layer.generator = uniforms
            network.train()
            for batch in order.split(size):
                optimizer.zero_grad()
                F.cross_entropy(network(x[batch]), y[batch]).backward()
                optimizer.step()
        network.eval()
        with torch.no_grad():
            logits = network(x)
            seen.append([F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()])
    return np.array(seen)


def by_name(network: nn.Module) -> dict[str, list[Tensor]]:
    """What the network has learned and averaged, in its layers' order, by how bnexp's names for it end."""
    layers = list(network.modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    batch_norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm)]
    return {
        "conv.weight": [layer.weight.detach() for layer in convolutions],
        "conv.bias": [layer.bias.detach() for layer in convolutions if layer.bias is not None],
        "gamma": [layer.weight.detach() for layer in norms],
        "beta": [layer.bias.detach() for layer in norms],
        "running_mean": [layer.running_mean for layer in batch_norms],
        "running_var": [layer.running_var for layer in batch_norms],
        "output.weight": [layer.weight.detach() for layer in layers if isinstance(layer, nn.Linear)],
    }
