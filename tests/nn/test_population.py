"""Population statistics against a slow transcription: the averages over batches, layer after layer."""

from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.config.norm import NORMS
from bnexp.nn.build import build
from bnexp.nn.norm import BatchNorm, RunningNorm, refit_statistics
from bnexp.nn.whiten import Whiten
from tests.helpers import EXACT_FLOAT64, assert_close, noise
from tests.nn.plain import CPU, PlainDropout, PlainNoise, plain, seed_draws, take_over
from tests.nn.plain import network as moved_network

SEEDS, BATCHES, SIZE, INPUTS = [0, 4], 5, 7, 9


def network(**raw: Any) -> nn.Module:
    settings = ModelSettings.model_validate(
        {"depth": 2, "width": 6, "activation": "tanh", "bias": True, "dropout": 0.5, **raw}
    )
    model = build([settings] * 2, SEEDS, (1, 3, 3), 3, seed_draws(SEEDS), CPU, torch.float64)
    for parameter in model.parameters():
        parameter.data += 0.1 * noise(*parameter.shape, seed=parameter.numel())
    return model


def batches() -> list[torch.Tensor]:
    return [(1 + i) * noise(1, SIZE, INPUTS, seed=60 + i) + i for i in range(BATCHES)]


def norms(model: nn.Module) -> list[BatchNorm]:
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


def transcription(model: nn.Module, k: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Algorithm 2 for trial k: push all batches through one layer, average their statistics, go to the next layer."""
    found = []
    several = [batch[0] for batch in batches()]
    layers = [*model.get_submodule("input"), *(step for layer in model.get_submodule("hidden") for step in layer)]
    for layer in layers:
        if isinstance(layer, BatchNorm):
            means = torch.stack([x.mean(0) for x in several])
            unbiased = torch.stack([x.var(0, correction=0) * SIZE / (SIZE - 1) for x in several])
            found.append((means.mean(0), unbiased.mean(0)))
            gamma, beta, eps = layer.gamma[k], layer.beta[k], layer.eps
            several = [gamma * (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt() + beta for x in several]
        elif type(layer).__name__ == "Linear":
            weight, bias = layer.get_parameter("weight")[k], layer.get_parameter("bias")[k]
            several = [x @ weight.T + bias for x in several]
        elif type(layer).__name__ == "Tanh":
            several = [x.tanh() for x in several]
    return found


def layer_after_layer(made: nn.Sequential, several: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The same for one trial of plain layers: what each norm layer saw of every batch, averaged over the batches."""
    found = []
    for layer in made:
        if isinstance(layer, PlainDropout | PlainNoise):
            continue
        kept: list[dict[str, torch.Tensor]] = []
        if hasattr(layer, "running_mean"):
            layer.momentum = 1.0
        outputs = []
        for x in several:
            outputs.append(layer(x).detach())
            kept.append({name: buffer.clone() for name, buffer in layer.named_buffers() if name.startswith("running")})
        several = outputs
        if kept[0]:
            found.append({name: torch.stack([each[name] for each in kept]).mean(0) for name in kept[0]})
    return found


@pytest.mark.parametrize("kind", [kind for kind, spec in NORMS.items() if spec.batch_statistics])
@pytest.mark.parametrize("family", ["mlp", "vgg"])
def test_every_norm_over_the_batch_averages_without_dropout_or_noise(family: str, kind: str) -> None:
    image, seeds = (2, 4, 4), [0, 4]
    raw: dict[str, Any] = {
        "family": family,
        "depth": {"mlp": 3, "vgg": 5}[family],
        "width": 4,
        "activation": "tanh",
        "dropout": 0.5,
        "norm": {"kind": kind, "placement": "after", "input": True, "group_size": 2},
    }
    model = moved_network(raw, seeds, image)
    made = [plain(raw, image) for _ in seeds]
    for k, each in enumerate(made):
        take_over(each, model, k)
    several = [(1 + i) * noise(1, SIZE, 32, seed=60 + i) + i for i in range(BATCHES)]
    refit_statistics(model, several)
    layers = [module for module in model.modules() if isinstance(module, RunningNorm)]
    for k, each in enumerate(made):
        assert isinstance(each, nn.Sequential)
        expected = layer_after_layer(each, [x.view(-1, *image) for x in several])
        assert len(expected) == len(layers) == {"mlp": 4, "vgg": 5}[family]
        for norm, averages in zip(layers, expected, strict=True):
            assert set(averages) == {name for name in norm.state_dict() if name.startswith("running")}
            for name, average in averages.items():
                assert_close(norm.get_buffer(name)[k], average, EXACT_FLOAT64)


@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize("dropout_at", ["each", "before_norm", "after_norm", "last"])
def test_statistics_are_the_averages_over_the_batches_without_dropout(placement: str, dropout_at: str) -> None:
    model = network(norm={"placement": placement, "input": True}, dropout_at=dropout_at)
    refit_statistics(model, batches())
    for k in range(len(SEEDS)):
        expected = transcription(model, k)
        assert len(expected) == len(norms(model)) == 3
        for norm, (mean, variance) in zip(norms(model), expected, strict=True):
            assert_close(norm.running_mean[k].detach(), mean.detach(), EXACT_FLOAT64)
            assert_close(norm.running_var[k].detach(), variance.detach(), EXACT_FLOAT64)


def test_nothing_else_changes_and_the_model_is_left_in_evaluation_mode() -> None:
    model = network(norm={"momentum": 0.3}).train()
    parameters = [parameter.detach().clone() for parameter in model.parameters()]
    refit_statistics(model, batches())
    assert [norm.momentum for norm in norms(model)] == [0.3, 0.3]
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), parameters, strict=True))


