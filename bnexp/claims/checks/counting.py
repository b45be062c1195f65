"""Counting: parameters of norm layers, the bytes that a batch keeps, and the seconds of a step."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from math import prod
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.claims.checks.networks import CLASSES, CPU, difference, layers_of, noise, small_experiment, untrained_network
from bnexp.claims.runs import Finding, Measured
from bnexp.config.model import ModelSettings
from bnexp.config.text import counted
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.deploy.timing import Act, in_turn
from bnexp.nn.layers import losses
from bnexp.nn.norm import BatchNorm
from bnexp.nn.table import LayerRow, layer_table
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training.graphs import updater
from bnexp.training.group_state import GroupTrainState
from bnexp.training.numerics import numerics, threads

NORM: dict[str, Any] = {"placement": "after", "input": True}
HANDS_ON: dict[str, Any] = {"width": [300, 100], "activation": "elu", "norm": NORM}
"""The first network with BN of Hands-On Machine Learning, chapter 11."""
MNIST = 1, 28, 28
MLP: dict[str, Any] = {"width": [5, 7]}
VGG: dict[str, Any] = {"family": "vgg", "depth": 5, "width": 2}
SIZES = 2, 10, 64
"""Batch sizes."""


def four_parameters() -> Iterator[Finding]:
    """Yield the parameter counts of the 784-300-100-10 network with batch norm, beside the published ones."""
    layers = _layers(HANDS_ON)
    norms = [layer for layer in layers if layer.kind == "BatchNorm"]
    each = "BN on the input and after both hidden activations of 784-300-100-10: numbers of each layer"
    half = [2 * layer.output for layer in norms]
    yield _counted(each, [layer.parameters for layer in norms], [3136, 1200, 400])
    yield _counted("of them learned, γ and β", [layer.trainable for layer in norms], half)
    yield _counted("of them not learned, running mean and variance", [layer.fixed for layer in norms], half)
    yield _counted("the network: all, trainable and non-trainable", _totals(layers), [271_346, 268_978, 2_368])
    before = _totals(_layers(HANDS_ON | {"norm": NORM | {"placement": "before"}}))
    yield _counted("BN before the activations, so that hidden layers need no bias: all", before[:1], [270_946])


def per_feature() -> Iterator[Finding]:
    """Yield how many γ and β there are: one of each per feature, whatever the size of batches and images."""
    networks = (
        ("a network of 5 and 7 units", MLP, [5, 7]),
        ("a VGG of four convolutions with 2 to 8 channels", VGG, [2, 4, 8, 8]),
    )
    for name, model, features in networks:
        norms = layers_of(untrained_network(model), BatchNorm)
        yield _counted(f"{name}: γ of each BN layer", [norm.gamma.numel() for norm in norms], features)
        yield _counted(f"{name}: β of each BN layer", [norm.beta.numel() for norm in norms], features)
        yield from _any_batch(name, untrained_network(model).train())
    small, large = (
        sum(layer.trainable for layer in _layers(VGG, (1, side, side)) if layer.kind == "BatchNorm") for side in (8, 32)
    )
    yield _counted("γ and β of the VGG for images of 32 x 32 as for 8 x 8", [large], [small])


def _any_batch(name: str, network: nn.Module) -> Iterator[Finding]:
    """Yield which tensors change in forward passes in training mode, and in the update after each of them."""
    norms, in_passes, in_updates = layers_of(network, BatchNorm), 0, 0
    learned = [theta for norm in norms for theta in (norm.gamma, norm.beta)]
    every = learned + [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    for size in SIZES:
        start = [tensor.detach().clone() for tensor in every]
        logits_KBC = network(noise(1, size, 64, seed=size))
        passed = [tensor.detach().clone() for tensor in every]
        _update(network, logits_KBC)
        for place, (first, then, last) in enumerate(zip(start, passed, every, strict=True)):
            in_passes += torch.equal(first, then) != (place < len(learned))
            in_updates += torch.equal(then, last) == (place < len(learned))
    sizes, total = ", ".join(map(str, SIZES)), len(SIZES) * len(every)
    passes = f"{name}: forward passes of {sizes} images leave γ and β, and move the statistics"
    updates = f"{name}: the update after each moves γ and β, one of each for all its images, and leaves the statistics"
    yield Finding(passes, f"{in_passes} of {total} tensors otherwise", in_passes, 0)
    yield Finding(updates, f"{in_updates} of {total} tensors otherwise", in_updates, 0)


def _update(network: nn.Module, logits_KBC: Tensor) -> None:
    """Make a step of gradient descent, with made-up labels."""
    labels_KB = torch.arange(logits_KBC.shape[1])[None] % CLASSES
    losses(logits_KBC, labels_KB).mean().backward()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    optimizer.step()
    optimizer.zero_grad()


def _counted(what: str, actual: Sequence[int], expected: Sequence[int]) -> Finding:
    """Compare counts; the error is how many numbers are too many or missing."""
    apart = sum(abs(one - other) for one, other in zip(actual, expected, strict=True))
    return Finding(what, ", ".join(f"{count:,}" for count in actual), apart, 0)


def _layers(model: Mapping[str, Any], image: tuple[int, int, int] = MNIST) -> list[LayerRow]:
    return layer_table(ModelSettings.model_validate(model), image, CLASSES)


def _totals(layers: Sequence[LayerRow]) -> list[int]:
    trainable, fixed = sum(layer.trainable for layer in layers), sum(layer.fixed for layer in layers)
    return [trainable + fixed, trainable, fixed]


NETWORKS: dict[str, dict[str, Any]] = {
    "three layers of 64 ReLU": {"depth": 3, "width": 64, "activation": "relu"},
    "a VGG of 8 to 32 channels": {"family": "vgg", "depth": 5, "width": 8, "activation": "relu"},
}
NORMS = {"without BN": "none", "with BN": "batch", "with group norm": "group"}
BATCHES = 2, 8, 32, 128, 512
"""Batch sizes."""


def batch_memory() -> Iterator[Finding]:
    """Yield how many bytes autograd keeps for batches of several sizes, and how many more with a norm layer.

    The bytes are counted and not measured as a peak, so they don't depend on what else the machine does.
    """
    for name, model in NETWORKS.items():
        each = dict[str, float]()
        for how, norm in NORMS.items():
            network = untrained_network(model | {"norm": norm}, dtype=torch.float32).train()
            bytes_kept = [kept(network, noise(1, size, 64).float()) for size in BATCHES]
            each[how] = (bytes_kept[1] - bytes_kept[0]) / (BATCHES[1] - BATCHES[0])
            fixed = bytes_kept[0] - each[how] * BATCHES[0]
            error = difference(bytes_kept, [fixed + each[how] * size for size in BATCHES])
            listed = "; ".join(f"{count:,}" for count in bytes_kept)
            yield Finding(
                f"{name}, {how}: bytes kept of batches of {', '.join(map(str, BATCHES))}",
                f"{listed}: {each[how]:,.10g} for each image and {fixed:,.10g} for any batch",
                error if each[how] > 0 else float("inf"),  # bytes that don't grow lie on a line, too
                0,
            )
        plain, *others = each
        times = ", ".join(f"{each[how] / each[plain]:.2f} times as much {how}" for how in others)
        yield Finding(f"{name}: what an image takes", f"{times} as {plain}")


def kept(network: nn.Module, x_SBC: Tensor) -> int:
    """Return the bytes that one forward pass keeps for the backward pass; the network's own tensors don't count."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    found = dict[int, torch.UntypedStorage]()  # kept alive, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x_SBC)
    return sum(storage.nbytes() for storage in found.values())


