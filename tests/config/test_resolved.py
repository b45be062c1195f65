"""A resolved configuration loads to the same configuration, whichever way it was written down."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnexp.config.load import resolve
from bnexp.config.yaml import read_mapping
from bnexp.plan import run_name, trials
from bnexp.store.reader import RunRecord
from bnexp.store.writer import RunWriter
from tests.config.raw import configurations, names


@settings(deadline=None, max_examples=40)
@given(raw=configurations(), other=names, seed=st.integers(0, 99))
def test_every_way_of_writing_resolves_to_the_same_run(raw: dict[str, Any], other: str, seed: int) -> None:
    config = resolve(raw, "exp.yaml")
    for again in (config.model_dump(), config.model_dump(mode="json"), json.loads(config.model_dump_json())):
        assert resolve(again, "again") == config
        assert run_name(resolve(again, "again")) == run_name(config)
    assert run_name(resolve(raw | {"name": other}, "x")) == other + run_name(config).removeprefix(config.name)
    reseeded = resolve(raw | {"seeds": [seed]}, "exp.yaml")
    assert (run_name(reseeded) == run_name(config)) == (reseeded == config)


@settings(deadline=None, max_examples=20)
@given(raw=configurations())
@example(raw={"name": "08"})
@example(raw={"name": "1e5"})
@example(raw={"name": "exp", "question": "1e-4"})
@example(raw={"name": "exp", "question": "null"})
@example(raw={"name": "exp", "data": {"root": "yes"}})
@example(raw={"name": "exp", "arms": {"1e5": {}, "09": {}, "yes": {}, "2026-01-01": {}}})
@example(raw={"name": "exp", "arms": {"scaled": {"data.feature_scale": {3: 2.0}}}})
@example(raw={"name": "exp", "grid": {"data.feature_scale": [{3: 2.0}, {}]}})
@example(raw={"name": "exp", "model": {"family": "resnet", "init": "fixup", "norm": "none"}, "arms": {"fixup": {}}})
@example(raw={"name": "exp", "model": {"family": "vgg", "width": None}, "grid": {"model.depth": [5, 19]}})
def test_the_file_that_a_run_keeps_says_the_same_to_us_and_to_other_programs(
    tmp_path_factory: pytest.TempPathFactory, raw: dict[str, Any]
) -> None:
    config = resolve(raw, "exp.yaml")
    folder = tmp_path_factory.mktemp("runs") / "run"
    RunWriter.create(folder, config, trials(config)[:1], environment={}).close()
    assert RunRecord(folder).config == config
    assert list(RunRecord(folder).config.arms) == list(config.arms)
    assert run_name(RunRecord(folder).config) == run_name(config)
    assert yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) == read_mapping(folder / "config.yaml")


def test_a_short_form_and_what_it_stands_for_make_one_run() -> None:
    short = {"name": "exp", "arms": ["none", "after"], "seeds": 2, "model": {"norm": "after", "init": "he"}}
    long = {
        "name": "exp",
        "arms": {"none": {"model.norm.kind": "none"}, "after": {"model.norm.placement": "after"}},
        "seeds": [0, 1],
        "model": {"norm": {"kind": "batch", "placement": "after"}, "init": {"scheme": "he", "scale": 1.0}},
    }
    assert resolve(short, "a") == resolve(long, "b")
    assert run_name(resolve(short, "a")) == run_name(resolve(long, "b"))
