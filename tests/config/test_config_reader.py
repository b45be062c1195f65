"""YAML as people mean it, and where a file that isn't says so."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnexp.config.load import load
from bnexp.config.yaml import parse, read_mapping
from bnexp.errors import InputError

SPELLINGS = [
    ("1e-4", 1e-4),
    ("1E5", 1e5),
    (".5", 0.5),
    ("+3", 3),
    ("-2e-3", -2e-3),
    ("+.5e+1", 5.0),
    ("1.", 1.0),
    ("1.e3", 1000.0),
    ("-0", 0),
    ("017", 17),
]
WORDS = ["no", "off", "yes", "on", "y", "n", "NO", "Off", "0x10", "0o17", "1_000", "1:30", "2020-01-01", "nan", "inf"]


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, "exp.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("text", "number"), SPELLINGS)
def test_numbers_are_numbers_however_they_are_written(text: str, number: float) -> None:
    read = parse(f"a: {text}\nb: [{text}]", "exp.yaml")
    assert read == {"a": number, "b": [number]}
    assert type(read["a"]) is type(number)


@pytest.mark.parametrize(("text", "number"), [pair for pair in SPELLINGS if pair[1] >= 0])
def test_numbers_in_a_file_and_in_an_override_are_the_same(tmp_path: Path, text: str, number: float) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text(f"train: {{lr: {text}}}\ngrid: {{model.init.scale: [{text}]}}")
    from_file = load(path)
    path.write_text("{}")
    from_command_line = load(path, [f"train.lr={text}", f"grid.model.init.scale=[{text}]"])
    assert from_file.train.lr == from_command_line.train.lr == number
    assert from_file == from_command_line


@settings(deadline=None)
@given(
    number=st.floats(allow_nan=False, allow_infinity=False), form=st.sampled_from(["{!r}", "{:e}", "{:.17E}", "{:g}"])
)
def test_every_finite_float_that_python_prints_is_read_as_a_number(number: float, form: str) -> None:
    text = form.format(number)
    assert parse(text, "exp.yaml") == float(text)


@pytest.mark.parametrize("word", WORDS)
def test_words_stay_words(word: str) -> None:
    assert parse(f"a: {word}", "exp.yaml") == {"a": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'1e-4'", "1e-4"), ('"true"', "true")],
)
def test_the_scalars_of_yaml_1_2(text: str, value: object) -> None:
    assert parse(text, "exp.yaml") is value or parse(text, "exp.yaml") == value


@pytest.mark.parametrize(
    ("text", "line", "column", "key"),
    [
        ("a: 1\nb: 2\na: 3", 3, 1, "a"),
        ("train:\n  lr: 1\n  lr: 2", 3, 3, "lr"),
        ("grid: {train.lr: [1], train.lr: [2]}", 1, 23, "train.lr"),
        ("a: [{b: 1, b: 2}]", 1, 12, "b"),
    ],
)
def test_a_key_given_twice_is_refused_with_its_line(text: str, line: int, column: int, key: str) -> None:
    assert refused(text) == f"exp.yaml: line {line}, column {column}: not valid YAML: {key} is given twice"


def test_a_merged_key_may_be_given_anew() -> None:
    text = "base: &base {lr: 1, momentum: 0}\ntrain: {<<: *base, lr: 2}"
    assert parse(text, "exp.yaml")["train"] == {"lr": 2, "momentum": 0}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1,\nb: 2", "line 2, column 5"),
        ("a: b: c", "line 1, column 5"),
        ("train:\n\tlr: 1", "line 2, column 1"),
        ("a: *nowhere", "line 1, column 4"),
        ("a: 1\n---\nb: 2", "line 2, column 1"),
        ("a: !!python/object:os.system x", "line 1, column 4"),
        ("{[1, 2]: 3}", "line 1, column 2"),
    ],
)
def test_what_is_not_yaml_is_refused_with_line_and_column(text: str, place: str) -> None:
    assert refused(text).startswith(f"exp.yaml: {place}: not valid YAML: ")


@pytest.mark.parametrize("text", ["!!bool maybe", "!!int x", "!!float x", "a: \x00", "[" * 5000, "a: &a [*a]"])
def test_odd_yaml_is_refused_and_never_a_python_error(text: str) -> None:
    message = refused(text)
    assert message.startswith("exp.yaml: ")
    assert "not valid YAML" in message


@settings(deadline=None)
@given(text=st.text(max_size=40))
@example("{? a")
@example("- !<!> x")
@example("%YAML 9.9\n--- 1")
def test_no_text_at_all_is_a_python_error(text: str) -> None:
    with contextlib.suppress(InputError):
        parse(text, "exp.yaml")


letters = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=8)


@settings(deadline=None)
@given(value=st.recursive(letters | st.integers() | st.booleans() | st.none(), st.lists, max_leaves=5))
def test_json_is_yaml(value: Any) -> None:
    assert parse(json.dumps(value), "exp.yaml") == value


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text("name: größe\ntrain: {lr: 1e-4}", encoding="utf-8")
    assert read_mapping(path) == {"name": "größe", "train": {"lr": 1e-4}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n- 2\n", "expected a mapping of keys (name:, model:, train:, …) at the top, found a list"),
        (b"", "expected a mapping of keys (name:, model:, train:, …) at the top, found nothing"),
        (b"# only a comment\n", "expected a mapping of keys (name:, model:, train:, …) at the top, found nothing"),
        (b"digits\n", "expected a mapping of keys (name:, model:, train:, …) at the top, found text"),
        (b"3\n", "expected a mapping of keys (name:, model:, train:, …) at the top, found a single value"),
        (b"name: gr\xf6\xdfe\n", "not a text file in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00", "not a text file in UTF-8"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_mapping_says_what_it_is(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "exp.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {message}')}$"):
        read_mapping(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}: is a directory$"):
        read_mapping(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text("name: exp", encoding="utf-8-sig")
    assert read_mapping(path) == {"name": "exp"}


def test_the_loader_of_other_programs_is_left_alone() -> None:
    assert yaml.safe_load("[no, 1_000]") == [False, 1000]
