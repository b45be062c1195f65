"""Recurrent networks: against torch's own and a transcription step by step, and in all that is done with networks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config.model import ModelSettings
from bnexp.config.norm import NormSettings
from bnexp.nn.build import skeleton
from bnexp.nn.norm import StepBatchNorm, refit_statistics
from bnexp.nn.plain_layers import to_torch
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.probes.networks import Batch, Networks
from bnexp.streams import stream_seed
from bnexp.training.group_state import GroupTrainState
from tests.helpers import (
    EXACT_FLOAT64,
    PLAIN_FLOAT64,
    TOGETHER_FLOAT64,
    assert_close,
    curve,
    finished,
    made_up_data,
    noise,
    rates_group,
)
from tests.nn.plain import network
from tests.nn.test_plain_layers import assert_same, trained
from tests.probes.looking import find, in_training, rates
from tests.training.test_memory import measured_and_counted

IMAGE = (2, 4, 5)
STEPS, FEATURES, UNITS = 4, 10, 6
RNN: dict[str, Any] = {"family": "rnn", "width": UNITS, "activation": "tanh"}
NORMED: dict[str, Any] = {
    "batch": {"gamma": 0.1},
    "fixed": {"affine": "none", "gamma": 0.5, "eps": 0.1, "momentum": 0.3},
    "input only": {"recurrent": False},
    "shift alone": {"affine": "beta"},
    "layer": {"kind": "layer"},
    "group": {"kind": "group", "groups": 2},
    "rms": {"kind": "rms"},
}


class PlainRNN(nn.Module):
    """One trial written from the papers: a norm of its own for every step of either way, γ and β apart from them."""

    def __init__(self, model: ModelSettings, features: int, steps: int):
        super().__init__()
        self.norm, self.steps, self.layers = model.norm, steps, nn.ModuleList()
        for units in model.widths:
            ways = nn.ModuleDict({"input": nn.Linear(features, units), "recurrent": nn.Linear(units, units)})
            self.layers.append(ways)
            for name in list(ways):
                norms = (nn.BatchNorm1d(units, model.norm.eps, model.norm.momentum, affine=False) for _ in range(steps))
                ways[f"{name} norms"] = nn.ModuleList(norms)
            features = units
        self.output = nn.Linear(units, 3)
        self.states: list[Tensor] = []
        self.factors: dict[str, nn.Parameter] = {}

    def forward(self, x_BCHW: Tensor) -> Tensor:
        rows = [x_BCHW[:, :, step].flatten(1) for step in range(self.steps)]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.ModuleDict)
            state, states = torch.zeros(len(x_BCHW), layer["input"].out_features, dtype=x_BCHW.dtype), []
            for step, row in enumerate(rows):
                sides = (("input", row), ("recurrent", state))
                state = torch.tanh(sum(self.side(number, layer, name, step, x) for name, x in sides))
                states.append(state)
            rows = states
        self.states = states
        logits: Tensor = self.output(state)
        return logits

    def side(self, number: int, layer: nn.ModuleDict, name: str, step: int, x: Tensor) -> Tensor:
        y = layer[name](x)
        if self.norm.kind == "none" or (name == "recurrent" and not self.norm.recurrent):
            return y
        groups, eps = {"layer": 1, "group": self.norm.groups}.get(self.norm.kind), self.norm.eps
        norms = layer[f"{name} norms"]
        assert isinstance(norms, nn.ModuleList)
        if self.norm.kind == "rms":
            y = F.rms_norm(y, y.shape[1:], eps=eps)
        else:
            y = F.group_norm(y, groups, eps=eps) if groups else norms[step](y)
        key = f"hidden.{number}.{name}.norm"
        y = y * self.factors.get(f"{key}.gamma", self.norm.gamma)
        return y + self.factors[f"{key}.beta"] if f"{key}.beta" in self.factors else y


def take_over(built: nn.Module, k: int, made: PlainRNN) -> list[nn.Parameter]:
    """Give a plain network the numbers of trial k; return what it learns, in the order of bnexp's parameters."""
    learned = []
    for linear in (module for module in made.modules() if isinstance(module, nn.Linear)):
        linear.bias.data.zero_()
    for name, theta in built.named_parameters():
        mine = nn.Parameter(theta[k].detach().clone())
        path, _, last = name.rpartition(".")
        if last in ("gamma", "beta"):
            made.factors[name] = mine
        else:
            linear = made.get_submodule(path.replace("hidden", "layers").removesuffix(".linear"))
            setattr(linear, last, mine)
        learned.append(mine)
    return learned


