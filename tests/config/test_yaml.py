"""YAML as people mean it; what isn't, or would fill the memory, is refused with its place."""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnexp.config.load import load, resolve
from bnexp.config.yaml import DEEPEST, LARGEST, TOO_DEEP, TOO_LARGE, parse, read_mapping, to_yaml
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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!bool maybe", "not valid YAML: 'maybe'"),
        ("!!int x", "not valid YAML: invalid literal for int() with base 10: 'x'"),
        ("!!int [1]", "line 1, column 1: not valid YAML: expected a scalar node, but found sequence"),
        ("!!map ab", "line 1, column 1: not valid YAML: expected a mapping node, but found scalar"),
        (f"a: {'9' * 5000}", "line 1, column 4: not valid YAML: a whole number of 5000 digits; at most 300 are read"),
        ("a: 1\x00", "not valid YAML: unacceptable character #x0000: special characters are not allowed"),
        ('{"\\e[31m": 1, "\\e[31m": 2}', r"line 1, column 15: not valid YAML: \x1b[31m is given twice"),
        ("a: &a [*a]", "line 1, column 4: not valid YAML: an alias within it stands for all of it"),
        ("&top {a: {b: [*top]}}", "line 1, column 1: not valid YAML: an alias within it stands for all of it"),
        ("a: &a {<<: *a}", "line 1, column 4: not valid YAML: an alias within it stands for all of it"),
        ("[" * 5000, f"not valid YAML: {TOO_DEEP}"),
    ],
)
def test_odd_yaml_is_refused_in_words(text: str, message: str) -> None:
    assert refused(text) == f"exp.yaml: {message}"


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!binary", "!!timestamp", "!!set", "!own"])
@pytest.mark.parametrize("place", ["a: {} [touch ran]", "{{? {} x : 1}}", "{} x"])
def test_tags_bring_no_other_objects_wherever_they_stand(here: Path, tag: str, place: str) -> None:
    message = refused(place.format(tag))
    assert f"{tag} is not used here; write text, numbers, lists and mappings without a tag" in message
    assert list(here.iterdir()) == []


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
        ("name: exp".encode("utf-16"), "not a text file in UTF-8"),
        (b"name: e\x00xp", "not a text file in UTF-8"),
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


def test_aliases_and_merges_are_read() -> None:
    text = "x: &x {lr: 1, momentum: 0}\ny: {z: &z {<<: *x, lr: 2}, w: [*x, *z]}\nv: {<<: *z, momentum: 3}\nu: <<"
    x, z = {"lr": 1, "momentum": 0}, {"lr": 2, "momentum": 0}
    assert parse(text, "exp.yaml") == {"x": x, "y": {"z": z, "w": [x, z]}, "v": {"lr": 2, "momentum": 3}, "u": "<<"}


def laughs(first: str, more: Callable[[str], str]) -> str:
    """Lines that each stand for the line before, ten times over."""
    return "\n".join([f"k0: &k0 {first}", *(f"k{i}: &k{i} {more(f'*k{i - 1}')}" for i in range(1, 30))])


LAUGHS = {
    "lists": laughs("[ha, ha]", lambda alias: f"[{', '.join([alias] * 10)}]"),
    "mappings": laughs("{ha: ha}", lambda alias: f"{{{', '.join(f'a{i}: {alias}' for i in range(10))}}}"),
    "merged mappings": laughs("{ha: ha}", lambda alias: f"{{<<: [{', '.join([alias] * 10)}]}}"),
    "text": f"a: &a {'ha' * 50_000}\nb: [{', '.join(['*a'] * 10_000)}]",
}


@pytest.mark.parametrize("text", LAUGHS.values(), ids=list(LAUGHS))
def test_a_billion_laughs_end_at_once(text: str) -> None:
    started = time.process_time()
    too_much = f"with its aliases written out it is larger than {LARGEST:,} characters"
    assert re.fullmatch(rf"exp\.yaml: line \d+, column \d+: not valid YAML: {too_much}", refused(text))
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "nested",
    [
        lambda levels: "[" * levels + "]" * levels,
        lambda levels: "".join(f"{' ' * i}a:\n" for i in range(levels - 1)),
        lambda levels: "[&a [], " + ", ".join(f"&{'a' * i} [*{'a' * (i - 1)}]" for i in range(2, levels)) + "]",
    ],
    ids=["brackets", "keys", "aliases"],
)
def test_values_are_nested_so_deep_and_no_deeper(nested: Callable[[int], str]) -> None:
    parse(nested(DEEPEST), "exp.yaml")
    assert refused(nested(DEEPEST + 1)).endswith(TOO_DEEP)


def test_a_message_is_short_and_on_one_line() -> None:
    message = refused(f'{{"{"x" * 5000}": 1, "{"x" * 5000}": 2}}')
    assert len(message) < 600
    assert len(message.splitlines()) == 1


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text("a: 1\n".ljust(LARGEST, "#"))
    assert read_mapping(path) == {"a": 1}
    os.truncate(path, 2**40)  # takes no room on the disk
    for endless in (path, Path("/dev/zero")):
        with pytest.raises(InputError, match=f"^{endless}: {re.escape(TOO_LARGE)}$"):
            read_mapping(endless)
    with pytest.raises(InputError, match=f"^value: {re.escape(TOO_LARGE)}$"):
        parse("x" * (LARGEST + 1), "value")


LONG: dict[str, dict[str, Any]] = {
    "seeds": {"seeds": 10_000},
    "floats": {"grid": {"train.lr": {"linspace": [0.1, 0.9, 3000]}}, "seeds": 1},
    "widths": {"arms": {f"a{i}": {"model": {"width": [1] * 1000}} for i in range(20)}, "seeds": 1},
}


@pytest.mark.parametrize("raw", LONG.values(), ids=list(LONG))
def test_what_is_accepted_can_be_read_again_when_it_is_written_out(raw: dict[str, Any]) -> None:
    config = resolve({"name": "exp"} | raw, "exp.yaml")
    assert resolve(parse(to_yaml(config.model_dump(mode="json")), "config.yaml"), "config.yaml") == config


def test_what_is_too_long_when_it_is_written_out_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        resolve({"name": "exp", "train": {"record_at": list(range(100_000, 110_000))}}, "exp.yaml")
    assert re.fullmatch(
        r"exp\.yaml: written out it takes [0-9,]+ characters, more than 65,536; "
        r"shorten seeds, grid, zip, arms, model\.width or train\.record_at",
        str(caught.value),
    )
