"""Dotted keys name settings; short forms on the way are opened."""

import re
from typing import Any

import pytest

from bnexp.config.keys import check_key, leaf_keys, put
from bnexp.config.trial import TrialSettings


def test_leaf_keys_are_all_settings_in_order_of_declaration() -> None:
    keys = list(leaf_keys(TrialSettings))
    assert keys[:2] == ["data.name", "data.root"]
    assert keys[-2:] == ["train.stop_diverged", "train.checkpoint_every"]
    assert {"model.norm.eps", "model.init.scale", "train.clip.norm_global", "train.schedule_options.floor"} <= set(keys)
    assert len(keys) == len(set(keys))
    assert not {"model", "model.norm", "train.clip"} & set(keys)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("train.lrr", " (nearest: train.lr)"),
        ("lr", " (nearest: train.lr)"),
        ("norm.eps", " (nearest: model.norm.eps)"),
        ("train.schedule_options.gamma", " (nearest: train.schedule_options.factor)"),
        ("gamma", " (nearest: model.norm.gamma)"),
        ("model.momentum", " (nearest: model.norm.momentum)"),
        ("train..lr", " (nearest: train.lr)"),
        ("xyzzy", ""),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape('unknown key' + nearest)}$"):
        check_key(TrialSettings, key)


@pytest.mark.parametrize(
    ("raw", "key", "expected"),
    [
        ({}, "train.lr", {"train": {"lr": 7}}),
        ({"train": {"lr": 1, "momentum": 0}}, "train.lr", {"train": {"lr": 7, "momentum": 0}}),
        ({"train": None}, "train.lr", {"train": {"lr": 7}}),
        ({"model": {"norm": "group"}}, "model.norm.groups", {"model": {"norm": {"kind": "group", "groups": 7}}}),
        ({"model": {"norm": "layer"}}, "model.norm.eps", {"model": {"norm": {"kind": "layer", "eps": 7}}}),
        ({"model": {"init": "he"}}, "model.init.scale", {"model": {"init": {"scheme": "he", "scale": 7}}}),
        ({"model": {"init": "he"}}, "model.init", {"model": {"init": 7}}),
        ({"data": "digits"}, "data.val_size", {"data": {"name": "digits", "val_size": 7}}),
    ],
)  # fmt: skip
def test_put_opens_sections_and_short_forms(raw: dict[str, Any], key: str, expected: dict[str, Any]) -> None:
    put(raw, key, 7, TrialSettings)
    assert raw == expected


def test_put_leaves_sections_of_other_owners_alone() -> None:
    shared = {"lr": 1}
    raw: dict[str, Any] = {"train": shared}
    put(raw, "train.lr", 7, TrialSettings)
    assert shared == {"lr": 1}
    assert raw == {"train": {"lr": 7}}


@pytest.mark.parametrize(
    ("raw", "key", "message"),
    [
        ({"train": 5}, "train.lr", "train is not a section with keys of its own"),
        ({"model": {"norm": [1]}}, "model.norm.eps", "norm is not a section with keys of its own"),
        ({"model": {"norm": "befor"}}, "model.norm.eps", "(nearest: before)"),
    ],
)
def test_put_says_what_stands_in_the_way(raw: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        put(raw, key, 7, TrialSettings)
