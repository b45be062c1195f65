"""From the settings of K trials to their network, initialised and in place on the device."""

from collections.abc import Sequence

import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.draws import SeedDraws
from bnexp.nn.init import initialize
from bnexp.nn.kit import Kit
from bnexp.nn.mlp import MLP
from bnexp.nn.residual import set_fixup_gains
from bnexp.nn.resnet import ResNet
from bnexp.nn.rnn import RNN
from bnexp.nn.vgg import VGG

FAMILIES: dict[str, type[MLP | VGG | ResNet | RNN]] = {"mlp": MLP, "vgg": VGG, "resnet": ResNet, "rnn": RNN}
"""Network classes by the name in model.family."""


def build(
    models: Sequence[ModelSettings],
    seeds: Sequence[int],
    image: tuple[int, int, int],
    classes: int,
    draws: SeedDraws,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Return the K networks of a trial group as one module.

    Args:
        models: settings of each trial, equal in everything that shapes the computation.
        seeds: seed of each trial, equal ones side by side.
        image: C, H, W of an image.
        classes: number of labels.
        draws: random numbers of the trials, for dropout and noise.
        device: where the network will be.
        dtype: of its parameters.
    """
    network = skeleton(models, image, classes, draws, dtype)
    initialize(network, [model.init for model in models], seeds)
    return network.to(device)


def skeleton(
    models: Sequence[ModelSettings],
    image: tuple[int, int, int],
    classes: int,
    draws: SeedDraws | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Return the networks with weights of zero; without draws they have neither dropout nor noise."""
    network = FAMILIES[models[0].family](Kit(models, draws), image, classes).to(dtype)
    set_fixup_gains(network)
    return network
