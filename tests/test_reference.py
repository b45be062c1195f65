"""The NumPy reference of batch norm against autograd, torch's own layers, central differences, and bnexp's layer."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp import reference
from bnexp.config.norm import NormSettings
from bnexp.nn.norm import BatchNorm
from tests.helpers import DIFFERENCES_FLOAT64, EXACT_FLOAT64, FAR_MEANS_FLOAT64, assert_close, noise, randomized

PAGE = Path(__file__).parents[1] / "docs/reference.md"
MODULES = [importlib.import_module(f"bnexp.reference.{each.name}") for each in pkgutil.iter_modules(reference.__path__)]
FUNCTIONS = [name for name in reference.__all__ if inspect.isfunction(getattr(reference, name))]
SHAPES = {"features": (7, 3), "images": (3, 4, 5, 2)}
STEP = 1e-5
"""Step of central differences."""

FEATURES = st.tuples(st.integers(3, 40), st.integers(3, 6))
IMAGES = st.tuples(st.integers(1, 4), st.integers(3, 5), st.integers(2, 4), st.integers(2, 4))
EPS = st.sampled_from([1e-10, 1e-6, 1e-5, 1e-3, 0.1])
SEED = st.integers(0, 10_000)


class Example:
    """A batch with γ, β and dy, as tensors that autograd follows and as arrays."""

    def __init__(self, shape: tuple[int, ...], offset: float = 0.5, std: float = 1.5, seed: int = 0):
        channels = shape[1]
        self.x = (offset + std * noise(*shape, seed=4 * seed)).requires_grad_()
        self.gamma, self.beta = (noise(channels, seed=4 * seed + i).requires_grad_() for i in (1, 2))
        self.dy = noise(*shape, seed=4 * seed + 3)

    @property
    def arrays(self) -> list[np.ndarray]:
        """x, γ and β."""
        return [tensor.detach().numpy() for tensor in (self.x, self.gamma, self.beta)]

    def by_autograd(self, y: Tensor) -> tuple[Tensor, ...]:
        """dx, dγ and dβ of y."""
        return torch.autograd.grad(y, [self.x, self.gamma, self.beta], self.dy)


def gradients_of(found: reference.Gradients) -> tuple[np.ndarray, ...]:
    return found.dx, found.dgamma_C, found.dbeta_C


def check_against_autograd(example: Example, eps: float, tolerance: float) -> None:
    expected = F.batch_norm(example.x, None, None, example.gamma, example.beta, training=True, eps=eps)
    y, cache = reference.forward(*example.arrays, eps)  # type: ignore[call-arg]
    assert_close(y, expected.detach(), tolerance)
    by_autograd = example.by_autograd(expected)
    for backward in (reference.backward, reference.backward_closed_form):
        for actual, each in zip(gradients_of(backward(example.dy.numpy(), cache)), by_autograd, strict=True):
            assert_close(actual, each, tolerance)


@limits(max_examples=300, deadline=None, derandomize=True)
@given(
    shape=FEATURES | IMAGES,
    eps=EPS,
    offset=st.sampled_from([None, -1e4, 30.0, 1e4]),
    std=st.sampled_from([1e-4, 1e-2, 1.0]),
    seed=SEED,
)
def test_outputs_and_gradients_equal_autograds_also_where_means_are_large_and_deviations_tiny(
    shape: tuple[int, ...], eps: float, offset: float | None, std: float, seed: int
) -> None:
    example = Example(shape, std if offset is None else offset, std, seed)
    check_against_autograd(example, eps, EXACT_FLOAT64 if offset is None else FAR_MEANS_FLOAT64)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1), (1, 3, 2, 1)])
def test_two_values_for_each_feature_are_enough(shape: tuple[int, ...]) -> None:
    check_against_autograd(Example(shape), eps=0.1, tolerance=EXACT_FLOAT64)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_equal_central_differences(shape: tuple[int, ...]) -> None:
    example = Example(shape)
    arrays, dy = example.arrays, example.dy.numpy()

    def loss(place: int, index: tuple[int, ...], step: float) -> float:
        moved = [array.copy() for array in arrays]
        moved[place][index] += step
        return float((dy * reference.forward(*moved)[0]).sum())

    found = gradients_of(reference.backward(dy, reference.forward(*arrays)[1]))
    for place, array in enumerate(arrays):
        differences = np.empty_like(array)
        for index in np.ndindex(*array.shape):
            differences[index] = (loss(place, index, STEP) - loss(place, index, -STEP)) / (2 * STEP)
        assert_close(found[place], differences, DIFFERENCES_FLOAT64)


def graph_of(example: Example, eps: float) -> dict[str, Tensor]:
    """The graph in torch, its values named as in Cache and GraphGradients; what goes two ways has a name for each."""
    shape = example.x.shape
    x_NC = example.x if len(shape) == 2 else example.x.permute(0, 2, 3, 1).flatten(0, 2)
    graph = {"x": example.x, "gamma_C": example.gamma, "beta_C": example.beta}
    graph["x_centred_NC"], graph["x_mean_NC"] = x_NC.clone(), x_NC.clone()
    graph["mean_C"] = graph["x_mean_NC"].mean(0)
    graph["centred_NC"] = graph["x_centred_NC"] - graph["mean_C"]
    graph["centred_product_NC"], graph["centred_square_NC"] = graph["centred_NC"].clone(), graph["centred_NC"].clone()
    graph["squared_NC"] = graph["centred_square_NC"] ** 2
    graph["variance_C"] = graph["squared_NC"].mean(0)
    graph["root_C"] = (graph["variance_C"] + eps).sqrt()
    graph["inverse_C"] = 1 / graph["root_C"]
    graph["normalised_NC"] = graph["centred_product_NC"] * graph["inverse_C"]
    graph["scaled_NC"] = graph["normalised_NC"] * example.gamma
    y_NC = graph["scaled_NC"] + example.beta
    graph["y"] = y_NC if len(shape) == 2 else y_NC.unflatten(0, (shape[0], *shape[2:])).permute(0, 3, 1, 2)
    return graph


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_cache_has_every_value_of_the_graph(shape: tuple[int, ...]) -> None:
    example = Example(shape)
    graph = graph_of(example, eps=1e-3)
    y, cache = reference.forward(*example.arrays, 1e-3)  # type: ignore[call-arg]
    assert_close(y, graph["y"].detach(), EXACT_FLOAT64)
    assert cache.shape == shape
    for field in fields(cache):
        if field.name != "shape":
            assert_close(getattr(cache, field.name), graph[field.name].detach(), EXACT_FLOAT64)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_gradient_on_the_way_is_autograds(shape: tuple[int, ...]) -> None:
    example = Example(shape)
    graph = graph_of(example, eps=1e-3)
    found = reference.backward(example.dy.numpy(), reference.forward(*example.arrays, 1e-3)[1])  # type: ignore[call-arg]
    names = [field.name.removeprefix("d") for field in fields(found)]
    expected = torch.autograd.grad(graph["y"], [graph[name] for name in names], example.dy)
    for name, each in zip(names, expected, strict=True):
        assert_close(getattr(found, f"d{name}"), each, EXACT_FLOAT64)


NODES: dict[str, tuple[Callable[..., Tensor], Callable[..., object], tuple[tuple[int, ...], ...]]] = {
    "repeat": (lambda a: a.expand(5, -1), lambda dz, a: reference.repeat_backward(dz), ((3,),)),
    "sum": (lambda a: a.sum(0), lambda dz, a: reference.sum_backward(dz, 5), ((5, 3),)),
    "mean": (lambda a: a.mean(0), lambda dz, a: reference.mean_backward(dz, 5), ((5, 3),)),
    "square": (lambda a: a**2, reference.square_backward, ((5, 3),)),
    "square_root": (torch.sqrt, lambda dz, a: reference.square_root_backward(dz, np.sqrt(a)), ((4,),)),
    "inverse": (torch.reciprocal, lambda dz, a: reference.inverse_backward(dz, 1 / a), ((4,),)),
    "product": (torch.mul, reference.product_backward, ((5, 3), (5, 3))),
    "addition": (torch.add, lambda dz, a, b: reference.addition_backward(dz), ((5, 3), (5, 3))),
    "subtraction": (torch.sub, lambda dz, a, b: reference.subtraction_backward(dz), ((5, 3), (5, 3))),
}
"""For each node: the operation in torch, the reference's backward from dz and the inputs, and their shapes."""