IMAGES = 2_048
SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "3x100 ReLU, batch 128": ({"depth": 3, "width": 100}, 128),
    "3x100 ReLU, batch 1,024": ({"depth": 3, "width": 100}, 1_024),
    "3x1,000 ReLU, batch 128": ({"depth": 3, "width": 1_000}, 128),
    "20x100 ReLU, batch 32": ({"depth": 20, "width": 100}, 32),
    "four convolutions of 8 to 32 channels, batch 32": ({"family": "vgg", "depth": 5, "width": 8}, 32),
}
"""Networks with their batch sizes: from steps that are all overhead to steps of large matrix products."""
ROUND = 0.05
"""About how many seconds each arm trains in a round."""


def step_times(rounds: int = 20) -> Iterator[Finding | Measured]:
    """Yield the seconds per step of several networks without batch norm and with it, and where the time goes.

    Both are measured in turn, so that other load on the machine slows both alike."""
    data = _made_up()
    for name, (model, batch) in SHAPES.items():
        none, before = (_group(arm, model, batch) for arm in ("none", "before"))
        train_states = GroupTrainState(none, data), GroupTrainState(before, data)
        norms = layers_of(train_states[1].network, BatchNorm)
        with numerics(none.settings.train, CPU), threads(train_states[0].macs, CPU):
            acts = [*map(_step, train_states), *([] if "family" in model else [_layer_alone(before)])]
            steps = _steps_of_a_round(acts[1])
            # The arms take turns at every step, and the median of a round counts: other load slows single steps.
            seconds = in_turn(acts, rounds * steps)
            plain, with_norm, *alone = [[median(each) for each in _rounds(one, steps)] for one in seconds]
            used = torch.get_num_threads()
        yield Measured(tuple(plain), tuple(with_norm), {"network": name})
        ratio, added = median(with_norm) / median(plain), median(with_norm) - median(plain)
        layers = f", {1e3 * len(norms) * median(alone[0]):.3f} ms of them within the BN layers" if alone else ""
        yield Finding(
            name,
            f"{1e3 * median(plain):.3f} ms without BN, {1e3 * added:.3f} ms more with it{layers}: {ratio:.2f} times as "
            f"long (medians over {rounds} rounds of {steps} steps, float32, {counted(used, 'thread')})",
        )


