"""The network of the study in plain PyTorch."""

import torch
from torch import nn

from benchmarks.study import Study


def network(study: Study, scale: float, norm: bool) -> nn.Sequential:
    """Return a fresh network with normal initial weights of a standard deviation."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(study.widths[:-2], study.widths[1:-1], strict=True):
        layers += [nn.Linear(fan_in, fan_out, bias=not norm)]
        layers += [nn.BatchNorm1d(fan_out, eps=study.eps, momentum=study.momentum)] if norm else []
        layers += [nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(study.widths[-2], study.widths[-1]))
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(std=scale)
                if layer.bias is not None:
                    layer.bias.zero_()
    return model
