"""The JSON schema of files takes what the loader takes, and refuses what the loader refuses because of one value."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from bnexp.claims.catalogue import ClaimSettings
from bnexp.config.base import Settings
from bnexp.config.documentation import all_sections
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.schema import file_schema
from bnexp.config.yaml import parse, read_mapping
from bnexp.errors import BnexpError
from bnexp.papers.catalogue import PaperSettings
from tests.config.raw import configurations
from tests.config.test_fuzz import MANY, nearly_right
from tests.config.test_refusals import CASES

ROOT = Path(__file__).parents[2]
MODELS: dict[Path, type[Settings]] = {
    ROOT / "configs" / "schema.json": ExperimentConfig,
    ROOT / "configs" / "claims" / "schema.json": ClaimSettings,
    ROOT / "configs" / "papers" / "schema.json": PaperSettings,
}
"""What the files that name a schema are read into."""
FEW = 10
"""Random configurations in every test run."""
FILES = sorted([*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("examples/**/*.yaml")])


@cache
def validator(model: type[Settings]) -> Draft7Validator:
    schema = file_schema(model)
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def faults(raw: Any, model: type[Settings] = ExperimentConfig) -> list[str]:
    """The places of what the schema refuses. Keys of JSON are text."""
    return [error.json_path for error in validator(model).iter_errors(json.loads(json.dumps(raw)))]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_the_schema_beside_the_files_is_current(path: Path) -> None:
    assert json.loads(path.read_text(encoding="utf-8")) == validator(MODELS[path]).schema, "make generated"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_names_its_schema_first_and_fits_it(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named
    assert faults(read_mapping(path), MODELS[(path.parent / named[1]).resolve()]) == []


BEYOND = {
    "{train: {lr: .nan}}": "JSON has no such number",
    "{arms: {1: {}}}": "keys of JSON are text",
    "{train: {schedule_options: {step_at: [120, 80]}}}": "an order",
    "{arms: [none, before], seeds: {from: 6, to: 6, until: 0.005}}": "two values",
    "{probes: [{name: landscape_slice, range: [1, 1]}]}": "two values",
    "{probes: [{name: loss_variation, range: [0, 1]}]}": "two values",
    "{tune: {grid: {train.lr: [0.1, 1]}, seeds: 2, studies: 2}}": "a hole among numbers",
}
"""Refused because of one value, in a way that the schema doesn't know."""
OF_ONE_VALUE = r": expected |: unknown key|: missing| takes three numbers"
REFUSED = [written for written, said in CASES if " + " not in written and re.search(OF_ONE_VALUE, said)]


@pytest.mark.parametrize("written", REFUSED)
def test_what_the_loader_refuses_because_of_one_value_the_schema_refuses(written: str) -> None:
    assert bool(faults(parse(written, ""))) == (written not in BEYOND)


