"""Files and overrides: what they resolve to, and to which of them a mistake is put down."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.load import load, resolve
from bnexp.errors import ConfigError, InputError, Problem

NONE = {"model.norm.kind": "none"}
Refused = Callable[..., list[str]]


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
        ("train.lr=1e-4", "train.lr", 1e-4),
        ("train.epochs=null", "train.epochs", None),
        ("train.betas=[0.5, 0.9]", "train.betas", (0.5, 0.9)),
        ("train.clip={value: 1e-3}", "train.clip.value", 1e-3),
        ("train.record_at={range: [1, 5, 2]}", "train.record_at", (1, 3, 5)),
        ("model.norm={kind: layer}", "model.norm.kind", "layer"),
        ("data.feature_scale={3: 1e2}", "data.feature_scale", {3: 100.0}),
        ("data.root=/a=b", "data.root", "/a=b"),
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
        ({"grid": {"train.lr": [1]}}, ["grid.model.depth=[2]"], "grid", {"train.lr": (1,), "model.depth": (2,)}),
        ({"grid": {"train.lr": [1]}}, ["grid={}"], "grid", {}),
        ({}, ["zip.train.lr=[1,2]", "zip.model.depth=[3,4]"], "zip", {"train.lr": (1, 2), "model.depth": (3, 4)}),
        ({"arms": {"a": {"train.lr": 1}}}, ["arms.a.model.depth=2"], "arms", {"a": {"train.lr": 1, "model.depth": 2}}),
        ({"arms": ["none"]}, ["arms.a.model.width=9"], "arms", {"none": NONE, "a": {"model.width": 9}}),
        ({"labels": {"none": "plain"}}, ["labels.before=with BN"], "labels", {"none": "plain", "before": "with BN"}),
    ],
)  # fmt: skip
def test_overrides_reach_into_what_the_file_says(
    raw: dict[str, Any], overrides: list[str], key: str, value: object
) -> None:
    assert at(resolved(raw, *overrides), key) == value


@pytest.mark.parametrize("arms", [["none", "before"], {"none": None, "before": None}, None])
def test_an_override_of_a_built_in_arm_leaves_it_what_it_is(arms: object) -> None:
    config = resolve({"name": "exp", "arms": arms}, "exp.yaml", ["arms.none.train.lr=0.5"])
    assert list(config.arms) == ["none", "before"]
    assert config.settings("none", {}).model.norm.kind == "none"
    assert config.settings("none", {}).train.lr == 0.5


def test_a_data_set_and_a_family_may_be_given_by_their_names_which_leave_the_rest_of_the_section() -> None:
    raw = {"name": "exp", "data": {"train_size": 100}, "model": {"width": 8}, "grid": {"data": ["mnist", "digits"]}}
    config = resolve(raw | {"arms": {"a": {"model": "resnet"}}}, "", ["data=digits", "model=vgg"])
    assert (config.data.name, config.data.train_size) == ("digits", 100)
    assert (config.model.family, config.model.width) == ("vgg", 8)
    (first, second) = (config.settings("a", point) for point in config.points())
    assert (first.data.name, second.data.name, second.data.train_size) == ("mnist", "digits", 100)
    assert (first.model.family, first.model.width) == ("resnet", 8)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.lr", "train.lr: expected dotted.key=value"),
        ("train.lrr=1", "train.lrr=1: unknown key (nearest: train.lr)"),
        ("train.lr=-1", "train.lr: -1: expected a number greater than or equal to 0"),
        ("train.lr=null", "train.lr: null: expected a number"),
        ("train=5", "train: 5: expected a mapping of keys"),
        ("grid.train.lrr=[1]", "grid.train.lrr: unknown key (nearest: train.lr)"),
        ("grid.train.lr=x", 'grid.train.lr: "x": expected a list of values or one of logspace, linspace, range'),
        ("grid.train.lr=[-1]", "grid.train.lr[0]: -1: expected a number greater than or equal to 0"),
        ("arms.a.train.lr=-1", "arms.a.train.lr: -1: expected a number greater than or equal to 0"),
        ("arms.a=1", "arms.a: 1: expected a mapping of keys"),
        ("train.nesterov=true", "train: nesterov: true needs optimizer sgd and a momentum above 0"),
        (
            "arms.a.train.nesterov=true",
            "train: nesterov: true needs optimizer sgd and a momentum above 0 (arm a)",
        ),
        ("data={null: null}", "data.None: null: expected text as a key"),
    ],
)
def test_a_wrong_override_is_put_down_to_the_command_line(refused: Refused, override: str, line: str) -> None:
    assert refused({}, override) == [f"command line: {line}"]


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"train": {"lr": -1}}, "train.lr: -1: expected a number greater than or equal to 0"),
        ({"train": {"nesterov": True}}, "train: nesterov: true needs optimizer sgd and a momentum above 0"),
    ],
)
def test_what_the_file_alone_says_wrong_is_put_down_to_the_file(
    refused: Refused, raw: dict[str, Any], line: str
) -> None:
    assert refused(raw, "train.weight_decay=0.5") == [f"exp.yaml: {line}"]


@pytest.mark.parametrize(
    ("override", "place"), [("train.lr=[1", "line 1, column 3"), ("train.lr={a: 1, a: 2}", "line 1, column 8")]
)
def test_an_override_that_is_not_yaml(refused: Refused, override: str, place: str) -> None:
    (line,) = refused({}, override)
    assert line.startswith(f"command line: {override}: value: {place}: not valid YAML: ")


@pytest.mark.parametrize(
    ("raw", "override"),
    [
        ({"train": 5}, "train.lr=1"),
        ({"model": {"norm": 5}}, "model.norm.eps=1"),
        ({"grid": 5}, "grid.train.lr=[1]"),
        ({"arms": 3}, "arms.a.train.lr=1"),
        ({"arms": {"a": 5}}, "arms.a.train.lr=1"),
        ({"arms": ["none", "none"]}, "arms.none.train.lr=1"),
    ],
)
def test_an_override_into_what_is_no_section_is_refused_in_words(
    refused: Refused, raw: dict[str, Any], override: str
) -> None:
    lines = refused(raw, override)
    assert any(line.startswith("exp.yaml: ") and ("expected" in line or "twice" in line) for line in lines)


def test_problems_can_be_taken_apart() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"name": "exp", "lr": 1}, "exp.yaml", ["train.lr=-1"])
    assert caught.value.problems == (
        Problem("command line", "train.lr", "-1: expected a number greater than or equal to 0"),
        Problem("exp.yaml", "lr", "unknown key (nearest: train.lr)"),
    )
    assert caught.value.exit_code == 2