@pytest.mark.parametrize("node", NODES)
def test_the_backward_of_every_node_is_autograds(node: str) -> None:
    operation, backward, shapes = NODES[node]
    # Positive, for the root.
    inputs = [(0.5 + noise(*shape, seed=i).abs()).requires_grad_() for i, shape in enumerate(shapes)]
    z = operation(*inputs)
    dz = noise(*z.shape, seed=9)
    found = backward(dz.numpy(), *(each.detach().numpy() for each in inputs))
    expected = torch.autograd.grad(z, inputs, dz)
    for actual, each in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        assert_close(actual, each, EXACT_FLOAT64)


@pytest.mark.parametrize("momentum", [0.1, 0.7, 1.0])
@pytest.mark.parametrize(("layer", "shape"), [(nn.BatchNorm1d, SHAPES["features"]), (nn.BatchNorm2d, SHAPES["images"])])
def test_running_statistics_and_evaluation_equal_torchs_over_several_batches(
    layer: type[nn.BatchNorm1d | nn.BatchNorm2d], shape: tuple[int, ...], momentum: float
) -> None:
    plain = layer(shape[1], momentum=momentum).double()
    convention = reference.Convention(kept=1 - momentum, unbiased=True, first_variance=1.0, eps=plain.eps)
    running = reference.start(shape[1], convention)
    example = Example(shape)
    plain.weight.data, plain.bias.data = example.gamma.detach(), example.beta.detach()
    for number in range(5):
        batch = Example(shape, offset=number, std=1 + number, seed=number)
        plain(batch.x)
        _, cache = reference.forward(batch.arrays[0], *example.arrays[1:])
        running = reference.update(running, cache, convention)
        assert_close(running.mean_C, plain.running_mean, EXACT_FLOAT64)
        assert_close(running.variance_C, plain.running_var, EXACT_FLOAT64)
    y, kept = reference.forward_evaluation(*example.arrays, running, plain.eps)  # type: ignore[call-arg]
    expected = plain.eval()(example.x)
    assert_close(y, expected.detach(), EXACT_FLOAT64)
    by_autograd = torch.autograd.grad(expected, [example.x, plain.weight, plain.bias], example.dy)
    found = gradients_of(reference.backward_evaluation(example.dy.numpy(), kept))
    for actual, each in zip(found, by_autograd, strict=True):
        assert_close(actual, each, EXACT_FLOAT64)


