"""Documents made to fill the memory, tags made to run code, files that never end: refused at once, in words."""

import os
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bnexp.config.load import load, resolve
from bnexp.config.yaml import DEEPEST, LARGEST, MOST_DIGITS, OVERHEAD, parse, read_mapping, to_yaml
from bnexp.errors import InputError

SECONDS = 1.0
"""That refusing a document may take."""
MEMORY = 16 * 2**20
"""Bytes of Python objects alive at once meanwhile; the document itself takes some."""
TOO_MUCH = f"with its aliases written out it is larger than {LARGEST:,} characters"
TOO_DEEP = f"nested more than {DEEPEST} levels deep"
TOO_LONG = f"larger than {LARGEST // 1024} KiB, which no configuration needs to be; ranges stand for long lists"


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, "exp.yaml")
    return str(caught.value)


def laughs(first: str, more: Callable[[str], str], lines: int = 30) -> str:
    """Lines that each stand for the line before, ten times over."""
    later = (f"k{i}: &k{i} {more(f'*k{i - 1}')}" for i in range(1, lines))
    return "\n".join([f"k0: &k0 {first}", *later])


LAUGHS = {
    "lists": laughs("[ha, ha]", lambda alias: f"[{', '.join([alias] * 10)}]"),
    "block lists": laughs("[ha]", lambda alias: "\n" + "\n".join([f"- {alias}"] * 10)),
    "maps": laughs("{ha: ha}", lambda alias: f"{{{', '.join(f'a{i}: {alias}' for i in range(10))}}}"),
    "merged maps": laughs("{ha: ha}", lambda alias: f"{{<<: [{', '.join([alias] * 10)}]}}"),
    "merged keys": laughs("{ha: ha}", lambda alias: f"{{{', '.join([f'<<: {alias}'] * 10)}}}"),
    "two at a time": laughs("[ha]", lambda alias: f"[{alias}, {alias}]", lines=45),
    "text": f"a: &a {'ha' * 50_000}\nb: [{', '.join(['*a'] * 10_000)}]",
    "quoted text": f'a: &a "{"ha" * 50_000}"\nb: {{{", ".join(f"k{i}: *a" for i in range(1000))}}}',
}


@pytest.mark.parametrize("text", LAUGHS.values(), ids=list(LAUGHS))
def test_a_billion_laughs_end_at_once(text: str) -> None:
    started = time.process_time()
    message = refused(text)
    assert time.process_time() - started < SECONDS
    tracemalloc.start()
    assert refused(text) == message
    assert tracemalloc.get_traced_memory()[1] < MEMORY
    tracemalloc.stop()
    assert re.fullmatch(rf"exp\.yaml: line \d+, column \d+: not valid YAML: {TOO_MUCH}", message)


@pytest.mark.parametrize("name", LAUGHS)
def test_laughs_are_refused_in_a_file_and_on_the_command_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text(LAUGHS[name])
    with pytest.raises(InputError, match=TOO_MUCH):
        load(path)
    with pytest.raises(InputError, match=rf"^command line: model=.*{TOO_MUCH}$") as caught:
        resolve({"name": "exp"}, "exp.yaml", [f"model={LAUGHS[name]}"])
    assert len(str(caught.value)) < 1000
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("a: &a [*a]", "*a"),
        ("&top {a: {b: [*top]}}", "*top"),
        ("a: &a {<<: *a}", "*a"),
        ("&a {*a : 1}", "*a"),
        ("a: &a [&b [*a], *b]", "*a"),
    ],
)
def test_an_alias_that_holds_itself_is_refused(text: str, alias: str) -> None:
    message = refused(text)
    assert message.startswith("exp.yaml: line 1, column ")
    assert message.endswith(f": not valid YAML: {alias} holds itself")


def test_aliases_count_as_what_they_stand_for() -> None:
    letters = LARGEST // 10 - OVERHEAD
    text = f"[&a {'x' * letters}{{}}]".format(", *a" * 8)
    # The list, nine times the text, and each alias by itself.
    left = LARGEST - OVERHEAD - 9 * (letters + OVERHEAD) - 8 * OVERHEAD
    assert len(parse(f"{text[:-1]}, {'y' * (left - OVERHEAD)}]", "exp.yaml")) == 10
    assert TOO_MUCH in refused(f"{text[:-1]}, {'y' * (left - OVERHEAD + 1)}]")