def loaded(raw: dict[str, Any]) -> tuple[ExperimentConfig | None, str]:
    """The experiment, or what is said against it."""
    try:
        return resolve({"name": "exp"} | raw, "exp.yaml"), ""
    except BnexpError as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_what_the_loader_takes_the_schema_takes_and_what_it_writes_too(examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(raw=st.one_of(configurations(), nearly_right()))
    def tries(raw: dict[str, Any]) -> None:
        config, said = loaded(raw)
        if config:
            assert faults(raw) == []
            assert faults(config.model_dump(mode="json")) == []
        elif re.search(OF_ONE_VALUE, said) and "NaN" not in said:
            assert faults(raw)

    tries()


@pytest.mark.parametrize(
    "written",
    [
        "{train: {lr: '1e-3', epochs: ' +5 ', drop_last: 'No', nesterov: 0, decay_all: 'off'}}",
        "{data: {name: digits, feature_scale: {3: 2.0, '4': 1}}, model: {width: [8, 4], bias: true}}",
        "{data: digits, model: vgg, probes: default}",
        "{model: {norm: after, init: he}, probes: [rank, {name: drift, at: {range: [0, 9, 3]}}]}",
        "{probes: {name: mode_gap}, seeds: {from: 3, to: 9, until: settled}}",
        "{seeds: {linspace: [0, 4, 5]}, arms: {none: , wide: {model: {width: 9}, train.clip: {value: 1}}}}",
        "{grid: {model.norm: [before, {kind: layer}]}, zip: {train.lr: {logspace: [1, 2, 2]}, model.depth: [2, 3]}}",
        "{tune: {grid: {train.lr: [0.1, '1']}, seeds: [7]}}",
        "{model: {family: module, source: 'torch.nn:Linear', arguments: {a: [1]}}, grid: {model.arguments.größe: [1]}}",
    ],
)
def test_short_forms_and_quotes_are_known(written: str) -> None:
    raw = parse(written, "")
    assert resolve({"name": "exp"} | raw, "exp.yaml")
    assert faults(raw) == []


@pytest.mark.parametrize(
    "written",
    [
        "{arms: [none, none]}",
        "{seeds: [1, 1]}",
        "{probes: [rank, rank]}",
        "{train: {record_at: [7, 7]}}",
        "{tune: {sample: {model.depth: {choice: [3, 3]}}, trials: 2}}",
        "{tune: {sample: {train.lr: {uniform: [0, 1, 3]}}, trials: 2}}",
        "{tune: {sample: {train.lr: {loguniform: [1]}}, trials: 2}}",
        "{grid: {train.lr: {logspace: [1, 2, 2.5]}}}",
        "{grid: {train.lr: {linspace: [1, 2, 0]}}}",
        "{model: {family: module, source: net.py}}",
        "{train: {lr: '1.2.3'}}",
        "{train: {epochs: '1e1'}}",
    ],
)
def test_lists_and_texts_of_a_wrong_form_are_refused(written: str) -> None:
    raw = parse(written, "")
    assert loaded(raw)[0] is None
    assert faults(raw)


@pytest.mark.parametrize(
    "text", ["1_0", " +5.00 ", "1_0.5e-1_0", ".5", "5.", "-0", "1.", "١", "1e", "", "0x1", "5._0", "1e_1"]
)
def test_numbers_in_quotes_are_those_that_the_loader_reads(text: str) -> None:
    for raw in ({"train": {"lr": text}}, {"train": {"epochs": text}}):
        config, said = loaded(raw)
        assert bool(faults(raw)) == (config is None and "greater than" not in said)


def test_editors_suggest_nothing_that_only_runs_write_and_fill_no_section_in() -> None:
    schema: Any = validator(ExperimentConfig).schema
    hidden = {name for name, field in schema["properties"].items() if field.get("doNotSuggest")}
    assert hidden == {"more_seeds", "halving", "tuned"}
    for name in ("TrainSettings", "TuneSettings", "dotted_keys_2"):
        assert "properties" not in schema["definitions"][name]


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("{data: digits, model: {norm: {epsilon: 1}}}", "$.model"),
        ("{arms: [none], train: {clip: {value: 0}}}", "$.train.clip.value"),
        ("{grid: {train.steps: [1, {range: [1, 2, 3]}]}}", "$.grid['train.steps']"),
        ("{zip: {train.steps: {range: [1, 2]}}}", "$.zip['train.steps']"),
        ("{tune: {grid: {data.seed: [1]}}}", "$.tune.grid"),
    ],
)
def test_the_place_of_what_is_wrong_is_named(written: str, place: str) -> None:
    assert faults(parse(written, "")) == [place]


def test_every_setting_has_its_meaning_and_default_everywhere() -> None:
    schema: Any = validator(ExperimentConfig).schema

    def at(place: str) -> Any:
        found: Any = schema
        for part in place.removeprefix("#/").split("/"):
            found = found[int(part)] if isinstance(found, list) else found[part]
        return found

    def settings_of(mapping: Any) -> Any:
        return at(mapping["$ref"])["allOf"][0]["properties"]

    overrides, columns = (settings_of(schema["properties"][name]) for name in ("grid", "zip"))
    assert overrides == columns
    arm = at(schema["properties"]["arms"]["anyOf"][1]["$ref"])["additionalProperties"]
    for setting in (each for section in all_sections() for each in section.settings):
        if setting.key in columns:
            assert columns[setting.key]["description"] == setting.meaning
            field = at(settings_of(arm)[setting.key]["$ref"])
            assert (field["description"], field["default"]) == (setting.meaning, setting.default)


def test_a_claim_has_an_experiment_like_any_other() -> None:
    raw = {"claim": "c", "notes": ["S1"], "literature": ["l"], "tiers": {"small": {}, "full": {}}}
    assert faults(raw | {"experiment": {"data": "digits", "arms": ["none"]}}, ClaimSettings) == []
    assert faults(raw | {"experiment": {"data": {"nam": "digits"}}}, ClaimSettings) == ["$.experiment"]


def test_a_tier_changes_what_there_is_to_what_it_can_be() -> None:
    raw = {"claim": "c", "notes": ["S1"], "literature": ["l"], "experiment": {"data": "digits"}}
    right = {"train.lr": 1, "seeds": 6, "tune.seeds": 2, "grid.train.lr": [1], "arms.a.train.lr": 2, "model": "resnet"}
    assert faults(raw | {"tiers": {"small": right, "full": {}}}, ClaimSettings) == []
    for wrong in ({"train.lrr": 1}, {"train.lr": -1}, {"seeds": 0}, {"probes": ["rnk"]}):
        assert faults(raw | {"tiers": {"small": wrong, "full": {}}}, ClaimSettings)