def test_a_second_refit_gives_the_same() -> None:
    model = network()
    refit_statistics(model, batches())
    first = [norm.running_var.clone() for norm in norms(model)]
    refit_statistics(model, batches())
    assert all(torch.equal(norm.running_var, one) for norm, one in zip(norms(model), first, strict=True))


@pytest.mark.parametrize("left_over", [0.0, 1e30, float("inf"), float("nan")])
def test_what_the_running_statistics_were_before_leaves_no_trace(left_over: float) -> None:
    fresh, used = network(), network()
    for norm in norms(used):
        norm.running_mean.fill_(left_over)
        norm.running_var.fill_(left_over)
    refit_statistics(fresh, batches())
    refit_statistics(used, batches())
    for one, other in zip(norms(fresh), norms(used), strict=True):
        assert_close(other.running_mean, one.running_mean, EXACT_FLOAT64)
        assert_close(other.running_var, one.running_var, EXACT_FLOAT64)


@pytest.mark.parametrize("left_over", [1e30, float("inf"), float("nan")])
def test_nor_does_what_the_running_covariance_was(left_over: float) -> None:
    fresh, used = network(norm="whiten"), network(norm="whiten")
    for module in used.modules():
        if isinstance(module, Whiten):
            module.running_covariance.fill_(left_over)
            module.running_mean.fill_(left_over)
    refit_statistics(fresh, batches())
    refit_statistics(used, batches())
    for (name, one), other in zip(fresh.state_dict().items(), used.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("kind", ["batch", "noisy_batch"])
def test_dropout_and_noise_draw_nothing(kind: str) -> None:
    model, untouched = network(norm=kind), network(norm=kind)
    refit_statistics(model, batches())
    model.train(), untouched.train()
    assert torch.equal(model(batches()[0]), untouched(batches()[0]))


@pytest.mark.parametrize("kind", ["none", "layer", "group"])
def test_batches_of_one_pass_where_there_is_no_batch_norm(kind: str) -> None:
    model = network(norm={"kind": kind, "groups": 2})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    refit_statistics(model, [batch[:, :1] for batch in batches()])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_batches_of_one_are_refused_under_batch_norm_as_in_training() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        refit_statistics(network(), [batch[:, :1] for batch in batches()])


def test_equal_images_have_a_variance_of_zero_and_a_finite_output() -> None:
    model, image = network(norm={"input": True}), torch.full((1, SIZE, INPUTS), 37.0, dtype=torch.float64)
    refit_statistics(model, [image] * 3)
    for norm in norms(model):
        assert norm.running_var.max() < EXACT_FLOAT64 * norm.eps
    assert model(image).isfinite().all()