def plain_rnn(train_state: GroupTrainState, k: int) -> tuple[PlainRNN, list[nn.Parameter]]:
    shape = train_state.data.shape.image
    made = PlainRNN(train_state.group.settings.model, shape[0] * shape[2], shape[1]).double()
    return made, take_over(train_state.network, k, made)


def group(norm: Any, trials: int = 2, **raw: Any) -> TrialGroup:
    model = RNN | {"norm": norm} | raw.pop("model", {})
    return rates_group(trials, {"depth": 1} | model, **{"precision": "fp64"} | raw)


def started(norm: Any, **raw: Any) -> GroupTrainState:
    """In float64, γ, β and b moved from where they start."""
    some = group(norm, **raw)
    train_state = GroupTrainState(some, made_up_data(some, side=STEPS, channels=2))
    for number, (name, theta) in enumerate(train_state.network.named_parameters()):
        if not name.endswith("weight"):
            theta.data += 0.2 * noise(*theta.shape, seed=number)
    return train_state


def images(train_state: GroupTrainState, numbers: Tensor) -> Tensor:
    return train_state.data.inputs(train_state.data.train.images_NP[numbers]).unflatten(1, train_state.data.shape.image)


@pytest.mark.parametrize(("depth", "activation"), [(1, "tanh"), (2, "relu")])
def test_without_norm_updates_are_those_of_torchs_rnn(depth: int, activation: str) -> None:
    train_state = started("none", model={"depth": depth, "activation": activation}, momentum=0.9)
    made = nn.RNN(2 * STEPS, UNITS, depth, activation, batch_first=True).double()
    output = nn.Linear(UNITS, 3).double()
    sources = dict(train_state.network.named_parameters())
    pairs = [("output.weight", output.weight), ("output.bias", output.bias)]
    for number in range(depth):
        key, theirs = f"hidden.{number}", made.get_parameter
        pairs += [(f"{key}.input.linear.weight", theirs(f"weight_ih_l{number}"))]
        pairs += [(f"{key}.input.linear.bias", theirs(f"bias_ih_l{number}"))]
        pairs += [(f"{key}.recurrent.linear.weight", theirs(f"weight_hh_l{number}"))]
        theirs(f"bias_hh_l{number}").requires_grad_(False).zero_()
    assert len(pairs) == len(sources)
    for name, mine in pairs:
        mine.data = sources[name][1].detach().clone()
    optimizer = torch.optim.SGD([mine for _, mine in pairs], lr=0.05, momentum=0.9)
    for step in range(1, 6):
        batch = torch.arange(16) + 7 * step
        train_state.update(batch[None], torch.tensor([[0.1], [0.05]], dtype=torch.float64), torch.tensor(step))
        optimizer.zero_grad()
        states, _ = made(images(train_state, batch).transpose(1, 2).flatten(2))
        F.cross_entropy(output(states[:, -1]), train_state.data.train.labels_N[batch]).backward()
        optimizer.step()
    for name, mine in pairs:
        assert_close(sources[name][1].detach(), mine.detach(), PLAIN_FLOAT64)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("norm", NORMED)
