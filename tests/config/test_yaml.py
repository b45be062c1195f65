"""YAML as people mean it; what isn't is refused with its place."""

import contextlib
import json
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnexp.config.load import load
from bnexp.config.model import Arguments
from bnexp.config.yaml import DEEPEST, flow, parse, read_mapping, to_yaml
from bnexp.errors import InputError

SPELLINGS = [("1e-4", 1e-4), ("1E5", 1e5), (".5", 0.5), ("+3", 3), ("+.5e+1", 5.0), ("1.", 1.0), ("017", 17)]
WORDS = ["no", "off", "yes", "y", "NO", "0x10", "0o17", "1_000", "1:30", "2020-01-01", "nan", "inf"]


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, "exp.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("text", "number"), SPELLINGS)
def test_numbers_are_the_same_in_a_file_and_in_an_override_however_they_are_written(
    tmp_path: Path, text: str, number: float
) -> None:
    read = parse(f"a: {text}", "exp.yaml")["a"]
    assert (read, type(read)) == (number, type(number))
    path = tmp_path / "exp.yaml"
    path.write_text(f"train: {{lr: {text}}}")
    from_file = load(path)
    path.write_text("{}")
    assert from_file == load(path, [f"train.lr={text}"])


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
    assert yaml.safe_load(to_yaml({"a": word})) == parse(to_yaml({"a": word}), "exp.yaml") == {"a": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'1e-4'", "1e-4"), ('"true"', "true")],
)
def test_the_scalars_of_yaml_1_2(text: str, value: object) -> None:
    read = parse(text, "exp.yaml")
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "column", "key"),
    [
        ("a: 1\nb: 2\na: 3", 3, 1, "a"),
        ("train:\n  lr: 1\n  lr: 2", 3, 3, "lr"),
        ("grid: {train.lr: [1], train.lr: [2]}", 1, 23, "train.lr"),
    ],
)
def test_a_key_given_twice_is_refused_with_its_line(text: str, line: int, column: int, key: str) -> None:
    assert refused(text) == f"exp.yaml: line {line}, column {column}: not valid YAML: {key} is given twice"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("data: {name: digits\nmodel: {depth: 3}", "; what line 1, column 7 opens is not closed"),
        ('a: 1\nb: "text\nc: 3', "; what line 2, column 4 opens is not closed"),
        ("train:\n\tlr: 1", "; indent with spaces, not with tabs"),
        ("question: Is it: yes or no", "; text with a colon needs quotes, a key needs a space after its colon, "),
        ("train:\n  lr:0.1\n  epochs: 3", "; text with a colon needs quotes, a key needs a space after its colon, "),
        ("train: [1", "'<stream end>'"),
    ],
)
def test_what_is_not_yaml_is_refused_with_what_to_mend(text: str, hint: str) -> None:
    assert hint in refused(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1,\nb: 2", " line 2, column 5:"),
        ("train:\n\tlr: 1", " line 2, column 1:"),
        ("a: *nowhere", " line 1, column 4:"),
        ("a: 1\n---\nb: 2", " line 2, column 1:"),
        ("{[1, 2]: 3}", " line 1, column 2:"),
        ("!!int x", ""),
        ("a: 1\x00", ""),
        (f"a: {'9' * 5000}", ""),
        ("[" * 5000, ""),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(text: str, place: str) -> None:
    message = refused(text)
    assert message.startswith(f"exp.yaml:{place} not valid YAML: ")
    assert message.isprintable()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!binary", "!!timestamp", "!!set", "!own"])
@pytest.mark.parametrize("place", ["a: {} [touch ran]", "{} x"])
def test_tags_bring_no_other_objects_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    remedy = "is not used here; write text, numbers, lists and mappings without a tag"
    assert f"{tag} {remedy}" in refused(place.format(tag))
    assert list(tmp_path.iterdir()) == []


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


def test_aliases_and_merges_are_read() -> None:
    text = "x: &x {lr: 1, momentum: 0}\ny: {z: &z {<<: *x, lr: 2}, w: [*x, *z]}\nv: {<<: *z, momentum: 3}"
    x, z = {"lr": 1, "momentum": 0}, {"lr": 2, "momentum": 0}
    assert parse(text, "exp.yaml") == {"x": x, "y": {"z": z, "w": [x, z]}, "v": {"lr": 2, "momentum": 3}}


MAPPING = "expected a mapping of keys (name:, model:, train:, …) at the top, found"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n- 2\n", f"{MAPPING} a list"),
        (b"# only a comment\n", f"{MAPPING} nothing"),
        (b"digits\n", f"{MAPPING} text"),
        (b"3\n", f"{MAPPING} a single value"),
        (b"name: gr\xf6\xdfe\n", "not a text file in UTF-8"),
        ("name: exp".encode("utf-16"), "not a text file in UTF-8"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_mapping_says_what_it_is(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "exp.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {message}')}$"):
        read_mapping(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text("größe: 1e-4", encoding="utf-8-sig")
    assert read_mapping(path) == {"größe": 1e-4}


def test_the_loader_of_other_programs_is_left_alone() -> None:
    assert yaml.safe_load("[no, 1_000]") == [False, 1000]


class Name(StrEnum):
    """Text that is no str to YAML."""

    RELU = "relu"
    TANH = "tanh"


@pytest.mark.parametrize(
    ("passed", "read"),
    [
        ({"train": {"lr": [np.float64(0.1), np.float64(0.2)]}}, {"train": {"lr": [0.1, 0.2]}}),
        ({"model": {"activation": (Name.RELU, Name.TANH)}}, {"model": {"activation": ["relu", "tanh"]}}),
        ({"arms": MappingProxyType({"a": MappingProxyType({"train.lr": "x"})})}, {"arms": {"a": {"train.lr": "x"}}}),
        ({"train": {"lr": 10**400}}, {"train": {"lr": float("inf")}}),
    ],
)
def test_what_python_has_besides_is_taken_as_in_a_file(
    refused: Callable[..., list[str]], passed: Any, read: Any
) -> None:
    assert refused(passed) == refused(read)


def test_a_script_is_told_what_no_file_could_hold(refused: Callable[..., list[str]]) -> None:
    expected = "expected text, a number, true, false, null, a list or a mapping"
    assert refused({"grid": {"train.lr": [b"x"]}}) == [f"exp.yaml: grid.train.lr[0]: of type bytes, {expected}"]
    assert refused({"seeds": (1, {2})}) == [f"exp.yaml: seeds[1]: of type set, {expected}"]
    inner: list[Any] = []
    inner.append(inner)
    (line,) = refused({"seeds": inner})
    assert line.endswith(f": nested more than {DEEPEST} levels deep")


def test_keyword_arguments_of_a_network_are_a_mapping() -> None:
    assert flow({"arguments": Arguments(width=8)}) == "{arguments: {width: 8}}"