@pytest.mark.parametrize(
    ("name", "means", "variances", "eps"),
    [
        ("pytorch", [0.3, 0.47], [1.7, 1.73], 1e-5),
        ("keras", [0.03, 0.0497], [1.03, 1.0297], 1e-3),
        ("deep_learning_from_scratch", [0.3, 0.47], [0.4, 0.46], 1e-6),
    ],
)
def test_each_convention_averages_as_its_source_does(
    name: str, means: list[float], variances: list[float], eps: float
) -> None:
    convention = reference.CONVENTIONS[name]
    assert convention.eps == eps
    running = reference.start(1, convention)
    one, zero = np.ones(1), np.zeros(1)
    # By hand: means 3 and 2, biased variances 4 and 1, unbiased 8 and 2.
    for x, mean, variance in zip(([[1], [5]], [[1], [3]]), means, variances, strict=True):
        running = reference.update(running, reference.forward(np.array(x), one, zero)[1], convention)
        assert_close(running.mean_C, [mean], EXACT_FLOAT64)
        assert_close(running.variance_C, [variance], EXACT_FLOAT64)


def test_pytorchs_convention_is_the_one_of_its_layers_and_the_default() -> None:
    plain, convention = nn.BatchNorm2d(2), reference.CONVENTIONS["pytorch"]
    assert plain.eps == convention.eps == inspect.signature(reference.forward).parameters["eps"].default
    assert_close(1 - convention.kept, plain.momentum, EXACT_FLOAT64)
    for function in (reference.start, reference.update):
        assert inspect.signature(function).parameters["convention"].default == convention
    assert np.array_equal(reference.start(2).mean_C, plain.running_mean)
    assert np.array_equal(reference.start(2).variance_C, plain.running_var)


