"""The text of a plain network: it builds the same layers, whatever names are in it, and takes no bnexp."""

import ast
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bnexp.data.catalog import DataShape
from bnexp.deploy.module_source import WEIGHTS, model_source
from bnexp.nn.plain_layers import ScaledPixels, WhitenedPixels, to_torch
from tests.nn.test_plain_layers import FAMILIES, IMAGE, trained

SHAPE = DataShape(IMAGE, 3, 1, 0, 0)
NORM = {"groups": 2, "group_size": 2, "eps": 0.25, "momentum": 0.5}


def network(raw: dict[str, Any]) -> nn.Sequential:
    return nn.Sequential(ScaledPixels(IMAGE), *to_torch(trained(raw))).eval()


def module(text: str, folder: str = "") -> dict[str, Any]:
    """What the text defines."""
    names = {"__file__": f"{folder}/model.py", "__name__": "model"}
    exec(compile(text, "model.py", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("family", "model"),
    [
        ("mlp", {"norm": {"kind": "layer", **NORM}, "activation": "leaky_relu"}),
        ("residual mlp", {"norm": {"kind": "whiten", **NORM}, "activation": "elu"}),
        ("vgg", {"norm": {"kind": "group", **NORM}, "activation": "gelu"}),
        ("vgg", {"norm": {"kind": "instance", **NORM}}),
        ("resnet", {"norm": {"kind": "rms", **NORM}}),
        ("mlp", {"norm": {"kind": "variance", **NORM}}),
        ("resnet", {"norm": {"kind": "batch", **NORM}}),
        ("resnet", {"norm": "none", "init": "fixup"}),
        ("resnet", {"norm": "none", "init": "skipinit"}),
        ("rnn", {"norm": {"kind": "batch", "input": True}}),
        ("rnn", {"norm": {"kind": "batch", "steps": "shared"}}),
        ("rnn", {"norm": "none"}),
    ],
)
def test_it_builds_the_same_layers_with_their_weights(family: str, model: dict[str, Any], tmp_path: Any) -> None:
    made = network(FAMILIES[family] | model)
    save_file(made.state_dict(), tmp_path / WEIGHTS)
    text = model_source(made, "A network.", SHAPE)
    loaded = module(text, str(tmp_path))["load"]()
    assert str(loaded) == str(made)
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == made.state_dict()[name].dtype
        assert torch.equal(tensor, made.state_dict()[name])
    assert max(map(len, text.splitlines())) <= 120


def test_a_layer_is_a_line() -> None:
    text = model_source(network({"family": "mlp", "depth": 1, "width": 4, "norm": "none"}), "", SHAPE)
    lines = text.splitlines()
    start = lines.index("    return nn.Sequential(")
    assert [line.strip() for line in lines[start + 1 : start + 7]] == [
        "ScaledPixels((2, 8, 8)),",
        "nn.Flatten(start_dim=1, end_dim=-1),",
        "nn.Linear(in_features=128, out_features=4, bias=True),",
        "nn.Sigmoid(),",
        "nn.Linear(in_features=4, out_features=3, bias=True),",
        ")",
    ]


def test_only_the_classes_that_it_takes_are_in_it_and_nothing_but_torch_and_safetensors() -> None:
    pixels = WhitenedPixels(IMAGE)
    text = model_source(nn.Sequential(pixels, *to_torch(trained(FAMILIES["mlp"]))), "A network.", SHAPE)
    parsed = ast.parse(text)
    assert [node.name for node in parsed.body if isinstance(node, ast.ClassDef)] == ["WhitenedPixels"]
    imports = {ast.unparse(node).split()[1] for node in parsed.body if isinstance(node, ast.Import | ast.ImportFrom)}
    assert imports == {"pathlib", "torch", "safetensors.torch"}


@pytest.mark.parametrize("about", ['"""\nraise SystemExit\n"""', "ends in \\", 'ends in "', "\\N{nothing}", "{braces}"])
def test_no_name_gets_out_of_the_documentation(about: str) -> None:
    text = model_source(network(FAMILIES["mlp"]), about, SHAPE)
    assert module(text)["__doc__"].startswith(about)