def test_with_norms_updates_statistics_and_evaluation_are_those_of_a_norm_for_every_step(norm: str, depth: int) -> None:
    train_state = started(NORMED[norm], model={"depth": depth}, clip={"norm_global": 0.5})
    made, learned = plain_rnn(train_state, 1)
    optimizer = torch.optim.SGD(learned, lr=0.05)
    for step in range(1, 6):
        batch = torch.arange(16) + 7 * step
        train_state.update(batch[None], torch.tensor([[0.1], [0.05]], dtype=torch.float64), torch.tensor(step))
        optimizer.zero_grad()
        F.cross_entropy(made(images(train_state, batch)), train_state.data.train.labels_N[batch]).backward()
        torch.nn.utils.clip_grad_norm_(learned, 0.5)
        optimizer.step()
    for mine, theirs in zip(train_state.network.parameters(), learned, strict=True):
        assert_close(mine[1].detach(), theirs.detach(), PLAIN_FLOAT64)
    for name, layer in train_state.network.named_modules():
        if isinstance(layer, StepBatchNorm):
            _, number, way, _ = name.split(".")
            rows = made.get_submodule(f"layers.{number}.{way} norms")
            for mine, kept in ((layer.running_mean, "running_mean"), (layer.running_var, "running_var")):
                assert_close(mine[1], torch.stack([row.get_buffer(kept) for row in rows.children()]), PLAIN_FLOAT64)
    every = torch.arange(96)
    x_BCHW = images(train_state, every)
    logits_KBC = train_state.network.eval()(x_BCHW.flatten(1)[None])
    assert_close(logits_KBC[1].detach(), made.eval()(x_BCHW).detach(), PLAIN_FLOAT64)


def test_a_bias_is_left_out_where_it_is_cancelled_or_beta_stands_for_it() -> None:
    def names(norm: Any, **raw: Any) -> list[str]:
        settings = ModelSettings.model_validate(RNN | {"norm": norm} | raw)
        made = [name for name, _ in skeleton([settings], IMAGE, 3).named_parameters()]
        return [name.removeprefix("hidden.0.") for name in made if name.startswith("hidden")]

    weights = ["input.linear.weight", "recurrent.linear.weight"]
    both = [weights[0], "input.norm.gamma", "input.norm.beta", weights[1], "recurrent.norm.gamma"]
    with_bias = [weights[0], "input.linear.bias"]
    assert names("none") == [*with_bias, weights[1]]
    assert names("none", bias=False) == weights
    assert names("batch") == names("layer") == both
    assert names("batch", bias=True) == [*with_bias, *both[1:]]
    assert names({"affine": "none"}) == weights
    assert names({"affine": "beta"}) == [weights[0], "input.norm.beta", weights[1]]
    assert names({"recurrent": False}) == both[:-1]
    assert names({"kind": "layer", "affine": "gamma"}) == [*with_bias, both[1], *both[3:]]


def test_together_equals_alone() -> None:
    some = group({"gamma": 0.1, "input": True}, 2, model={"depth": 2, "dropout": 0.3}, epochs=2, seeds=2)
    data = made_up_data(some)
    together = [progress.record for progress in finished(some, data)]
    for trial in some.trials:
        alone = [progress.record for progress in finished(TrialGroup((trial,)), data)]
        assert_close(curve(together, trial.number), curve(alone, trial.number), TOGETHER_FLOAT64)


def step_norm(steps: str, **settings: Any) -> StepBatchNorm:
    """Return the norm of two trials, three features and four steps, in float64."""
    made = StepBatchNorm(2, 3, NormSettings.model_validate({"steps": steps, **settings}), STEPS).double()
    made.gamma.data, made.beta.data = noise(2, 3, seed=1), noise(2, 3, seed=2)
    return made


def passed(norm: StepBatchNorm, x_KTBC: Tensor) -> Tensor:
    return torch.stack([norm(x_KTBC[:, step], step) for step in range(STEPS)], 1)


def moments(x_KTBC: Tensor) -> tuple[Tensor, Tensor]:
    return x_KTBC.mean(2), x_KTBC.var(2)


@pytest.mark.parametrize("steps", ["each", "shared"])
def test_all_steps_at_once_are_as_one_after_the_other(steps: str) -> None:
    one, other = step_norm(steps), step_norm(steps)
    x_KTBC = 2 * noise(2, STEPS, 7, 3, seed=3) + torch.arange(STEPS)[:, None, None]
    for training in (True, True, False):
        apart = passed(one.train(training), x_KTBC)
        at_once = other.train(training)(x_KTBC.flatten(1, 2)).unflatten(1, (STEPS, -1))
        assert_close(at_once.detach(), apart.detach(), EXACT_FLOAT64)
        assert_close(other.running_mean, one.running_mean, EXACT_FLOAT64)
        assert_close(other.running_var, one.running_var, EXACT_FLOAT64)


