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

small = st.floats(1e-6, 0.9)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.+-]{0,20}\Z")
# Without control characters, ends of lines, and what turns text around: they are refused.
words = st.text(
    st.characters(
        exclude_categories=["Cc", "Cs", "Zl", "Zp"],
        exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    ),
    max_size=30,
)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def swept(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(value, min_size=1, max_size=3, unique_by=repr)


kinds = st.sampled_from(["none", "batch", "layer", "group", "whiten", "noisy_batch"])
placements = st.sampled_from(["before", "after"])
norms = (
    placements
    | kinds
    | optional(
        kind=kinds,
        placement=placements,
        addition=placements,
        input=st.booleans(),
        affine=st.sampled_from(["both", "gamma", "beta", "none"]),
        momentum=small,
        eps=small,
        groups=st.sampled_from([1, 2, 4, 8]),
        group_size=st.none() | st.sampled_from([1, 2, 4, 8]),
    )
)
schemes = st.sampled_from(["normal", "xavier", "he", "lecun", "orthogonal"])
inits = schemes | optional(scheme=schemes, scale=small)
widths = st.integers(1, 9).map(lambda units: 8 * units)

KEYS: dict[str, st.SearchStrategy[Any]] = {
    "train.lr": st.integers(0, 5) | small,
    "train.weight_decay": small,
    "model.depth": st.integers(1, 20),
    "model.width": widths,
    "model.dropout": st.just(0) | small,
    "model.activation": st.sampled_from(["relu", "sigmoid", "identity"]),
    "model.norm": st.sampled_from(["before", "after", "layer"]),
    "model.norm.eps": small,
    "model.init": schemes,
    "model.init.scale": small,
    "train.clip.value": st.none() | small,
    "train.record_at": st.just("epoch") | st.just([1, 2]),
    "data.root": st.none() | words,
    "data.normalize": st.sampled_from(["none", "unit", "standard", "zca_whiten"]),
    "data.whiten_eps": small,
    "train.augment": st.sampled_from(["none", "flip_crop", "flip_crop_cutout"]),
}
FAMILIES = st.sampled_from(
    [{}, {"family": "vgg"}, {"family": "vgg", "depth": 5}, {"family": "resnet"}, {"family": "resnet", "depth": 8.0}]
)
ranges = st.sampled_from([{"logspace": [1, 1e-4, 5]}, {"linspace": [0, 1, 4]}, {"range": [0, 3, 1]}])


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """A raw configuration that holds no contradiction, in short and long forms."""
    keys = draw(st.lists(st.sampled_from(list(KEYS)), unique=True, max_size=5))
    crossed, paired = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    grid = {key: draw(swept(KEYS[key])) for key in crossed} | draw(optional(**{"train.momentum": st.just([0, 0.5])}))
    if "train.lr" in grid and draw(st.booleans()):
        grid["train.lr"] = draw(ranges)
    zipped = {key: [draw(KEYS[key]) for _ in range(3)] for key in paired}
    custom = st.dictionaries(names, st.dictionaries(st.sampled_from(list(KEYS)), st.none(), max_size=2), min_size=1)
    arms = draw(st.none() | st.lists(st.sampled_from(["none", "before", "after"]), min_size=1, unique=True) | custom)
    if isinstance(arms, dict):
        arms = {name: {key: draw(KEYS[key]) for key in overrides} for name, overrides in arms.items()}
    any_depth = "model.depth" not in keys and "model.depth" not in str(arms)
    family = draw(FAMILIES) if any_depth else {}
    return {
        "name": draw(names),
        "question": draw(words),
        "data": draw(
            optional(
                name=st.sampled_from(["digits", "mnist", "cifar10"]),
                root=st.none() | words,
                train_size=st.none() | st.integers(0, 500),
                val_size=st.none() | st.integers(0, 500),
                feature_scale=st.dictionaries(st.integers(0, 63), small, max_size=3),
            )
        ),
        "model": {"width": draw(widths)}
        | family
        | draw(optional(norm=norms, init=inits, bias=st.sampled_from(["auto", True, False]))),
        "train": draw(
            optional(
                batch_size=st.integers(1, 300),
                lr=st.integers(0, 5) | small,
                betas=st.tuples(small, small),
                clip=optional(value=small, norm_global=st.none() | small),
                schedule=st.sampled_from(["constant", "cosine"]),
                record_at=st.just("epoch")
                | st.lists(st.integers(1, 99), min_size=1, unique=True)
                | st.just({"range": [1, 9, 4]}),
            )
            | st.fixed_dictionaries({"steps": st.integers(1, 99)})
            | st.fixed_dictionaries({"nesterov": st.just(True), "momentum": small}).filter(lambda _: not grid)
        ),
        "arms": arms,
        "grid": grid,
        "zip": zipped,
        "seeds": draw(st.integers(1, 9) | st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True)),
    }  # fmt: skip


def without_repeated_rows(raw: dict[str, Any]) -> dict[str, Any]:
    rows = list(dict.fromkeys(map(repr, zip(*raw["zip"].values(), strict=True))))
    return raw if len(rows) in (0, 3) else raw | {"zip": {}}


raw_configurations = configurations().map(without_repeated_rows)


@settings(deadline=None)
@given(raw=raw_configurations)
def test_loading_what_a_configuration_resolves_to_gives_it_again(raw: dict[str, Any]) -> None:
    config = resolve(raw, "exp.yaml")
    assert resolve(config.model_dump(), "dump") == config
    assert resolve(json.loads(config.model_dump_json()), "json") == config
    assert resolve(json.loads(json.dumps(config.model_dump(mode="json"))), "json") == config


@settings(deadline=None, max_examples=40)
@given(raw=raw_configurations)
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
def test_the_file_that_a_run_keeps_loads_to_the_same_configuration(
    tmp_path_factory: pytest.TempPathFactory, raw: dict[str, Any]
) -> None:
    config = resolve(raw, "exp.yaml")
    folder = tmp_path_factory.mktemp("runs") / "run"
    RunWriter.create(folder, config, trials(config)[:1], environment={}).close()
    assert RunRecord(folder).config == config
    assert list(RunRecord(folder).config.arms) == list(config.arms)
    assert run_name(RunRecord(folder).config) == run_name(config)


@settings(deadline=None, max_examples=40)
@given(raw=raw_configurations)
def test_the_file_that_a_run_keeps_says_the_same_to_other_programs(
    tmp_path_factory: pytest.TempPathFactory, raw: dict[str, Any]
) -> None:
    config = resolve(raw, "exp.yaml")
    folder = tmp_path_factory.mktemp("runs") / "run"
    RunWriter.create(folder, config, trials(config)[:1], environment={}).close()
    assert yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) == read_mapping(folder / "config.yaml")


@settings(deadline=None)
@given(raw=raw_configurations, other=names)
def test_run_names_do_not_hang_on_the_name_nor_on_the_way_of_writing(raw: dict[str, Any], other: str) -> None:
    config = resolve(raw, "exp.yaml")
    renamed = resolve(raw | {"name": other}, "elsewhere.yaml")
    assert run_name(renamed) == other + run_name(config).removeprefix(config.name)
    assert run_name(resolve(json.loads(config.model_dump_json()), "json")) == run_name(config)


@settings(deadline=None)
@given(raw=raw_configurations, seed=st.integers(0, 99))
def test_run_names_hang_on_all_else(raw: dict[str, Any], seed: int) -> None:
    config = resolve(raw, "exp.yaml")
    other = resolve(raw | {"seeds": [seed]}, "exp.yaml")
    assert (run_name(other) == run_name(config)) == (other == config)


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
