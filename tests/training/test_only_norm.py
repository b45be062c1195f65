"""Where γ and β alone are trained, nothing else moves by a bit, whatever the optimiser; probes look at them alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.config.probes import PROBES
from bnexp.data.catalog import DataShape
from bnexp.errors import ConfigError
from bnexp.nn.build import skeleton
from bnexp.plan import TrialGroup, groups, trials
from bnexp.runner.misfits import check_fit
from bnexp.training.group_state import GroupTrainState
from tests.helpers import experiment, finished, made_up_data, small_group
from tests.nn.own import user_networks
from tests.probes.looking import probe, short

OWN = {"family": "module", "source": f"{user_networks.__file__}:Small", "depth": None, "width": None}
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"norm": {"input": True}, "dropout": 0.3},
    "resnet": {"family": "resnet", "depth": 8, "width": 4, "weights": "scaled", "norm": {"kind": "group", "groups": 2}},
    "rnn": {"family": "rnn", "depth": 1, "activation": "tanh"},
    "module": OWN,
}
LEARNED = (".gamma", ".beta", "bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias")
RULES = {"sgd": {"momentum": 0.9, "nesterov": True}, "adamw": {}, "rmsprop": {"momentum": 0.9}, "nadam": {}}


def group(network: str = "mlp", **train: Any) -> TrialGroup:
    return small_group((0.1, 0.02), NETWORKS[network], only="norm", **train)


@pytest.mark.parametrize(("network", "optimizer"), list(zip(NETWORKS, RULES, strict=True)))
def test_gamma_and_beta_move_and_nothing_else(network: str, optimizer: str) -> None:
    some = group(network, optimizer=optimizer, weight_decay=0.1, decay_all=True, **RULES[optimizer])
    first, *_, last = (each.snapshot().arrays for each in finished(some, made_up_data(some, side=8)))
    parameters = dict(skeleton([some.settings.model], (1, 8, 8), 3).named_parameters())
    moved = {name for name in parameters if (first[f"network.{name}"] != last[f"network.{name}"]).any()}
    assert moved == {name for name in parameters if name.endswith(LEARNED)}
    remembered = [name for name in last if name.startswith("optimizer") and name.rpartition(".")[2].isdigit()]
    assert len(remembered) == len(moved) * (1 if optimizer == "sgd" else 2)


def test_weight_decay_leaves_norm_layers_out_those_of_somebodys_network_too() -> None:
    some = [group(name, weight_decay=decay) for name in ("mlp", "module") for decay in (0.0, 0.5)]
    lasts = [finished(each, made_up_data(each, side=8))[-1].snapshot().arrays for each in some]
    for one, other in (lasts[:2], lasts[2:]):
        assert all(torch.equal(torch.from_numpy(one[name]), torch.from_numpy(other[name])) for name in one)


def test_what_is_not_trained_takes_no_gradient() -> None:
    some = group()
    network = GroupTrainState(some, made_up_data(some)).network
    assert {name for name, _ in network.named_parameters()} == {
        f"{layer}.{name}" for layer in ("input.norm", "hidden.0.norm", "hidden.1.norm") for name in ("gamma", "beta")
    }


@pytest.mark.parametrize("network", ["mlp", pytest.param("module", marks=pytest.mark.slow)])
def test_every_probe_is_taken_and_says_nothing_of_weights_that_stay(network: str) -> None:
    some = small_group((0.1,), NETWORKS[network], only="norm", epochs=1)
    probes = [probe(short(name)) for name in PROBES]
    values = finished(some, made_up_data(some, side=8), None, probes)[-1].probes[-1].values
    names = {name for _, name in values}
    assert {"gradient_noise", "sharpness", "batch_spread"} <= names
    # The own network's only ReLU serves twice, so that it has no place of its own.
    assert ("gradient_norm.activation" in names) == (network == "mlp")
    assert not names & {"gradient_norm", "update_ratio", "covariate_shift", "landscape_slice[0 0]"}


def test_a_network_of_ones_own_without_norm_is_refused_before_anything_is_trained() -> None:
    source = f"{Path(user_networks.__file__)}:perceptron"
    config = experiment(
        model={"family": "module", "source": source},
        arms={
            "plain": {"model.norm": {"kind": "as_written", "affine": None}},
            "bare": {"model.source": f"{source[:-10]}no_norm"},
        },
        train={"only": "norm", "batch_size": 16},
    )
    shape = DataShape((1, 4, 4), 3, 96, 0, 0)
    with pytest.raises(ConfigError) as caught:
        check_fit(groups(trials(config)), lambda group: shape, config, "exp.yaml")
    message = "exp.yaml: train.only: norm: the network has no norm layer with γ or β in arm bare; set all"
    assert [str(problem) for problem in caught.value.problems] == [message]
