"""Files and overrides: what they resolve to, and the list of everything that is wrong with them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.load import load, resolve
from bnexp.errors import ConfigError, InputError, Problem

NONE = {"model.norm.kind": "none"}


def resolved(raw: dict[str, Any], *overrides: str) -> dict[str, Any]:
    return resolve({"name": "exp"} | raw, "exp.yaml", overrides).model_dump()


def at(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def test_the_file_gives_its_name_where_it_has_none(tmp_path: Path) -> None:
    path = tmp_path / "my-study.yaml"
    path.write_text("seeds: 1")
    assert load(path).name == "my-study"
    path.write_text("name: other")
    assert load(path).name == "other"


def test_a_file_that_can_not_be_read_is_said_before_any_setting(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file$"):
        load(tmp_path / "nowhere.yaml", ["train.lr=x"])


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.lr=0.5", "train.lr", 0.5),
        ("train.lr=1e-4", "train.lr", 1e-4),
        ("train.lr= 0.5 ", "train.lr", 0.5),
        ("train.epochs=null", "train.epochs", None),
        ("train.drop_last=false", "train.drop_last", False),
        ("train.betas=[0.5, 0.9]", "train.betas", (0.5, 0.9)),
        ("train.clip={value: 1e-3}", "train.clip.value", 1e-3),
        ("train.record_at={range: [1, 5, 2]}", "train.record_at", (1, 3, 5)),
        ("model.width=[300, 100]", "model.width", (300, 100)),
        ("model.norm={kind: layer}", "model.norm.kind", "layer"),
        ("model.norm.eps=1e-3", "model.norm.eps", 1e-3),
        ("data.feature_scale={3: 1e2}", "data.feature_scale", {3: 100.0}),
        ("data.root=/a=b", "data.root", "/a=b"),
        ("question=Is 1 = 1?", "question", "Is 1 = 1?"),
        ("seeds=2", "seeds", (0, 1)),
        ("arms={wide: {model.width: 9}}", "arms", {"wide": {"model.width": 9}}),
        ("grid={train.lr: [1, 2]}", "grid", {"train.lr": (1, 2)}),
    ],
)
def test_an_override_sets_any_key(override: str, key: str, value: object) -> None:
    assert at(resolved({}, override), key) == value


@pytest.mark.parametrize(
    ("raw", "overrides", "key", "value"),
    [
        ({"train": {"lr": 1, "momentum": 0.5}}, ["train.lr=2"], "train.momentum", 0.5),
        ({"train": {"lr": -1}}, ["train.lr=2"], "train.lr", 2.0),
        ({"train": None}, ["train.lr=2"], "train.lr", 2.0),
        ({}, ["train.lr=1", "train.lr=2"], "train.lr", 2.0),
        ({"model": {"norm": "after"}}, ["model.norm.eps=1e-3"], "model.norm.placement", "after"),
        ({"model": {"init": "he"}}, ["model.init.scale=.5"], "model.init", {"scheme": "he", "scale": 0.5}),
        ({"grid": {"train.lr": [1]}}, ["grid.model.depth=[2]"], "grid", {"train.lr": (1,), "model.depth": (2,)}),
        ({"grid": {"train.lr": [1]}}, ["grid={}"], "grid", {}),
        ({}, ["zip.train.lr=[1,2]", "zip.model.depth=[3,4]"], "zip", {"train.lr": (1, 2), "model.depth": (3, 4)}),
        ({"arms": {"a": {"train.lr": 1}}}, ["arms.a.model.depth=2"], "arms", {"a": {"train.lr": 1, "model.depth": 2}}),
        ({"arms": ["none"]}, ["arms.a.model.width=9"], "arms", {"none": NONE, "a": {"model.width": 9}}),
    ],
)  # fmt: skip
def test_overrides_reach_into_what_the_file_says(
    raw: dict[str, Any], overrides: list[str], key: str, value: object
) -> None:
    assert at(resolved(raw, *overrides), key) == value


@pytest.mark.parametrize("arms", [["none", "before"], {"none": None, "before": None}, None])
def test_an_override_of_a_built_in_arm_leaves_it_what_it_is(arms: object) -> None:
    config = resolve({"name": "exp", "arms": arms}, "exp.yaml", ["arms.none.train.lr=0.5"])
    assert config.settings("none", {}).model.norm.kind == "none"
    assert config.settings("none", {}).train.lr == 0.5
    assert list(config.arms) == ["none", "before"]


def test_overrides_leave_the_raw_settings_alone() -> None:
    raw: dict[str, Any] = {"name": "exp", "train": {"lr": 1}, "grid": {"train.lr": [1]}, "arms": {"a": {"train.lr": 1}}}
    overrides = ["train.lr=2", "grid.train.lr=[2]", "arms.a.train.lr=2", "arms.b.train.lr=2", "model.norm.eps=1"]
    resolve(raw, "exp.yaml", overrides)
    assert raw == {"name": "exp", "train": {"lr": 1}, "grid": {"train.lr": [1]}, "arms": {"a": {"train.lr": 1}}}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.lr", "train.lr: expected dotted.key=value"),
        ("=1", "=1: expected dotted.key=value"),
        ("train.lrr=1", "train.lrr=1: unknown key (nearest: train.lr)"),
        ("train.lr =1", "train.lr =1: unknown key (nearest: train.lr)"),
        ("xyzzy=1", "xyzzy=1: unknown key"),
        ("train.lr=-1", "train.lr: -1: expected a number greater than or equal to 0"),
        ("train.lr=null", "train.lr: null: expected a number"),
        ("train=5", "train: 5: expected a mapping of keys"),
        ("grid.train.lrr=[1]", "grid.train.lrr: unknown key (nearest: train.lr)"),
        ("grid.train.lr=x", 'grid.train.lr: "x": expected a list of values or one of logspace, linspace, range'),
        ("grid.train.lr=[-1]", "grid.train.lr[0]: -1: expected a number greater than or equal to 0"),
        ("arms.a.train.lr=-1", "arms.a.train.lr: -1: expected a number greater than or equal to 0"),
        ("arms.a=1", "arms.a: 1: expected a mapping of keys"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_put_down_to_the_command_line(
    refused: Callable[..., list[str]], override: str, line: str
) -> None:
    assert refused({}, override) == [f"command line: {line}"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["train.nesterov=true"], "nesterov: true needs optimizer sgd"),
        (["train.epochs=1", "train.steps=1"], "epochs and steps exclude each other"),
        (["zip.train.lr=[1,2]", "zip.train.momentum=[0]"], "train.lr has 2, train.momentum has 1"),
        (["grid.train.lr={linspace: [-1, 1, 3]}"], "expected a number greater than or equal to 0"),
        (["arms.a.train.nesterov=true"], "nesterov: true needs optimizer sgd and a momentum above 0 (arm a)"),
    ],
)
def test_what_only_the_command_line_brings_together_is_put_down_to_it(
    refused: Callable[..., list[str]], overrides: list[str], words: str
) -> None:
    lines = refused({}, *overrides)
    assert [words in line for line in lines] == [True]
    assert lines[0].startswith("command line: ")


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"train": {"lr": -1}}, "train.lr: -1: expected a number greater than or equal to 0"),
        ({"train": {"nesterov": True}}, "train: nesterov: true needs optimizer sgd and a momentum above 0"),
    ],
)
def test_what_the_file_alone_says_wrong_is_put_down_to_the_file(
    refused: Callable[..., list[str]], raw: dict[str, Any], line: str
) -> None:
    assert refused(raw, "train.weight_decay=0.5") == [f"exp.yaml: {line}"]


@pytest.mark.parametrize(
    ("override", "place"),
    [("train.lr=[1", "line 1, column 3"), ("train.lr={a: 1, a: 2}", "line 1, column 8"), ("train.lr=*x", "column 1")],
)
def test_an_override_that_is_not_yaml(refused: Callable[..., list[str]], override: str, place: str) -> None:
    (line,) = refused({}, override)
    assert line.startswith(f"command line: {override}: ")
    assert place in line
    assert "not valid YAML" in line
    assert line.count("command line") == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data={null: null}", "data.None: null: expected text as a key"),
        ("model={1: 2}", "model.1: 1: expected text as a key"),
        ("arms={none: {null: 1}}", "arms.none.None: "),
        ("tune={grid: {null: [1]}}", "tune.grid.None: "),
    ],
)
def test_an_override_whose_keys_are_no_text_is_refused_in_words(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match="^command line: " + re.escape(message)):
        resolve({"name": "exp"}, "exp.yaml", [override])


@pytest.mark.parametrize(
    ("raw", "override"),
    [
        ({"train": 5}, "train.lr=1"),
        ({"model": {"norm": 5}}, "model.norm.eps=1"),
        ({"grid": 5}, "grid.train.lr=[1]"),
        ({"zip": True}, "zip.train.lr=[1]"),
        ({"arms": 3}, "arms.a.train.lr=1"),
        ({"arms": {"a": 5}}, "arms.a.train.lr=1"),
        ({"arms": [["none"]]}, "arms.a.train.lr=1"),
    ],
)
def test_an_override_into_what_is_no_section_is_refused_in_words(
    refused: Callable[..., list[str]], raw: dict[str, Any], override: str
) -> None:
    lines = refused(raw, override)
    assert any(line.startswith("exp.yaml: ") and "expected" in line for line in lines)
    assert not any(jargon in line for line in lines for jargon in ("sequence", "iterable", "null", "object"))


def test_every_problem_is_listed_at_once_with_source_key_value_expected_and_nearest(
    refused: Callable[..., list[str]],
) -> None:
    raw = {
        "data": {"name": "minst"},
        "model": {"activation": "rellu", "width": 0},
        "train": {"lr": -1, "epoch": 3},
        "arms": {"wide": {"model.widht": 3}},
        "grid": {"train.lr": ["q"], "train.momentum": []},
        "seeds": [0.5],
    }
    found = refused(raw, "train.batch_size=0", "nonsense", "model.depht=3")
    assert sorted(found) == sorted(
        [
            'exp.yaml: data.name: "minst": expected one of digits, mnist, fashion_mnist, cifar10, cifar100, '
            "image_folder (nearest: mnist)",
            'exp.yaml: model.activation: "rellu": expected one of relu, leaky_relu, elu, selu, gelu, silu, tanh, '
            "sigmoid, identity (nearest: relu)",
            "exp.yaml: model.width: 0: expected a whole number of units above 0, or a list of them",
            "exp.yaml: train.lr: -1: expected a number greater than or equal to 0",
            "exp.yaml: train.epoch: unknown key (nearest: train.epochs)",
            "exp.yaml: arms.wide.model.widht: unknown key (nearest: model.width)",
            'exp.yaml: grid.train.lr[0]: "q": expected a number',
            "exp.yaml: grid.train.momentum: []: expected at least one value, the list is empty",
            "exp.yaml: seeds.0: 0.5: expected an integer, got a number with a fractional part",
            "command line: train.batch_size: 0: expected a number greater than or equal to 1",
            "command line: nonsense: expected dotted.key=value",
            "command line: model.depht=3: unknown key (nearest: model.depth)",
        ]
    )


def test_problems_can_be_taken_apart() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"name": "exp", "lr": 1}, "exp.yaml", ["train.lr=-1"])
    assert caught.value.problems == (
        Problem("command line", "train.lr", "-1: expected a number greater than or equal to 0"),
        Problem("exp.yaml", "lr", "unknown key (nearest: train.lr)"),
    )
    assert caught.value.exit_code == 2


def test_long_values_are_cut_short(refused: Callable[..., list[str]]) -> None:
    (line,) = refused({"train": {"lr": ["x" * 500]}})
    assert line.endswith("xxx…: expected a number")
    assert len(line) < 120


def test_one_mistake_is_said_once(refused: Callable[..., list[str]]) -> None:
    raw = {"arms": ["none", "before"], "grid": {"train.lr": [1, 2, 3]}, "train": {"nesterov": True}}
    assert len(refused(raw)) == 1


def test_one_label_can_be_given_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text("labels: {none: plain}")
    assert load(path, ["labels.before=with BN"]).labels == {"none": "plain", "before": "with BN"}
