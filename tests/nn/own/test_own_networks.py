"""A network of the user's own: arms by surgery, one start for all arms, and the numbers of a plain PyTorch loop."""

import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bnexp
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.norm import NORMS
from bnexp.deploy.export import export_trial
from bnexp.errors import InputError
from bnexp.nn.build import build, skeleton
from bnexp.nn.own.source import make
from bnexp.nn.table import layer_table
from bnexp.plan import groups, trials
from bnexp.streams import SeedGenerators, TrialRandom, stream_seed
from tests.helpers import (
    EXACT_FLOAT64,
    PLAIN_FLOAT64,
    TOGETHER_FLOAT64,
    assert_close,
    curve,
    finished,
    leave_out_report,
    made_up_data,
)
from tests.nn.own import user_networks

HERE = Path(user_networks.__file__)
IMAGE, CLASSES = (1, 4, 4), 3
WHERE = ("input", "normalized", "output")
"""Where drift looks at a norm layer."""


def experiment(name: str, **raw: Any) -> ExperimentConfig:
    """An experiment with a network of the tests' own file."""
    model = {"family": "module", "source": f"{HERE.name}:{name}", **raw.pop("model", {})}
    train = {"epochs": 2, "batch_size": 16, "lr": 0.1, "precision": "fp64", **raw.pop("train", {})}
    return resolve({"name": "own", "model": model, "train": train, "seeds": 1, **raw}, str(HERE.with_name("own.yaml")))


def layers(config: ExperimentConfig, arm: str) -> list[tuple[str, str]]:
    """Name and kind of the layers of an arm, in the order of the forward pass; without those that do nothing."""
    rows = layer_table(config.settings(arm, {}).model, IMAGE, CLASSES)
    return [(row.name, row.kind) for row in rows if row.kind != "Identity"]


def test_arms_take_norm_layers_out_put_them_in_and_exchange_them() -> None:
    arms = dict.fromkeys(("as_written", "none", "before", "after"))
    config = experiment("Small", arms=arms | {"group": {"model.norm": {"kind": "group", "groups": 2}}})
    rest = [("drop", "Dropout"), ("fc", "Linear")]
    relu, conv1, conv2 = ("relu", "ReLU"), ("conv1", "Conv2d"), ("conv2", "Conv2d")
    bn1, bn2 = ("bn1", "BatchNorm2d"), ("bn2", "BatchNorm2d")
    assert layers(config, "as_written") == [conv1, bn1, relu, conv2, bn2, *rest]
    assert layers(config, "none") == [conv1, relu, conv2, *rest]
    behind = [(f"{layer}.norm_behind.0", "BatchNorm") for layer in ("conv1", "conv2")]
    assert layers(config, "before") == [conv1, behind[0], relu, conv2, behind[1], *rest]
    after = [(f"relu.norm_behind.{turn}", "BatchNorm") for turn in (0, 1)]  # the ReLU serves twice
    assert layers(config, "after") == [conv1, relu, after[0], conv2, after[1], *rest]
    assert layers(config, "group") == [conv1, ("bn1", "GroupNorm"), relu, conv2, ("bn2", "GroupNorm"), *rest]


def test_a_weight_layer_without_bias_gets_one_of_zero_where_beta_is_taken_out() -> None:
    config = experiment("Small", arms=["none", "before"])
    plain, normed = (skeleton([config.settings(arm, {}).model], IMAGE, CLASSES) for arm in config.arms)
    assert plain.get_parameter("network.conv1.bias").count_nonzero() == 0
    assert normed.network.conv1.bias is None  # type: ignore[union-attr]


def test_a_layer_with_layers_inside_is_one_layer() -> None:
    config = experiment("padded", arms=["none", "before"])
    rest = [("2", "Flatten"), ("3", "Linear")]
    assert layers(config, "none") == [("0", "PaddedConv"), *rest]
    assert layers(config, "before") == [("0", "PaddedConv"), ("0.norm_behind.0", "BatchNorm"), *rest]
    plain = skeleton([config.settings("none", {}).model], IMAGE, CLASSES)
    assert plain.get_parameter("network.0.bias").count_nonzero() == 0


