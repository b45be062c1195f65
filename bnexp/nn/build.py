"""From the settings of K trials to their network, initialised and in place on the device."""

from collections.abc import Sequence

import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.nn.dropout import SeedUniforms
from bnexp.nn.init import initialize
from bnexp.nn.mlp import MLP

FAMILIES = {"mlp": MLP}
"""Network classes by the name in model.family."""


def build(
    models: Sequence[ModelSettings],
    seeds: Sequence[int],
    features: int,
    classes: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> tuple[nn.Module, SeedUniforms]:
    """Return the K networks of a trial group as one module, and the source of their dropout draws.

    Args:
        models: settings of each trial, equal in everything that shapes the computation.
        seeds: seed of each trial, equal ones side by side.
        features: pixels of a flattened image.
        classes: number of labels.
    """
    uniforms = SeedUniforms(seeds, device)
    drops = any(model.dropout > 0 for model in models)
    network = FAMILIES[models[0].family](models, features, classes, uniforms if drops else None).to(dtype)
    initialize(network, [model.init for model in models], seeds)
    return network.to(device), uniforms