def test_shared_statistics_are_the_mean_over_the_steps_and_only_evaluation_tells() -> None:
    each, shared = step_norm("each", momentum=0.3), step_norm("shared", momentum=0.3)
    x_KTBC = noise(2, STEPS, 7, 3, seed=3) * (1 + torch.arange(STEPS)[:, None, None]) + 3
    assert torch.equal(passed(each, x_KTBC), passed(shared, x_KTBC))
    mean_KTC, variance_KTC = moments(x_KTBC)
    assert (each.running_mean.shape, shared.running_mean.shape) == ((2, STEPS, 3), (2, 1, 3))
    assert_close(each.running_mean, 0.3 * mean_KTC, EXACT_FLOAT64)
    assert_close(each.running_var, 0.7 + 0.3 * variance_KTC, EXACT_FLOAT64)
    assert_close(shared.running_mean, 0.3 * mean_KTC.mean(1, keepdim=True), EXACT_FLOAT64)
    assert_close(shared.running_var, 0.7 + 0.3 * variance_KTC.mean(1, keepdim=True), EXACT_FLOAT64)
    for norm in (each, shared):
        scale_KTC = norm.gamma[:, None] / (norm.running_var + norm.eps).sqrt()
        expected = (x_KTBC - norm.running_mean[:, :, None]) * scale_KTC[:, :, None] + norm.beta[:, None, None]
        assert_close(passed(norm.eval(), x_KTBC).detach(), expected.detach(), EXACT_FLOAT64)


def test_a_pass_that_was_broken_off_leaves_nothing_behind() -> None:
    broken, whole = step_norm("each"), step_norm("each")
    x_KTBC = noise(2, STEPS, 7, 3, seed=3)
    broken(x_KTBC[:, 0] + 9, 0)
    assert torch.equal(passed(broken, x_KTBC), passed(whole, x_KTBC))
    assert torch.equal(broken.running_mean, whole.running_mean)


@pytest.mark.parametrize("steps", ["each", "shared"])
def test_population_statistics_are_averages_over_batches_step_by_step(steps: str) -> None:
    built = network(RNN | {"depth": 1, "norm": {"steps": steps}, "bias": True}, [0, 4], IMAGE)
    batches = [(1 + i) * noise(1, 7, 40, seed=60 + i) + i for i in range(3)]
    refit_statistics(built, batches)
    way = built.get_submodule("hidden.0.input")
    norm, found = way.get_submodule("norm"), []
    for batch in batches:
        x_TBF = batch[0].unflatten(1, IMAGE).permute(2, 0, 1, 3).flatten(2)
        y_KTBC = torch.einsum("tbf,kcf->ktbc", x_TBF, way.get_parameter("linear.weight"))
        found.append(torch.stack(moments(y_KTBC + way.get_parameter("linear.bias")[:, None, None])))
    expected = torch.stack(found).mean(0).detach()
    if steps == "shared":
        expected = expected.mean(2, keepdim=True)
    assert_close(
        torch.stack([norm.get_buffer("running_mean"), norm.get_buffer("running_var")]), expected, PLAIN_FLOAT64
    )


def test_what_layers_hand_on_is_counted_for_all_steps() -> None:
    settings = ModelSettings.model_validate({"family": "rnn", "width": 64, "activation": "tanh"})
    rows = layer_table(settings, (1, 28, 28), 10)
    assert [(row.name, row.kind, row.shape, row.trainable, row.fixed, row.macs) for row in rows] == [
        ("hidden.0.input.linear", "Linear", (28, 64), 28 * 64, 0, 28 * 28 * 64),
        ("hidden.0.input.norm", "StepBatchNorm", (28, 64), 2 * 64, 2 * 28 * 64, 0),
        ("hidden.0.recurrent.linear", "Linear", (28, 64), 64 * 64, 0, 28 * 64 * 64),
        ("hidden.0.recurrent.norm", "StepBatchNorm", (28, 64), 64, 2 * 28 * 64, 0),
        ("hidden.0.activation", "tanh", (28, 64), 0, 0, 0),
        ("output", "Linear", (10,), 64 * 10 + 10, 0, 640),
    ]


@pytest.mark.parametrize("model", [{"norm": "none"}, {}, {"norm": "layer", "dropout": 0.5, "depth": 2}])
def test_memory_is_counted_for_all_steps(model: dict[str, Any]) -> None:
    some = rates_group(16, RNN | {"depth": 1, "width": 32} | model, 3, batch_size=64)
    measured, counted = measured_and_counted(some, side=8)
    # Without norm what comes from the step before isn't kept once it is added, and counted all the same.
    assert 0.4 * counted < measured < counted