def test_settings_of_norm_layers_are_changed_in_place() -> None:
    change = {"momentum": 0.3, "eps": 0.01, "affine": "beta", "gamma": 0.5}
    config = experiment("Small", arms={"changed": {f"model.norm.{name}": value for name, value in change.items()}})
    network = skeleton([config.settings("changed", {}).model], IMAGE, CLASSES)
    norm: Any = network.get_submodule("network.bn1")
    assert (norm.momentum, norm.eps) == (0.3, 0.01)
    learned = dict(network.named_parameters())
    assert "network.bn1.bias" in learned
    assert "network.bn1.weight" not in learned
    assert norm.weight.unique().tolist() == [0.5]


def test_all_arms_of_a_seed_start_from_the_weights_that_the_code_draws() -> None:
    config = experiment("Small", arms=["as_written", "none", "before", "after"], seeds=[3, 8])
    for seed in config.seeds:
        drawn = make(config.model, stream_seed(seed, "weights", 0)).double().state_dict()
        for arm in config.arms:
            tensors = start(config, arm, seed)
            for name in ("conv1.weight", "conv2.weight", "fc.weight", "fc.bias", "scale"):
                assert torch.equal(tensors[name].reshape(drawn[name].shape), drawn[name])
    first, second = (make(config.model, stream_seed(seed, "weights", 0)).conv1.weight for seed in config.seeds)
    assert not torch.equal(first, second)  # type: ignore[arg-type]


def start(config: ExperimentConfig, arm: str, seed: int) -> dict[str, Tensor]:
    """The tensors that a trial starts from."""
    draws = TrialRandom(SeedGenerators([seed], torch.device("cpu")), [seed])
    settings = [config.settings(arm, {}).model]
    network = build(settings, [seed], IMAGE, CLASSES, draws, torch.device("cpu"), torch.float64)
    return {name.removeprefix("network."): tensor[0] for name, tensor in network.state_dict().items()}


def test_a_given_init_draws_weights_in_the_order_of_the_forward_pass() -> None:
    config = experiment("Backwards", model={"init": {"scheme": "he", "scale": 0.5}}, arms=["as_written", "none"])
    for arm in config.arms:
        tensors = start(config, arm, seed=3)
        for index, (name, shape) in enumerate((("conv", (8, 1, 3, 3)), ("fc", (3, 8)))):
            generator = torch.Generator().manual_seed(stream_seed(3, "weights", index))
            normal = torch.randn(shape, generator=generator, dtype=torch.float64)
            expected = 0.5 * math.sqrt(2 / math.prod(shape[1:])) * normal
            assert_close(tensors[f"{name}.weight"], expected, EXACT_FLOAT64)
        assert tensors["fc.bias"].count_nonzero() == 0


def test_a_given_scale_alone_multiplies_the_weights_that_the_code_draws() -> None:
    scaled, drawn = (
        start(experiment("Backwards", model=model), "none", 3) for model in ({"init": {"scale": 0.25}}, {})
    )
    assert torch.equal(scaled["conv.weight"], 0.25 * drawn["conv.weight"])
    assert torch.equal(scaled["fc.bias"], drawn["fc.bias"])


def test_sync_batch_norm_trains_as_batch_norm_and_rms_norm_is_a_norm_layer() -> None:
    config = experiment("Backwards", arms=["as_written", "none"])
    norms = [("sync", "SyncBatchNorm"), ("rms", "RMSNorm")]
    assert layers(config, "as_written") == [("conv", "Conv2d"), *norms, ("fc", "Linear")]
    assert layers(config, "none") == [("conv", "Conv2d"), ("fc", "Linear")]
    group = groups(trials(config))[0]
    assert np.isfinite(curve([each.record for each in finished(group, made_up_data(group))], 0)).all()


class DropoutOfSeed(nn.Module):
    """Dropout from the documented stream."""

    def __init__(self, rate: float, generator: torch.Generator):
        super().__init__()
        self.rate, self.generator = rate, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.rand(x.shape, generator=self.generator) >= self.rate
        return x * kept / (1 - self.rate)


