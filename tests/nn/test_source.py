"""The text of a plain network: it builds the same layers, in few lines, whatever names are in it."""

import ast
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bnexp.deploy.source import WEIGHTS, model_source
from bnexp.nn.plain_layers import ScaledPixels, WhitenedPixels
from bnexp.nn.to_torch import to_torch
from tests.nn.test_to_torch import FAMILIES, IMAGE, trained

NORM = {"groups": 2, "group_size": 2, "eps": 0.25, "momentum": 0.5}


def network(raw: dict[str, Any]) -> nn.Sequential:
    return nn.Sequential(ScaledPixels(IMAGE), *to_torch(trained(raw)))


def module(text: str, folder: str = "") -> dict[str, Any]:
    """What the text defines."""
    names = {"__file__": f"{folder}/model.py", "__name__": "model"}
    exec(compile(text, "model.py", "exec"), names)
    return names


@pytest.mark.parametrize("kind", ["none", "batch", "layer", "group", "whiten"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_builds_the_same_layers(family: str, kind: str) -> None:
    raw = FAMILIES[family] | {"norm": {"kind": kind, **NORM}, "activation": "leaky_relu"}
    made = network(raw)
    text = model_source(made, "A network.", IMAGE)
    built = module(text)["build"]()
    assert str(built) == str(made)
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == {
        name: tensor.shape for name, tensor in made.state_dict().items()
    }
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("family", ["residual mlp", "resnet"])
def test_with_fixup_it_does_too(family: str) -> None:
    made = network(FAMILIES[family] | {"norm": "none", "init": "fixup"})
    assert str(module(model_source(made, "A network.", IMAGE))["build"]()) == str(made)


def test_layers_that_come_again_are_a_loop() -> None:
    lines = model_source(network({"family": "mlp", "depth": 10, "width": 4}), "", IMAGE).splitlines()
    start = lines.index("    for _ in range(9):")
    assert lines[start - 2 : start + 4] == [
        "    layers += [ScaledPixels((2, 8, 8)), nn.Flatten()]",
        "    layers += [nn.Linear(128, 4, bias=False), nn.BatchNorm1d(4), nn.Sigmoid()]",
        "    for _ in range(9):",
        "        layers += [nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4), nn.Sigmoid()]",
        "    layers += [nn.Linear(4, 3)]",
        "    return nn.Sequential(*layers)",
    ]


def test_it_loads_the_weights_beside_it_in_the_type_that_they_have(tmp_path: Any) -> None:
    made = network(FAMILIES["resnet"])
    save_file(made.state_dict(), tmp_path / WEIGHTS)
    loaded = module(model_source(made, "A network.", IMAGE), str(tmp_path))["load"]()
    assert not loaded.training
    assert all(torch.equal(tensor, made.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert next(loaded[1].parameters()).dtype == torch.float64


def test_only_the_classes_that_it_takes_are_in_it_and_nothing_but_torch_and_safetensors() -> None:
    pixels = WhitenedPixels(IMAGE)
    text = model_source(nn.Sequential(pixels, *to_torch(trained(FAMILIES["mlp"]))), "A network.", IMAGE)
    parsed = ast.parse(text)
    assert [node.name for node in parsed.body if isinstance(node, ast.ClassDef)] == ["WhitenedPixels"]
    imports = [ast.unparse(node) for node in parsed.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == [
        "from pathlib import Path",
        "import torch",
        "from safetensors.torch import load_file",
        "from torch import Tensor, nn",
    ]


def test_a_picture_keeps_its_three_sizes_even_where_they_are_one() -> None:
    made = nn.Sequential(ScaledPixels((3, 3, 3)), *to_torch(trained(FAMILIES["vgg"], (3, 3, 3))))
    text = model_source(made, "A network.", (3, 3, 3))
    assert "ScaledPixels((3, 3, 3))" in text
    assert "torch.randint(256, (4, 3, 3, 3))" in text


@pytest.mark.parametrize("about", ['"""\nraise SystemExit\n"""', "ends in \\", 'ends in "', "\\N{nothing}", "{braces}"])
def test_no_name_gets_out_of_the_documentation(about: str) -> None:
    text = model_source(network(FAMILIES["mlp"]), about, IMAGE)
    assert module(text)["__doc__"].startswith(about)
