"""One trial by hand: the program a reader would write with torch.nn, torch.optim and docs/reproducibility.md."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bnexp.training.group_state import GroupTrainState
from tests.helpers import PLAIN_FLOAT64, assert_close, curve, experiment, finished, made_up_data, only_group

SEED, EPOCHS, BATCH, WIDTH = 5, 3, 16, 8


def stream(seed: int, name: str, index: int) -> torch.Generator:
    """The generator of one random stream, from the description in bnexp.streams."""
    digest = hashlib.sha256(f"bnexp/{seed}/{name}/{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class PlainDropout(nn.Module):
    """Dropout from a given generator, which nn.Dropout can't do."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate, self.generator = rate, torch.Generator()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        kept = torch.rand(x.shape, generator=self.generator, dtype=torch.float32) >= self.rate
        return x * kept / (1 - self.rate)


def plain_network(placement: str, rate: float, inputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for features in (inputs, WIDTH):
        norm, activation = nn.BatchNorm1d(WIDTH), nn.Tanh()
        order = [norm, activation] if placement == "before" else [activation, norm]
        # As bias: auto has it. A bias that BN cancels has a gradient of rounding noise, which Adam turns into drift.
        layers += [nn.Linear(features, WIDTH, bias=placement == "after"), *order]
        layers += [PlainDropout(rate)] if rate else []
    network = nn.Sequential(*layers, nn.Linear(WIDTH, 3)).double()
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    for index, linear in enumerate(linears):
        fan_out, fan_in = linear.weight.shape
        z = torch.randn(fan_out, fan_in, dtype=torch.float64, generator=stream(SEED, "weights", index))
        linear.weight.data = z * (2 / (fan_in + fan_out)) ** 0.5
        if linear.bias is not None:
            linear.bias.data.zero_()
    return network


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.01),
    "nadam": lambda parameters: torch.optim.NAdam(parameters, lr=0.01, weight_decay=0.01),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.9, weight_decay=0.01),
}


@pytest.fixture
def float64_scalars() -> Iterator[None]:
    """Let torch.optim keep its own step counts and products in float64: NAdam's float32 ones are off by 1e-8."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64_scalars")
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("placement", "rate"), [("before", 0.0), ("after", 0.3)])
def test_a_trial_by_hand(name: str, placement: str, rate: float) -> None:
    momentum = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    group = only_group(
        experiment(
            model={"depth": 2, "width": WIDTH, "activation": "tanh", "dropout": rate, "norm": placement},
            arms={"only": {}},
            train={
                "epochs": EPOCHS,
                "batch_size": BATCH,
                "optimizer": name,
                "lr": 0.01,
                "weight_decay": 0.01,
                "decay_all": True,
                "nesterov": name == "sgd",
                "label_smoothing": 0.1,
                "clip": {"norm_global": 0.5},
                "precision": "fp64",
                **momentum,
            },
            seeds=[SEED],
        )
    )
    data = made_up_data(group)
    progress = finished(group, data)
    state = progress[-1].snapshot().arrays

    x, y = data.inputs(data.train.images_NP), data.train.labels_N
    network = plain_network(placement, rate, x.shape[1])
    optimizer = OPTIMIZERS[name](network.parameters())
    expected = []
    for epoch in range(EPOCHS + 1):
        if epoch:
            order = torch.randperm(len(x), generator=stream(SEED, "batches", epoch))
            uniforms = stream(SEED, "dropout", epoch)
            for layer in network:
                if isinstance(layer, PlainDropout):
                    layer.generator = uniforms
            network.train()
            for i in range(len(x) // BATCH):
                batch = order[i * BATCH : (i + 1) * BATCH]
                optimizer.zero_grad()
                F.cross_entropy(network(x[batch]), y[batch], label_smoothing=0.1).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
                optimizer.step()
        network.eval()
        with torch.no_grad():
            logits = network(x)
            expected.append([F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()])

    records = [each.record for each in progress]
    assert_close(curve(records, 0)[:, :2], np.array(expected), PLAIN_FLOAT64)
    norms = [layer for layer in network if isinstance(layer, nn.BatchNorm1d)]
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    for index, norm in enumerate(norms):
        assert_close(state[f"network.hidden.{index}.norm.running_mean"][0], norm.running_mean, PLAIN_FLOAT64)
        assert_close(state[f"network.hidden.{index}.norm.running_var"][0], norm.running_var, PLAIN_FLOAT64)
        assert_close(state[f"network.hidden.{index}.linear.weight"][0], linears[index].weight.detach(), PLAIN_FLOAT64)


def test_initial_weights_are_the_documented_draws_exactly() -> None:
    group = only_group(
        experiment(model={"depth": 2, "width": WIDTH, "init": {"scheme": "normal", "scale": 0.5}}, seeds=[SEED])
    )
    network = GroupTrainState(group, made_up_data(group)).network
    z = torch.randn(WIDTH, 16, dtype=torch.float64, generator=stream(SEED, "weights", 0))
    assert torch.equal(network.get_parameter("hidden.0.linear.weight")[0], (0.5 * z).float())
