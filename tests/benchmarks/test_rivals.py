"""The programs that bnexp is timed against do the study's work: they learn where it can be learned, and only there."""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks.convolutions import SMALL_VGG, group_of, made_up, ours, rival
from benchmarks.gpu.convolutions import MODELS
from benchmarks.rivals import convolutional, in_memory, loader, numpy_book
from benchmarks.study import Study
from benchmarks.timing import in_turn
from bnexp.nn.table import layer_table
from tests.helpers import EXACT_FLOAT64, assert_close, noise

needs_mnist = pytest.mark.skipif(
    not (Path(os.environ.get("BNEXP_DATA", "")) / "MNIST" / "raw").is_dir(),
    reason="no MNIST: BNEXP_DATA names no folder that holds MNIST/raw",
)


def study(pixels: int) -> Study:
    """A small study: two hidden layers, 60 updates on 200 well separated images of ten classes."""
    labels_N = torch.arange(200) % 10
    return Study(
        scales=(0.3,),
        images_NP=torch.eye(pixels)[labels_N] + 0.1 * noise(200, pixels).float(),
        labels_N=labels_N,
        widths=(pixels, 30, 30, 10),
        steps=60,
        measured_at=frozenset({0, 30, 60}),
        batch_size=50,
        lr=0.1,
        eps=1e-6,
        momentum=0.1,
    )


@pytest.mark.parametrize("train", [in_memory.train, numpy_book.train])
@pytest.mark.parametrize("norm", [False, True])
def test_programs_in_memory_learn(train: Callable[[Study, float, bool], float], norm: bool) -> None:
    torch.manual_seed(0)
    assert train(study(12), 0.3, norm) > 0.95
    assert train(study(12), 0.0, False) == 0.1  # weights of zero: one class for all images


def test_batch_norm_from_the_formulas_is_that_of_pytorch() -> None:
    ours, theirs = numpy_book.BatchNorm(4, 1e-6, 0.1), torch.nn.BatchNorm1d(4, eps=1e-6).double()
    x_BC, grad_BC = noise(50, 4, seed=1).requires_grad_(), noise(50, 4, seed=2)
    y_BC = theirs(x_BC)
    y_BC.backward(grad_BC)
    x = x_BC.detach().numpy()
    assert_close(ours.forward(x, training=True), y_BC.detach(), EXACT_FLOAT64)
    assert_close(ours.backward(grad_BC.numpy()), x_BC.grad, EXACT_FLOAT64)
    assert_close(ours.gradients[0], theirs.weight.grad, EXACT_FLOAT64)
    assert_close(ours.forward(x, training=False), theirs.eval()(x_BC).detach(), EXACT_FLOAT64)


@needs_mnist
def test_a_program_with_a_loader_learns() -> None:
    torch.manual_seed(0)
    assert loader.train(study(784), 0.05, True) > 0.5


@needs_mnist
@pytest.mark.skipif(not find_spec("lightning"), reason="lightning is not installed; `make bench` installs it")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bare", [False, True])
def test_lightning_learns(bare: bool) -> None:
    from benchmarks.rivals import lightning_trainer

    torch.manual_seed(0)
    assert partial(lightning_trainer.train, bare=bare)(study(784), 0.05, True) > 0.5


def test_programs_take_turns() -> None:
    calls: list[str] = []
    times = in_turn({"one": lambda: calls.append("one"), "two": lambda: calls.append("two")}, rounds=3)
    assert calls == ["one", "two"] * 3
    assert [len(each.seconds) for each in times.values()] == [3, 3]


@pytest.mark.parametrize("model", [SMALL_VGG, SMALL_VGG | {"norm": "none"}, *MODELS.values()])
def test_convolutional_rivals_have_as_many_parameters(model: dict[str, object]) -> None:
    settings = group_of(model, 1).settings.model
    if settings.family == "vgg":
        network = convolutional.vgg(settings.layers, settings.widths, settings.norm.kind != "none")
    else:
        network = convolutional.resnet(settings.layers, settings.widths)
    trainable = sum(layer.trainable for layer in layer_table(settings, (3, 32, 32), 10))
    assert sum(theta.numel() for theta in network.parameters()) == trainable


def test_convolutional_programs_run_as_they_are_timed() -> None:
    group = group_of(SMALL_VGG | {"width": 2}, 2)
    data = made_up(group, torch.device("cpu"), 256)
    ours(group, data, 1, 2)()
    rival(SMALL_VGG | {"width": 2}, data, 2)()
    network = convolutional.resnet(8, (2, 4, 8))
    before = [theta.detach().clone() for theta in network.parameters()]
    images_NHWC = data.train.images_NP[:16].view(-1, 3, 32, 32).permute(0, 2, 3, 1).contiguous().numpy()
    pictures = convolutional.Pictures(images_NHWC, data.train.labels_N[:16].tolist())
    convolutional.loader_epoch(network, pictures, 0.1, 8, workers=0)
    assert not any(torch.equal(theta, old) for theta, old in zip(network.parameters(), before, strict=True))