def test_a_long_list_ends_before_it_is_read() -> None:
    most = LARGEST // OVERHEAD // 2
    started = time.process_time()
    assert len(parse(f"[{'1,' * (most // 2)}]", "exp.yaml")) == most // 2
    assert TOO_MUCH in refused(f"[{'1,' * (2 * most)}]")
    assert time.process_time() - started < 10 * SECONDS


def deepest_first(levels: int) -> str:
    """An alias, itself nested, for a list whose first part is nested and whose last is not."""
    below, above = levels // 2 - 1, levels - levels // 2 - 1
    return f"a: &a [{'[' * below}{']' * below}, x]\nb: {'[' * above}*a{']' * above}"


DEEP = {
    "deepest first": deepest_first,
    "brackets": lambda levels: "[" * levels + "]" * levels,
    "braces": lambda levels: "{a: " * (levels - 1) + "}" * (levels - 1),
    "dashes": lambda levels: "- " * (levels - 1) + "x",
    "keys": lambda levels: "".join(f"{' ' * i}a:\n" for i in range(levels - 1)),
    "aliases": lambda levels: "[&a [], " + ", ".join(f"&{'a' * i} [*{'a' * (i - 1)}]" for i in range(2, levels)) + "]",
}


@pytest.mark.parametrize("name", DEEP)
def test_values_are_nested_so_deep_and_no_deeper(name: str) -> None:
    parse(DEEP[name](DEEPEST), "exp.yaml")
    assert refused(DEEP[name](DEEPEST + 1)).endswith(TOO_DEEP)
    started = time.process_time()
    refused(DEEP[name](3000))
    assert time.process_time() - started < SECONDS


def test_ordinary_aliases_and_merges_are_read() -> None:
    text = "x: &x {lr: 1, momentum: 0}\ny: {z: &z {<<: *x, lr: 2}, w: [*x, *z]}\nv: {<<: *z, momentum: 3}\nu: <<"
    x, z = {"lr": 1, "momentum": 0}, {"lr": 2, "momentum": 0}
    assert parse(text, "exp.yaml") == {"x": x, "y": {"z": z, "w": [x, z]}, "v": {"lr": 2, "momentum": 3}, "u": "<<"}


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("!!python/object/apply:os.system [touch ran]", "!!python/object/apply:os.system"),
        ("!!python/object/new:os.system [touch ran]", "!!python/object/new:os.system"),
        ("!!python/name:os.system", "!!python/name:os.system"),
        ("!!python/tuple [1, 2]", "!!python/tuple"),
        ("!!binary aGk=", "!!binary"),
        ("!!timestamp 2020-01-01", "!!timestamp"),
        ("!!set {a, b}", "!!set"),
        ("!!omap [a: 1]", "!!omap"),
        ("!!pairs [a: 1]", "!!pairs"),
        ("!own x", "!own"),
        ("!<str> x", "str"),
        ("!!int [1]", "!!int"),
        ("!!map [1]", "!!map"),
        ("!!map ab", "!!map"),
        ("!!seq {a: 1}", "!!seq"),
        ("!!str {!!value =: x}", "!!str"),
    ],
)
@pytest.mark.parametrize("place", ["a: {}", "[1, {} ]", "{{? {} : 1}}", "{}"])
def test_tags_bring_no_other_objects_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, tag: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(place.format(value))
    assert message.endswith(
        f"not valid YAML: {tag} is not used here; write text, numbers, lists and mappings without a tag"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!int x", "line 1, column 1: not valid YAML: 'x' is no int"),
        ("!!float ''", "line 1, column 1: not valid YAML: '' is no float"),
        ("!!bool maybe", "line 1, column 1: not valid YAML: 'maybe' is no bool"),
        (f"a: {'9' * 5000}", "line 1, column 4: not valid YAML: a whole number of 5000 digits; at most 300 are read"),
        ("a: 1\x00", "not valid YAML: unacceptable character #x0000: special characters are not allowed"),
        ("a: \x1b[31m", "not valid YAML: unacceptable character #x001b: special characters are not allowed"),
        ('{"\\e[31m": 1, "\\e[31m": 2}', r"line 1, column 15: not valid YAML: \x1b[31m is given twice"),
    ],
)
def test_odd_scalars_are_refused_in_words(text: str, message: str) -> None:
    assert refused(text) == f"exp.yaml: {message}"


def test_whole_numbers_have_so_many_digits_at_most() -> None:
    assert parse("9" * MOST_DIGITS, "exp.yaml") == 10**MOST_DIGITS - 1
    assert "at most 300" in refused("9" * (MOST_DIGITS + 1))