@pytest.mark.parametrize("layout", SHAPES)
def test_each_of_many_trials_at_once_is_the_reference(layout: str) -> None:
    trials, shape = 3, SHAPES[layout]
    norm = BatchNorm(trials, shape[1], NormSettings(kind="batch", momentum=0.1, eps=1e-5))
    randomized(norm)
    examples = [Example(shape, offset=k, std=1 + k, seed=k) for k in range(trials)]

    def together(tensors: list[Tensor]) -> Tensor:
        return torch.stack(tensors) if layout == "features" else torch.cat(tensors, dim=1)

    def apart(tensor: Tensor) -> tuple[Tensor, ...]:
        return tensor.unbind() if layout == "features" else tensor.chunk(trials, dim=1)

    x, dy = together([each.x for each in examples]), together([each.dy for each in examples])
    running = [reference.start(shape[1]) for _ in examples]
    for training in (True, False):
        y = norm.train(training)(x)
        dx, dgamma_KC, dbeta_KC = torch.autograd.grad(y, [x, norm.gamma, norm.beta], dy, retain_graph=True)
        for k, example in enumerate(examples):
            affine = [theta[k].detach().numpy() for theta in (norm.gamma, norm.beta)]
            if training:
                found, cache = reference.forward(example.arrays[0], *affine)
                gradients: reference.Gradients = reference.backward(example.dy.numpy(), cache)
                running[k] = reference.update(running[k], cache)
            else:
                found, kept = reference.forward_evaluation(example.arrays[0], *affine, running[k])  # type: ignore[call-arg]
                gradients = reference.backward_evaluation(example.dy.numpy(), kept)
            assert_close(apart(y)[k].detach(), found, EXACT_FLOAT64)
            assert_close(apart(dx)[k], gradients.dx, EXACT_FLOAT64)
            assert_close(dgamma_KC[k], gradients.dgamma_C, EXACT_FLOAT64)
            assert_close(dbeta_KC[k], gradients.dbeta_C, EXACT_FLOAT64)
            assert_close(norm.running_mean[k], running[k].mean_C, EXACT_FLOAT64)
            assert_close(norm.running_var[k], running[k].variance_C, EXACT_FLOAT64)


