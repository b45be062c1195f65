"""The network of one trial as torch.nn has it: a sequence of layers without the trial axis.

Shapes: C channels or features, G groups of g of them.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.convolutional import Convolutional
from bnexp.nn.layers import KERNEL, SHARE, Conv2d, Dropout, Linear, ScalarBias, ScalarMultiplier
from bnexp.nn.layout import trials_of
from bnexp.nn.mlp import MLP
from bnexp.nn.norm import BatchNorm, GroupNorm, LayerNorm, Noise, Norm, StepBatchNorm
from bnexp.nn.plain_layers import LastStep, Plus, Residual, Rows, StepLinear, Times, Whitening
from bnexp.nn.plain_layers import Recurrent as PlainRecurrent
from bnexp.nn.residual import ResidualBlock
from bnexp.nn.rnn import RNN, Recurrent, Way
from bnexp.nn.whiten import Whiten, inverse_root


@torch.no_grad()
def plain(network: nn.Module) -> nn.Sequential:
    """Return a copy of one trial's network, in evaluation mode, that takes x_BCHW and returns logits (B, classes).

    Its layers stand in the order of the data. What does nothing in evaluation (dropout, noise) is left out, as is an
    identity in place of an activation.

    Args:
        network: an MLP, VGG, ResNet or RNN with K = 1.

    Raises:
        ValueError: there are several trials in it.
    """
    if (trials := trials_of(network)) != 1:
        raise ValueError(f"a plain network is that of one trial, and here are {trials}")
    return nn.Sequential(*_layers(network, isinstance(network, Convolutional))).eval()


def made_of(kind: type[nn.Module], state: Mapping[str, Tensor], *sizes: Any, **options: Any) -> nn.Module:
    """Return a layer that holds copies of the numbers given, all that its state consists of."""
    with torch.device("meta"):  # where no initial weights are drawn
        layer = kind(*sizes, **options)
    copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    layer.load_state_dict(copies, assign=True)
    return layer


def _layers(module: nn.Module, images: bool) -> Iterator[nn.Module]:
    """Yield what stands for a module, which has images or features before it."""
    match module:
        case MLP():
            yield nn.Flatten()
            yield from _parts(module, images)
        case RNN():
            if len(module.input):
                yield from (nn.Flatten(), *_layers(module.input, images), nn.Unflatten(1, module.image))
            yield Rows()
            yield from _layers(module.hidden, images)
            yield from (LastStep(), _weights(module.output))
        case Recurrent():
            yield PlainRecurrent(_way(module.input), _way(module.recurrent), copy.deepcopy(module.activation))
        case nn.Sequential() | nn.ModuleList() | Convolutional():
            yield from _parts(module, images)
        case ResidualBlock():
            yield _residual(module, images)
            yield from _layers(module.joined, images)
        case Linear() | Conv2d():
            yield _weights(module)
        case Norm():
            yield _norm(module, images)
        case ScalarBias():
            yield made_of(Plus, {"number": SHARE * module.bias[0, 0]})
        case ScalarMultiplier():
            yield made_of(Times, {"number": 1 + SHARE * (module.factor[0, 0] - 1)})
        case Dropout() | Noise() | nn.Identity():
            pass
        case _:
            yield copy.deepcopy(module)


def _parts(module: nn.Module, images: bool) -> Iterator[nn.Module]:
    for name, part in module.named_children():
        if images and name == "before_output":
            yield from (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        yield from _layers(part, images)


def _residual(block: ResidualBlock, images: bool) -> Residual:
    branch = [*_layers(block.first, images), *_layers(block.second, images)]
    first = next(layer for layer in branch if isinstance(layer, nn.Linear | nn.Conv2d))
    outputs, features = first.weight.shape[:2]
    return Residual(*branch, added=outputs - features)


def _way(way: Way) -> StepLinear:
    """Return weights with the norm of each step, one for all of them, or none."""
    linear = _weights(way.linear)
    assert isinstance(linear, nn.Linear)
    norms = [] if way.norm is None else [_norm(each, images=False) for each in _by_step(way.norm)]
    return StepLinear(linear, *norms)


def _by_step(norm: Norm) -> Iterator[Norm]:
    """Yield the norm, or where steps have statistics of their own the norm of each step."""
    if not isinstance(norm, StepBatchNorm):
        yield norm
        return
    for step in range(norm.running_mean.shape[1]):
        alone = copy.deepcopy(norm)
        alone.running_mean, alone.running_var = norm.running_mean[:, step], norm.running_var[:, step]
        yield alone


def _weights(layer: Linear | Conv2d) -> nn.Module:
    bias = {} if layer.bias is None else {"bias": layer.bias[0]}
    state = {"weight": layer.weight[0], **bias}
    _, outputs, features, *_ = layer.weight.shape
    if isinstance(layer, Linear):
        return made_of(nn.Linear, state, features, outputs, bias=bool(bias))
    options = {"stride": layer.stride, "padding": KERNEL // 2, "bias": bool(bias)}
    return made_of(nn.Conv2d, state, features, outputs, KERNEL, **options)


def _norm(norm: Norm, images: bool) -> nn.Module:
    features, state = norm.gamma.shape[1], {"weight": norm.gamma[0], "bias": norm.beta[0]}
    match norm:
        case BatchNorm():
            state |= {"running_mean": norm.running_mean[0], "running_var": norm.running_var[0]}
            state["num_batches_tracked"] = norm.running_mean.new_zeros((), dtype=torch.int64)
            kind = nn.BatchNorm2d if images else nn.BatchNorm1d
            return made_of(kind, state, features, eps=norm.eps, momentum=norm.momentum)
        case LayerNorm() if not images:
            return made_of(nn.LayerNorm, state, features, eps=norm.eps)
        case GroupNorm():
            return made_of(nn.GroupNorm, state, norm.groups, features, eps=norm.eps)
        case Whiten():
            state |= {"weight": _whitening(norm), "mean": norm.running_mean[0]}
            return made_of(Whitening, state, features)
    raise NotImplementedError(type(norm).__name__)


def _whitening(norm: Whiten) -> Float[Tensor, "C C"]:
    """Return γ times what whitens each group."""
    root_Ggg = inverse_root(norm.running_covariance[0], norm.eps)
    whitening_CC: Tensor = norm.gamma[0, :, None] * torch.block_diag(*root_Ggg)
    return whitening_CC