def plain_loop(config: ExperimentConfig, seed: int, x_BCHW: Tensor, y: Tensor) -> np.ndarray:
    """Train the network as it is written the way its author would; loss and accuracy of each epoch."""
    model, train = config.model, config.train
    network = make(model, stream_seed(seed, "weights", 0)).double()
    uniforms = torch.Generator()
    network.drop = DropoutOfSeed(0.3, uniforms)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=train.lr, momentum=0.9)
    seen = []
    for epoch in range(3):
        if epoch:
            order = torch.randperm(len(y), generator=torch.Generator().manual_seed(stream_seed(seed, "batches", epoch)))
            uniforms.manual_seed(stream_seed(seed, "dropout", epoch))
            network.train()
            for batch in order.split(train.batch_size):
                optimizer.zero_grad()
                F.cross_entropy(network(x_BCHW[batch]), y[batch]).backward()
                optimizer.step()
        network.eval()
        with torch.no_grad():
            logits = network(x_BCHW)
        seen.append([F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()])
    assert getattr(network, "passes", 12) == 12
    return np.array(seen)


@pytest.mark.parametrize("name", ["Small", "Perceptron"])  # in turn, and all at once
def test_trials_together_equal_trials_alone_and_a_plain_loop(name: str) -> None:
    config = experiment(name, arms=["as_written"], seeds=2, train={"momentum": 0.9})
    (group,) = groups(trials(config))
    data = made_up_data(group)
    together = [each.record for each in finished(group, data)]
    for trial in group.trials:
        alone = [each.record for each in finished(group.only([trial.number]), data)]
        assert_close(curve(alone, trial.number), curve(together, trial.number), TOGETHER_FLOAT64)
        x_BCHW = data.inputs(data.train.images_NP).view(-1, *IMAGE)
        expected = plain_loop(config, trial.seed, x_BCHW, data.train.labels_N)
        assert_close(curve(together, trial.number)[:, :2], expected, PLAIN_FLOAT64)


FAMILIES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "mlp": ("perceptron", {"depth": 2, "width": 8, "init": "xavier"}, ["none", "before"]),
    "vgg": ("vgg11", {"depth": 11, "width": 2, "activation": "relu", "init": "he"}, ["none", "before", "after"]),
    "resnet": ("ResNet8", {"depth": 8, "width": 2, "activation": "relu", "init": "he"}, ["none", "before"]),
}
"""The same network as a user writes it, settings of the family, and the arms that are the same in both.

resnet has no `after`: behind the addition of a block bnexp's family then has no norm layer, and one's own has."""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_network_in_the_family_of_bnexp_gives_the_same_curves(family: str) -> None:
    name, model, arms = FAMILIES[family]
    own = experiment(name, model={"init": model["init"]}, arms=[*arms, "as_written"], train={"lr": 0.02})
    ours = ExperimentConfig.model_validate(own.model_dump() | {"model": {"family": family, **model}, "arms": arms})
    curves = {}
    for config in (own, ours):
        for group in groups(trials(config)):
            (trial,) = group.trials
            records = [each.record for each in finished(group, made_up_data(group, 32, test=8))]
            curves[config.model.family, trial.arm] = curve(records, trial.number)
    for arm in (*arms, "as_written"):
        same = "before" if arm == "as_written" else arm
        assert len(set(curves[family, same][:, 0])) == 3, "it learned nothing"
        assert_close(curves["module", arm], curves[family, same], PLAIN_FLOAT64)