def run_all(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
    """Whatever the functions return, in a row."""
    y, cache = reference.forward(x, gamma, beta)
    running = reference.update(reference.start(len(gamma)), cache)
    y_evaluated, kept = reference.forward_evaluation(x, gamma, beta, running)
    results = [cache, running, kept, reference.backward(dy, cache), reference.backward_closed_form(dy, cache)]
    results.append(reference.backward_evaluation(dy, kept))
    values = [getattr(result, field.name) for result in results for field in fields(result)]
    return [y, y_evaluated, *(value for value in values if isinstance(value, np.ndarray))]


@pytest.mark.parametrize("layout", SHAPES)
def test_nothing_is_changed_and_results_hang_on_nothing_that_changes_later(layout: str) -> None:
    example = Example(SHAPES[layout])
    handed = [*(array.copy() for array in example.arrays), example.dy.numpy().copy()]
    found = run_all(*handed)
    for array, before in zip(handed, [*example.arrays, example.dy.numpy()], strict=True):
        assert np.array_equal(array, before)
        array += 1
    for value, expected in zip(found, run_all(*example.arrays, example.dy.numpy()), strict=True):  # type: ignore[call-arg]
        assert np.array_equal(value, expected)


@pytest.mark.parametrize("layout", SHAPES)
def test_single_precision_and_integers_are_taken_as_double_precision(layout: str) -> None:
    whole = [
        np.rint(10 * array) for array in (*Example(SHAPES[layout]).arrays, Example(SHAPES[layout], seed=1).arrays[0])
    ]
    for dtype in (np.float32, np.int64):
        found = run_all(*(array.astype(dtype) for array in whole))
        for value, expected in zip(found, run_all(*whole), strict=True):
            assert value.dtype == np.float64
            assert np.array_equal(value, expected)


@pytest.mark.parametrize("layout", SHAPES)
def test_shapes_and_types_are_what_the_annotations_say(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []

    def watched(function: Callable[..., object]) -> Callable[..., object]:
        typed = jaxtyped(function, typechecker=beartype)

        def call(*args: object) -> object:
            checked.append(function.__name__)
            return typed(*args)

        return call

    for module in (reference, *MODULES):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__.startswith(reference.__name__):
                monkeypatch.setattr(module, name, watched(function))
    run_all(*Example(SHAPES[layout]).arrays, Example(SHAPES[layout]).dy.numpy())  # type: ignore[call-arg]
    assert set(FUNCTIONS) <= set(checked)


WRONG = {
    "x: shape (4, 3, 2): expected (batch, features) or (batch, channels, height, width)": {"x": (4, 3, 2)},
    "gamma: shape (2,): expected (3,), a number for each feature of x": {"gamma": (2,)},
    "beta: shape (4,): expected (3,), a number for each feature of x": {"beta": (4,)},
    "dy: shape (3, 4): expected (4, 3), the shape of y": {"dy": (3, 4)},
    "x: shape (1, 3, 1, 1): expected 2 or more values for each feature, found 1": {"x": (1, 3, 1, 1)},
    "running mean: shape (2,): expected (3,), a number for each feature of x": {"mean": (2,)},
    "running variance: shape (): expected (3,), a number for each feature of x": {"variance": ()},
}


def fitting(**changed: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Ones of shapes that fit each other, but for those that are named."""
    shapes: dict[str, tuple[int, ...]] = {"x": (4, 3), "gamma": (3,), "beta": (3,), "dy": (4, 3)}
    return {name: np.ones(shape) for name, shape in (shapes | {"mean": (3,), "variance": (3,)} | changed).items()}


def evaluate(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, reference.Gradients]:
    running = reference.RunningStatistics(arrays["mean"], arrays["variance"])
    y, cache = reference.forward_evaluation(arrays["x"], arrays["gamma"], arrays["beta"], running)
    return y, reference.backward_evaluation(arrays["dy"], cache)


def train(arrays: dict[str, np.ndarray]) -> None:
    _, cache = reference.forward(arrays["x"], arrays["gamma"], arrays["beta"])
    reference.backward(arrays["dy"], cache)


@pytest.mark.parametrize(("message", "shapes"), WRONG.items())
def test_a_wrong_shape_is_named(message: str, shapes: dict[str, tuple[int, ...]]) -> None:
    for call in (evaluate,) if "running" in message else (train,) if "2 or more" in message else (train, evaluate):
        with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message is compared
            call(fitting(**shapes))
        assert str(caught.value) == message


@pytest.mark.parametrize("batch", [0, 1])
def test_evaluation_takes_a_batch_of_one_and_none_at_all(batch: int) -> None:
    y, gradients = evaluate(fitting(x=(batch, 3), dy=(batch, 3)))
    # x is at the mean, so that only β is left.
    assert np.array_equal(y, np.ones((batch, 3)))
    assert np.array_equal(gradients.dbeta_C, np.full(3, batch))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_in_docstrings_print_what_they_say(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_page_prints_what_it_says() -> None:
    with np.printoptions():  # the page sets some, which end with this
        found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 0
    assert found.failed == 0
