"""Counting: parameters of a norm layer, and the bytes that a batch keeps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.claims.checks.networks import CLASSES, difference, noise, untrained_network
from bnexp.claims.results import Finding
from bnexp.config.model import ModelSettings
from bnexp.nn.layers import losses
from bnexp.nn.norm import BatchNorm
from bnexp.nn.table import LayerRow, layer_table

NORM: dict[str, Any] = {"placement": "after", "input": True}
HANDS_ON: dict[str, Any] = {"width": [300, 100], "activation": "elu", "norm": NORM}
"""The first network with BN of Hands-On Machine Learning, chapter 11."""
MNIST = 1, 28, 28
MLP: dict[str, Any] = {"width": [5, 7]}
VGG: dict[str, Any] = {"family": "vgg", "depth": 5, "width": 2}
SIZES = 2, 10, 64
"""Images of a batch."""


def four_parameters() -> Iterator[Finding]:
    """Yield the parameter counts of the 784-300-100-10 network with batch norm against those that are published."""
    layers = _layers(HANDS_ON)
    norms = [layer for layer in layers if layer.kind == "BatchNorm"]
    yield _counted(
        "BN on the input and after both hidden activations of 784-300-100-10: numbers of each layer",
        [layer.parameters for layer in norms],
        [3136, 1200, 400],
    )
    yield _counted(
        "of them learned, γ and β", [layer.trainable for layer in norms], [2 * layer.output for layer in norms]
    )
    yield _counted(
        "of them not learned, running mean and variance",
        [layer.fixed for layer in norms],
        [2 * layer.output for layer in norms],
    )
    yield _counted("the network: all, trainable and non-trainable", _totals(layers), [271_346, 268_978, 2_368])
    before = HANDS_ON | {"norm": NORM | {"placement": "before"}}
    yield _counted(
        "BN before the activations, so that hidden layers need no bias: all", _totals(_layers(before))[:1], [270_946]
    )


def per_feature() -> Iterator[Finding]:
    """Yield how many γ and β there are, and what they hang on."""
    networks = (
        ("a network of 5 and 7 units", MLP, [5, 7]),
        ("a VGG of four convolutions with 2 to 8 channels", VGG, [2, 4, 8, 8]),
    )
    for name, model, features in networks:
        norms = _norms(untrained_network(model))
        yield _counted(f"{name}: γ of each BN layer", [norm.gamma.numel() for norm in norms], features)
        yield _counted(f"{name}: β of each BN layer", [norm.beta.numel() for norm in norms], features)
        yield from _any_batch(name, untrained_network(model).train())
    images = {side: _learned(VGG, (1, side, side)) for side in (8, 32)}
    yield _counted("γ and β of the VGG for images of 32 x 32 as for 8 x 8", [images[32]], [images[8]])


def _any_batch(name: str, network: nn.Module) -> Iterator[Finding]:
    """Yield what batches of any size change of a network in training mode, and what the update after each of them."""
    norms, in_passes, in_updates = _norms(network), 0, 0
    learned = [theta for norm in norms for theta in (norm.gamma, norm.beta)]
    own = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    for size in SIZES:
        start = _copies(learned), _copies(own)
        logits_KBC = network(noise(1, size, 64, seed=size))
        passed = _copies(learned), _copies(own)
        _update(network, logits_KBC)
        in_passes += _same(start[1], passed[1]) + len(learned) - _same(start[0], passed[0])
        in_updates += _same(passed[0], learned) + len(own) - _same(passed[1], own)
    sizes, found = ", ".join(map(str, SIZES)), "{} of {} tensors otherwise"
    expected = f"forward passes of {sizes} images leave γ and β, and move the statistics"
    yield Finding(f"{name}: {expected}", found.format(in_passes, len(SIZES) * len(learned + own)), in_passes, 0)
    expected = "the update after each moves γ and β, one of each for all its images, and leaves the statistics"
    yield Finding(f"{name}: {expected}", found.format(in_updates, len(SIZES) * len(learned + own)), in_updates, 0)


def _update(network: nn.Module, logits_KBC: Tensor) -> None:
    """Make a step of gradient descent, with labels that are made up."""
    theta = list(network.parameters())
    labels_KB = torch.arange(logits_KBC.shape[1])[None] % CLASSES
    gradient = torch.autograd.grad(losses(logits_KBC, labels_KB).mean(), theta)
    with torch.no_grad():
        for tensor, grad in zip(theta, gradient, strict=True):
            tensor.sub_(0.1 * grad)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _same(some: Sequence[Tensor], others: Sequence[Tensor]) -> int:
    """Return how many tensors are equal to the last bit."""
    return sum(one.equal(other) for one, other in zip(some, others, strict=True))


def _counted(what: str, actual: Sequence[int], expected: Sequence[int]) -> Finding:
    """Compare counts; the error is how many numbers are too many or missing."""
    apart = sum(abs(one - other) for one, other in zip(actual, expected, strict=False))
    error = apart if len(actual) == len(expected) else float("inf")
    return Finding(what, ", ".join(f"{count:,}" for count in actual), error, 0)


def _layers(model: Mapping[str, Any], image: tuple[int, int, int] = MNIST) -> list[LayerRow]:
    return layer_table(ModelSettings.model_validate(model), image, 10)


def _totals(layers: Sequence[LayerRow]) -> list[int]:
    trainable, fixed = sum(layer.trainable for layer in layers), sum(layer.fixed for layer in layers)
    return [trainable + fixed, trainable, fixed]


def _learned(model: Mapping[str, Any], image: tuple[int, int, int]) -> int:
    return sum(layer.trainable for layer in _layers(model, image) if layer.kind == "BatchNorm")


def _norms(network: nn.Module) -> list[BatchNorm]:
    return [layer for layer in network.modules() if isinstance(layer, BatchNorm)]


# The memory that a batch takes: the bytes kept from the forward pass until the backward pass has used them.
#
# They are counted, not measured as a peak, and so the same whatever else the machine does.

NETWORKS: dict[str, dict[str, Any]] = {
    "three layers of 64 ReLU": {"depth": 3, "width": 64, "activation": "relu"},
    "a VGG of 8 to 32 channels": {"family": "vgg", "depth": 5, "width": 8, "activation": "relu"},
}
NORMS = {"without BN": "none", "with BN": "batch", "with group norm": "group"}
BATCHES = 2, 8, 32, 128, 512
"""Images of a batch."""
PIXELS = 64


def batch_memory() -> Iterator[Finding]:
    """Yield how many bytes autograd keeps of a batch, by its size, and how many more of them with a norm layer."""
    for name, model in NETWORKS.items():
        each = dict[str, float]()
        for how, norm in NORMS.items():
            network = untrained_network(model | {"norm": norm}, dtype=torch.float32).train()
            bytes_kept = [kept(network, noise(1, size, PIXELS).float()) for size in BATCHES]
            each[how], fixed = _line(bytes_kept)
            error = difference(bytes_kept, [fixed + each[how] * size for size in BATCHES])
            listed = "; ".join(f"{count:,}" for count in bytes_kept)
            yield Finding(
                f"{name}, {how}: bytes kept of batches of {', '.join(map(str, BATCHES))}",
                f"{listed}: {each[how]:,.10g} for each image and {fixed:,.10g} for any batch",
                # What doesn't grow is on a line as well.
                error if each[how] > 0 else float("inf"),
                0,
            )
        plain, *others = each
        times = ", ".join(f"{each[how] / each[plain]:.2f} times as much {how}" for how in others)
        yield Finding(f"{name}: what an image takes", f"{times} as {plain}")


def kept(network: nn.Module, x_SBC: Tensor) -> int:
    """Return the bytes that one forward pass keeps for the backward pass; the network's own tensors don't count."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    found = dict[int, torch.UntypedStorage]()  # held, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x_SBC)
    return sum(storage.nbytes() for storage in found.values())


def _line(bytes_kept: list[int]) -> tuple[float, float]:
    """Return what the smallest two batches say that each image keeps, and what any batch does."""
    each = (bytes_kept[1] - bytes_kept[0]) / (BATCHES[1] - BATCHES[0])
    return each, bytes_kept[0] - each * BATCHES[0]