def looked() -> tuple[GroupTrainState, Networks, Batch]:
    train_state = in_training(group({}, seeds=2), None)
    looking = Networks(train_state.shards[0], [trial.seed for trial in train_state.group.trials], 0.0)
    numbers = torch.arange(16)
    x_1BP = train_state.data.inputs(train_state.data.train.images_NP[numbers])[None]
    return train_state, looking, Batch(x_1BP, train_state.data.train.labels_N[None, numbers], 0, 0)


def test_probes_see_every_step_of_every_image_and_the_whole_gradient_that_falls_on_each() -> None:
    train_state, looking, batch = looked()
    seen = looking.look(batch)
    for k in range(4):
        made, _ = plain_rnn(train_state, k)
        loss = F.cross_entropy(made(batch.x_SBP[0].unflatten(1, train_state.data.shape.image)), batch.labels_SB[0])
        gradients = torch.cat(torch.autograd.grad(loss, made.states))
        assert_close(seen.outputs["hidden.0.activation"][k], torch.cat(made.states).detach(), PLAIN_FLOAT64)
        assert_close(seen.gradient_at["hidden.0.activation"][k], gradients, PLAIN_FLOAT64)
    steps, batch_size = STEPS, len(batch.x_SBP[0])
    assert all(looking.samples(x).shape[1] == steps * batch_size for x in seen.inputs.values())
    assert not torch.equal(*seen.outputs["hidden.0.recurrent.norm"].unflatten(1, (steps, -1))[:, -2:].unbind(1))


@pytest.mark.parametrize("steps", ["each", "shared"])
def test_variance_shift_compares_every_step_with_what_it_is_divided_by(steps: str) -> None:
    train_state = in_training(group({"steps": steps, "gamma": 0.1}))
    train_state.update(torch.arange(16)[None], rates(train_state)[:, None], torch.tensor(1))
    found = find(train_state, {"name": "variance_shift", "batches": 3}, step=2)
    drawn = [train_state.data.inputs(train_state.data.train.images_NP[numbers]) for numbers in drawn_numbers(2, 3)]
    for k in range(2):
        for way in ("input", "recurrent"):
            norm = train_state.network.get_submodule(f"hidden.0.{way}.norm")
            kept_TC = norm.get_buffer("running_var")[k].expand(STEPS, -1)
            met_TBC = torch.cat([entering(train_state, k, way, x_BP) for x_BP in drawn], 1)
            met_TC = met_TBC.var(1, correction=0)
            ratio_TC = torch.maximum(met_TC / kept_TC, kept_TC / met_TC)
            if way == "recurrent":
                assert not met_TC[0].any()
                ratio_TC[0] = 1  # nothing is known before the first step
            assert_close(found[f"hidden.0.{way}.norm", "variance_shift"][k], ratio_TC.mean(), PLAIN_FLOAT64)


def drawn_numbers(step: int, batches: int) -> list[Tensor]:
    """The images that probes draw for seed 0."""
    streams = (stream_seed(0, "probe", step * 2**20 + i) for i in range(batches))
    return [torch.randint(96, (16,), generator=torch.Generator().manual_seed(seed)) for seed in streams]


def entering(train_state: GroupTrainState, k: int, way: str, x_BP: Tensor) -> Tensor:
    """What comes into a norm of trial k in evaluation, by steps."""
    inputs: list[Tensor] = []
    norm = train_state.network.eval().get_submodule(f"hidden.0.{way}.norm")
    handle = norm.register_forward_hook(lambda module, given, output: inputs.append(given[0][k].detach()))
    train_state.network(x_BP[None])
    handle.remove()
    return torch.cat(inputs).unflatten(0, (STEPS, -1))


def test_a_plain_network_can_be_traced_for_batches_of_any_size() -> None:
    built = trained(RNN | {"depth": 1}, IMAGE)
    sizes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(to_torch(built), (noise(2, *IMAGE),), dynamic_shapes=sizes, strict=False)
    assert_same(program.module(), built, IMAGE)