def test_probes_find_layers_by_the_names_in_the_code_and_see_what_they_see_in_bnexps_own() -> None:
    probes = ["gradient_norm", "drift", "batch_spread", "saturation", "variance_shift", "update_ratio"]
    train = {"epochs": 1, "record_at": "epoch"}
    own = experiment("perceptron", model={"init": "xavier"}, arms=["as_written", "before"], train=train, probes=probes)
    raw = own.model_dump() | {"model": {"family": "mlp", "depth": 2, "width": 8, "init": "xavier"}, "arms": ["before"]}
    found = {}
    for config in (own, ExperimentConfig.model_validate(raw)):
        for group in groups(trials(config)):
            (last,) = finished(group, made_up_data(group), None, config.probes)[-1].probes
            found[config.model.family, group.trials[0].arm] = last.values
    names = {"1": "hidden.0.linear", "2": "hidden.0.norm", "3": "hidden.0.activation"}
    names |= {"4": "hidden.1.linear", "5": "hidden.1.norm", "6": "hidden.1.activation", "7": "output"}
    names |= {"1.norm_behind.0": "hidden.0.norm", "4.norm_behind.0": "hidden.1.norm"}
    names |= {f"{layer}.{place}": f"{names[layer]}.{place}" for layer in [*names] for place in WHERE}
    ours = found.pop(("mlp", "before"))
    for values in found.values():
        theirs = {(names.get(layer, layer), probe): value for (layer, probe), value in values.items()}
        assert theirs.keys() == ours.keys()
        for probe in {probe for _, probe in ours}:
            ours_, theirs_ = ([each[key] for key in ours if key[1] == probe] for each in (ours, theirs))
            assert_close(theirs_, ours_, TOGETHER_FLOAT64)


@pytest.mark.parametrize("name", ["Tokens", "Lottery"])
def test_what_the_code_draws_by_itself_depends_on_seed_and_step_alone(name: str) -> None:
    config = experiment(name, arms=["as_written"], seeds=2)
    (group,) = groups(trials(config))
    data = made_up_data(group)
    both = [each.record for each in finished(group, data)]
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(12345)
    alone = [each.record for each in finished(group.only([1]), data)]
    assert_close(curve(alone, 1), curve(both, 1), TOGETHER_FLOAT64)


@pytest.mark.parametrize("kind", [kind for kind in NORMS if kind != "none"])
def test_every_kind_takes_the_place_of_another(kind: str) -> None:
    """Also over the last axis, where every token is a sample."""
    for name in ("Small",) if NORMS[kind].over_places else ("Small", "Tokens"):
        norm = {"kind": kind, "groups": 2, "group_size": 2}
        config = experiment(name, arms={kind: {"model.norm": norm}}, train={"epochs": None, "steps": 2})
        (group,) = groups(trials(config))
        records = [each.record for each in finished(group, made_up_data(group))]
        assert np.isfinite(curve(records, 0)).all()


@pytest.mark.parametrize(("name", "layer"), [("Tokens", "norm"), ("perceptron", "2")])
def test_instance_norm_is_refused_where_there_are_no_places(name: str, layer: str) -> None:
    config = experiment(name, arms={"instance": {"model.norm.kind": "instance"}})
    told = f"norm.kind instance has no places to normalise over at {layer}; set group, say"
    with pytest.raises(InputError, match=told):
        skeleton([config.settings("instance", {}).model], IMAGE, CLASSES)


def test_layer_norm_over_tokens_is_torchs() -> None:
    config = experiment("Tokens", arms={"as_written": None, "layer": {"model.norm.kind": "layer"}})
    written, layer = (
        skeleton([config.settings(arm, {}).model], IMAGE, CLASSES, dtype=torch.float64) for arm in config.arms
    )
    x_SBP = torch.rand(1, 5, 16, dtype=torch.float64)
    assert_close(layer.eval()(x_SBP).detach(), written.eval()(x_SBP).detach(), PLAIN_FLOAT64)


def line_of(words: str) -> int:
    """The line of the tests' own file that has some words."""
    return 1 + next(number for number, line in enumerate(HERE.read_text().splitlines()) if words in line)