def _steps_of_a_round(act: Act) -> int:
    seconds, *_ = in_turn([act], 1, 3)[0]
    return max(5, min(30, round(ROUND / seconds)))


def _rounds(seconds: Sequence[float], steps: int) -> list[Sequence[float]]:
    return [seconds[start : start + steps] for start in range(0, len(seconds), steps)]


def _group(arm: str, model: Mapping[str, Any], batch: int) -> TrialGroup:
    settings, train = {"activation": "relu", **model}, {"batch_size": batch}
    experiment = small_experiment(data={"name": "mnist"}, model=settings, arms=[arm], train=train)
    (group,) = groups(trials(experiment))
    return group


def _made_up() -> Dataset:
    """Return random images of MNIST's size with random labels: they take as long as real ones."""
    generator = torch.Generator().manual_seed(0)
    images_NP = torch.randint(256, (IMAGES, prod(MNIST)), dtype=torch.uint8, generator=generator)
    split = Split(images_NP, torch.randint(CLASSES, (IMAGES,), generator=generator))
    none = Split(split.images_NP[:0], split.labels_N[:0])
    scaling = fit(images_NP.unflatten(1, MNIST), "standard", {}, CPU, torch.float32)
    return Dataset(DataShape(MNIST, CLASSES, IMAGES, 0, 0), split, none, none, scaling)


def _step(train_state: GroupTrainState) -> Act:
    """Return a function that makes one update as training does; each call takes the next batch."""
    update, train = updater(train_state), train_state.group.settings.train
    batches = cycle(torch.arange(IMAGES)[None].split(train.batch_size, dim=1))
    rate_K1, number = torch.full((1, 1), train.lr), torch.ones((), dtype=torch.int64)
    return lambda: update(next(batches), rate_K1, number)


def _layer_alone(group: TrialGroup) -> Act:
    """Return a function that goes forward and backward through one batch norm layer of the network."""
    model, batch = group.settings.model, group.settings.train.batch_size
    (width, *_), norm = model.widths, BatchNorm(1, model.widths[0], model.norm).float()
    # As a layer with weights passes it on: features come first in memory.
    x_KBC, dy_KBC = (noise(1, width, batch, seed=seed).float().mT for seed in (0, 1))
    x_KBC.requires_grad_()
    theta = [x_KBC, norm.gamma, norm.beta]
    return lambda: torch.autograd.grad(norm(x_KBC), theta, dy_KBC)
