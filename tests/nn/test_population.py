"""Population statistics against a slow transcription: the averages over batches, layer after layer."""

from typing import Any

import pytest
import torch
from torch import nn

from bnexp.config.model import ModelSettings
from bnexp.config.norm import NORMS
from bnexp.nn.build import build
from bnexp.nn.norm import BatchNorm, RunningNorm, refit_statistics
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


def layer_after_layer(made: nn.Sequential, several: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The same for one trial of plain layers: what each norm layer saw of every batch, averaged over the batches."""
    found = []
    for layer in made:
        if isinstance(layer, PlainDropout | PlainNoise):
            continue
        kept: list[dict[str, torch.Tensor]] = []
        if any(name.startswith("running") for name, _ in layer.named_buffers()):
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


def test_nothing_else_changes_and_the_model_is_left_in_evaluation_mode() -> None:
    model, untouched = (network(norm={"kind": "noisy_batch", "momentum": 0.3}) for _ in range(2))
    parameters = [parameter.detach().clone() for parameter in model.parameters()]
    refit_statistics(model, batches())
    assert [norm.momentum for norm in norms(model)] == [0.3, 0.3]
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), parameters, strict=True))
    # Dropout and noise have drawn nothing.
    assert torch.equal(model.train()(batches()[0]), untouched.train()(batches()[0]))


@pytest.mark.parametrize(("kind", "left_over"), [("batch", float("inf")), ("whiten", float("nan"))])
def test_what_the_running_statistics_were_before_leaves_no_trace(kind: str, left_over: float) -> None:
    fresh, used = network(norm=kind), network(norm=kind)
    for name, buffer in used.named_buffers():
        if "running" in name:
            buffer.fill_(left_over)
    for model in (fresh, used):
        refit_statistics(model, batches())
    for (name, one), other in zip(fresh.state_dict().items(), used.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