REFUSED = {
    "no such file": ({"source": "nowhere.py:Net"}, "nowhere.py: no such file in"),
    "no such module": ({"source": "no_such_package.models:net"}, "no such module is installed"),
    "no such name": ({"source": f"{HERE.name}:Smal"}, "has no Smal (nearest: Small)"),
    "not callable": ({"source": f"{HERE.name}:number"}, "is of type int; expected a class or a function"),
    "no network": ({"source": f"{HERE.name}:words"}, "returns str; expected a torch.nn.Module"),
    "fails when made": (
        {"source": f"{HERE.name}:Broken", "arguments": {"width": 0}},
        f"{HERE.name}:{line_of('width must')}: in __init__: ValueError: width must be positive",
    ),
    "fails with the data": ({"source": f"{HERE.name}:Broken"}, "in forward: RuntimeError: "),
    "wrong classes": (
        {"source": f"{HERE.name}:Small", "arguments": {"classes": 7}},
        "returns (batch, 7); expected logits (batch, 3); give the number of classes in model.arguments",
    ),
    "shared parameters": ({"source": f"{HERE.name}:Tied"}, "one.weight and two.weight share a parameter"),
    "lazy": ({"source": f"{HERE.name}:lazy"}, "1.weight has no shape yet (a lazy module)"),
    "growing buffer": ({"source": f"{HERE.name}:Growing"}, "seen changes its shape"),
    "functional norm": (
        {"source": f"{HERE.name}:FunctionalNorm", "norm": "none"},
        "forward calls batch_norm as a function",
    ),
    "functional activation": (
        {"source": f"{HERE.name}:Tokens", "norm": "after"},
        "forward calls relu as a function, where no norm layer can be put after it",
    ),
    "nothing to normalise": ({"source": f"{HERE.name}:no_norm", "norm": "group"}, "has no norm layer"),
    "nothing to slice": ({"source": f"{HERE.name}:no_norm", "norm": {"over": 4}}, "has no batch norm for norm.over"),
    "nothing to freeze": ({"source": f"{HERE.name}:no_norm", "norm": {"freeze_at": 2}}, "has no running statistics"),
    "slices of one number": ({"source": f"{HERE.name}:perceptron", "norm": {"over": 1}}, "leaves one number a feature"),
    "classes": ({"source": f"{HERE.name}:Guess", "arguments": {"cut": False}}, "returns torch.int64; expected logits"),
    "no gradients": ({"source": f"{HERE.name}:Guess", "arguments": {"cut": True}}, "don't depend on any trained"),
    "ends the process": ({"source": f"{HERE.name}:leaves"}, "in leaves: SystemExit: 3"),
    "not in Python": ({"source": "math:sqrt"}, "math isn't written in Python"),
    "fails in evaluation": ({"source": f"{HERE.name}:NoEvaluation"}, "ValueError: no evaluation"),
    "norm with more inside": ({"source": f"{HERE.name}:joined", "norm": "none"}, "1 is a NormWithActivation"),
    "remembers": ({"source": f"{HERE.name}:Remembers"}, "two forward passes of the same images differ: hidden is kept"),
    "random numbers": (
        {"source": f"{HERE.name}:Chance"},
        "if it draws random numbers, draw them with the global generators",
    ),
    "moves to a device": ({"source": f"{HERE.name}:OnGPU"}, "leave out .cuda() and .to(device), since bnexp moves"),
    "lacks an argument": (
        {"source": f"{HERE.name}:Guess"},
        "Guess needs the argument cut; give it under model.arguments, e.g. {cut: …}",
    ),
    "unknown argument": (
        {"source": f"{HERE.name}:Small", "arguments": {"widht": 3}},
        "model.arguments.widht: user_networks.py:Small has no such argument (nearest: width); it takes width and ",
    ),
    "module without .py": ({"source": f"{HERE.stem}:Small"}, "write user_networks.py:Small"),
    "hidden activation": (
        {"source": f"{HERE.name}:HiddenActivation", "norm": "after"},
        "Hidden is a torch.autograd.Function, perhaps an activation, and no norm layer can be put after it",
    ),
    "groups": ({"source": f"{HERE.name}:Small", "norm": {"kind": "group", "groups": 3}}, "at bn1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_with_place_and_remedy(case: str) -> None:
    model, message = REFUSED[case]

    def show() -> None:
        config = experiment("", model=model, arms={"only": {}})
        layer_table(config.settings("only", {}).model, IMAGE, CLASSES)

    with pytest.raises(InputError) as refused:
        show()
    assert message in str(refused.value)
    assert re.search(r"model\.(source|arguments)", str(refused.value))


def test_what_is_kept_and_never_read_is_no_fault() -> None:
    config = experiment("KeepsToLookAt", arms=["as_written"])
    assert layers(config, "as_written") == [("", "KeepsToLookAt")]


@pytest.mark.usefixtures("without_report")
def test_arguments_are_keys_of_grid_arms_and_overrides(tmp_path: Path) -> None:
    raw = {"grid": {"model.arguments.width": [4, 8]}, "data": {"name": "digits", "train_size": 40}}
    arms = {"small": {}, "narrow": {"model.arguments.classes": 10, "model.norm": "none"}}
    model = {"arguments": {"classes": 10}}
    config = experiment("Small", model=model, arms=arms, train={"epochs": None, "steps": 1}, **raw)
    run = bnexp.run(config, runs=tmp_path, workers=1, progress=False)
    assert len(run.compare().equal) == 4  # a row per width and arm
    assert set(run.trials["model.arguments.width"]) == {4, 8}


def test_a_network_that_changes_its_images_in_place_changes_them_for_itself_alone() -> None:
    config = experiment("Overwrites", arms=["as_written"])
    network, x_SBP = skeleton([config.settings("as_written", {}).model], IMAGE, CLASSES), torch.ones(1, 5, 16)
    network(x_SBP)
    assert (x_SBP == 1).all()


def test_the_digest_follows_the_file_and_what_it_imports(tmp_path: Path) -> None:
    net, helper = tmp_path / "net.py", tmp_path / "blocks.py"
    net.write_text("from blocks import linear\n\ndef net():\n    return linear()\n")
    sources = []
    for features in (16, 17):
        helper.write_text(f"from torch import nn\n\ndef linear():\n    return nn.Linear({features}, 3)\n")
        config = resolve({"name": "x", "model": {"family": "module", "source": "net.py:net"}}, str(tmp_path / "x.yaml"))
        sources.append(config.model.source)
        assert make(config.model, 0).in_features == features
    assert sources[0] != sources[1]
    other = config.model.model_copy(update={"source": f"{sources[1]}x"})
    with pytest.raises(InputError, match="has changed since the configuration was read"):
        make(other, 0)


ARMS = ["as_written", "none", "before", "after"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> bnexp.Run:
    """A finished run of every arm, of a network whose images are digits."""
    model = {"arguments": {"classes": 10}}
    train = {"epochs": None, "steps": 4, "precision": "fp32"}
    config = experiment("Small", model=model, arms=ARMS, train=train, data={"name": "digits", "train_size": 100})
    with pytest.MonkeyPatch.context() as patch:
        leave_out_report(patch)
        return bnexp.run(config, runs=tmp_path_factory.mktemp("runs"), workers=1, progress=False)


def test_a_trained_network_comes_back_as_a_module_of_its_class(run: bnexp.Run) -> None:
    x_BCHW = torch.randint(256, (5, 1, 8, 8))
    for trial, arm in enumerate(ARMS):
        plain: Any = run.network(trial)
        network = plain[1]
        assert type(network).__name__ == "Small"
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == (arm != "none")
        assert plain(x_BCHW).shape == (5, 10)


def test_it_is_exported_with_its_code_and_folded_where_that_is_exact(run: bnexp.Run, tmp_path: Path) -> None:
    for trial, arm in enumerate(ARMS):
        exported = export_trial(run.record, trial, tmp_path / arm, fold=arm in ("as_written", "before"))
        assert [path.name for path in exported.paths] == ["model.py", "weights.safetensors", HERE.name]
    with pytest.raises(InputError, match=r"relu\.norm_behind\.0: no layer with weights stands right before it"):
        export_trial(run.record, 3, tmp_path / "folded", fold=True)


def test_the_run_folder_has_the_code_and_no_path_of_this_machine(run: bnexp.Run) -> None:
    (copy,) = (run.path / "networks").rglob("*.py")
    assert copy.read_bytes() == HERE.read_bytes()
    assert str(HERE.parent) not in (run.path / "config.yaml").read_text()
