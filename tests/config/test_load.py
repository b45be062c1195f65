"""Files and overrides: what they resolve to."""

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


def test_problems_can_be_taken_apart() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"name": "exp", "lr": 1}, "exp.yaml", ["train.lr=-1"])
    assert caught.value.problems == (
        Problem("command line", "train.lr", "-1: expected a number greater than or equal to 0"),
        Problem("exp.yaml", "lr", "unknown key (nearest: train.lr)"),
    )
    assert caught.value.exit_code == 2