def test_a_message_is_short_and_on_one_line() -> None:
    message = refused(f'{{"{"x" * 5000}": 1, "{"x" * 5000}": 2}}')
    assert len(message) < 600
    assert len(message.splitlines()) == 1


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text("a: 1\n".ljust(LARGEST, "#"))
    assert read_mapping(path) == {"a": 1}
    path.write_text("a: 1\n".ljust(LARGEST + 1, "#"))
    with pytest.raises(InputError, match=f"^{path}: {re.escape(TOO_LONG)}$"):
        read_mapping(path)
    with pytest.raises(InputError, match=f"^value: {re.escape(TOO_LONG)}$"):
        parse("x" * (LARGEST + 1), "value")


def message_of(path: Path) -> str:
    started = time.perf_counter()
    with pytest.raises(InputError) as caught:
        read_mapping(path)
    assert time.perf_counter() - started < 5 * SECONDS
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "exp.yaml"
    path.touch()
    os.truncate(path, 2**40)  # takes no room on the disk
    tracemalloc.start()
    assert message_of(path) == TOO_LONG
    assert tracemalloc.get_traced_memory()[1] < MEMORY
    tracemalloc.stop()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_a_device_without_end_is_left_at_the_limit(device: str) -> None:
    assert message_of(Path(device)) == TOO_LONG


def test_an_empty_device_holds_nothing() -> None:
    assert message_of(Path("/dev/null")).endswith("at the top, found nothing")


def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("exp.yaml")
        assert message_of(Path("exp.yaml")) == "no such device or address"


def fed(path: Path, content: bytes) -> threading.Thread:
    """Write into a pipe from a thread, which ends when nobody reads any more."""

    def write() -> None:
        with suppress(BrokenPipeError):
            path.write_bytes(content)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = fed(path, b"seeds: 2\n" + b"#" * 200_000)
    assert load(path).seeds == (0, 1)
    writer.join()


def test_a_pipe_without_end_is_left_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = fed(path, b"#" * (64 * LARGEST))
    assert message_of(path) == TOO_LONG
    writer.join()


@pytest.mark.parametrize(
    "content",
    [
        "name: exp".encode("utf-16"),
        "name: exp".encode("utf-16-le"),
        "name: exp".encode("utf-32"),
        b"name: e\x00xp",
        b"\x00" * 100,
        "name: größe".encode("latin-1"),
        b"name: \xed\xa0\x80",  # half a surrogate pair
    ],
)
def test_other_encodings_are_named_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "exp.yaml"
    path.write_bytes(content)
    assert message_of(path) == "not a text file in UTF-8"


LONG: dict[str, dict[str, Any]] = {
    "seeds": {"seeds": 10_000},
    "large seeds": {"seeds": [2**63 - 1 - i for i in range(3000)]},
    "floats": {"grid": {"train.lr": {"linspace": [0.1, 0.9, 3000]}}, "seeds": 1},
    "records": {"train": {"record_at": {"range": [1, 10_000, 1]}}},
    "widths in arms": {"arms": {f"a{i}": {"model": {"width": [1] * 1000}} for i in range(30)}, "seeds": 1},
    "widths in a grid": {"grid": {"model.width": [[1 + i] + [1] * 999 for i in range(29)]}, "seeds": 1},
    "names": {"arms": {f"{i:>0100}": {} for i in range(500)}, "seeds": 1},
}


@pytest.mark.parametrize("raw", LONG.values(), ids=list(LONG))
def test_what_is_accepted_can_be_read_again_when_it_is_written_out(raw: dict[str, Any]) -> None:
    config = resolve({"name": "exp"} | raw, "exp.yaml")
    text = to_yaml(config.model_dump(mode="json"))
    assert len(text) > LARGEST // 16
    assert resolve(parse(text, "config.yaml"), "config.yaml") == config


@pytest.mark.parametrize(
    "raw",
    [
        {"arms": {f"a{i}": {"model": {"width": [1] * 1000}} for i in range(40)}, "seeds": 1},
        {"grid": {"train.lr": {"linspace": [0.1, 0.9, 9000]}}, "seeds": 1},
        {"train": {"record_at": list(range(100_000, 110_000))}},
    ],
)
def test_what_is_too_long_when_it_is_written_out_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        resolve({"name": "exp"} | raw, "exp.yaml")
    assert re.fullmatch(
        r"exp\.yaml: written out it takes [0-9,]+ characters, more than 65,536; "
        r"shorten seeds, grid, zip, arms, model\.width or train\.record_at",
        str(caught.value),
    )
