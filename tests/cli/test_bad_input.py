"""Bad input: said in words, exit code 2, no traceback, and nothing written anywhere."""

import json
import os
import pickle
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bnexp.config.load import shipped
from tests.cli.command import Command, tree

Refused = Callable[..., str]
DIGITS = (
    "data: {name: digits, train_size: 100}\nmodel: {depth: 1, width: 8}\ntrain: {epochs: 1, batch_size: 50}\nseeds: 1\n"
)


@pytest.fixture
def refused(cli: Command, tmp_path: Path) -> Refused:
    """A function from the words of a command to what it says on refusing them, with everything left as it was."""

    def refuse(*words: object) -> str:
        before = tree(tmp_path)
        result = cli(*words)
        assert (result.code, result.out) == (2, "")
        assert "Traceback" not in result.err
        assert tree(tmp_path) == before
        return result.err

    return refuse


@pytest.fixture
def written(here: Path) -> Callable[[str | bytes], Path]:
    """A function that writes exp.yaml and returns its path."""

    def write(content: str | bytes) -> Path:
        path = here / "exp.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Path("exp.yaml")

    return write


Written = Callable[[str | bytes], Path]


def test_missing_file(refused: Refused) -> None:
    message = "bnexp: nowhere.yaml: no such file, nor a shipped configuration; shipped are "
    assert refused("run", "nowhere.yaml") == f"{message}{', '.join(shipped())}\n"


def test_misspelt_name_of_a_shipped_configuration(refused: Refused) -> None:
    assert " (nearest: quickstart); shipped are " in refused("run", "quikstart")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: [1", "line 1, column 10: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (b"name: \xff", "not a text file in UTF-8"),
        ("", "expected a mapping of keys (name:, model:, train:, …) at the top, found nothing"),
    ],
)
def test_no_yaml_mapping(refused: Refused, written: Written, content: str | bytes, message: str) -> None:
    assert refused("run", written(content)) == f"bnexp: exp.yaml: {message}\n"


SETS = "digits, mnist, fashion_mnist, cifar10, cifar100, image_folder"
NORMS = "before, after, none, batch, layer, group, whiten, noisy_batch"
SIGNS = "expected letters, digits and _ . + - only, beginning with a letter or digit"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {lrr: 1}", "train.lrr: unknown key (nearest: train.lr)"),
        ("data: {name: minst}", f'data.name: "minst": expected one of {SETS} (nearest: mnist)'),
        (
            "model: {norm: befor}",
            f'model.norm: "befor": expected a mapping of keys, or one of {NORMS} (nearest: before)',
        ),
        ("train: {lr: -0.1}", "train.lr: -0.1: expected a number greater than or equal to 0"),
        ("grid: {lr: [1]}", "grid.lr: unknown key (nearest: train.lr)"),
        ("name: ../../a", f'name: "../../a": {SIGNS}'),
        (
            "arms: [befor]",
            'arms: ["befor"]: befor: expected one of none, before, after (nearest: before), or a mapping with its '
            "overrides",
        ),
        (
            "train: {epochs: 1, steps: 1}",
            "train: epochs and steps exclude each other: give one of them, and null for the other",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "show"])
def test_wrong_settings(refused: Refused, written: Written, command: str, content: str, message: str) -> None:
    assert refused(command, written(content)) == f"bnexp: exp.yaml: {message}\n"


def test_all_problems_at_once(refused: Refused, written: Written) -> None:
    path = written("data: {name: minst}\ntrain: {lr: -1, epoch: 3}\nseeds: [-1]")
    lines = refused("run", path, "model.widht=3", "nonsense=1").splitlines()
    assert len(lines) == 6
    assert [line.removeprefix("bnexp: ").split(": ")[:2] for line in lines] == [
        ["command line", "model.widht=3"],
        ["command line", "nonsense=1"],
        ["exp.yaml", "data.name"],
        ["exp.yaml", "train.lr"],
        ["exp.yaml", "train.epoch"],
        ["exp.yaml", "seeds.0"],
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exp.yaml", "train.lrr=1"], "command line: train.lrr=1: unknown key (nearest: train.lr)"),
        (["exp.yaml", "train.lr=-1"], "command line: train.lr: -1: expected a number greater than or equal to 0"),
        (["train.lr=1"], "no configuration given; try bnexp run configs/quickstart.yaml, or bnexp list configs"),
        (["."], ".: is a directory"),
        (["exp.yaml", "--device", "tpu"], "--device tpu: expected auto, cpu, cuda or cuda:i"),
    ],
)
def test_wrong_words(refused: Refused, written: Written, words: list[str], message: str) -> None:
    written(DIGITS)
    assert refused("run", *words) == f"bnexp: {message}\n"


@pytest.mark.parametrize("words", [[], ["--epochs", "3", "exp.yaml"], ["exp.yaml", "--device"]])
def test_what_the_command_line_parser_refuses(refused: Refused, written: Written, words: list[str]) -> None:
    written(DIGITS)
    assert "Error: " in refused("run", *words)


@pytest.mark.parametrize("command", ["run", "compare"])
def test_names_too_long_for_a_file(refused: Refused, command: str) -> None:
    assert "no such" in refused(command, "x" * 300)


def test_a_runs_folder_with_too_long_a_name(refused: Refused, written: Written) -> None:
    assert "can't hold runs" in refused("run", written(DIGITS), "--runs", "x" * 300)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "train: {batch_size: 101}",
            "train.batch_size: 101: larger than the 100 training images; lower it or raise data.train_size",
        ),
        (
            "train: {batch_size: 1}",
            "train.batch_size: 1: batch normalization can't normalise a batch of one image; set 2 or more",
        ),
        (
            "model: {norm: {kind: group, groups: 3, input: true}, width: 9}\ntrain: {batch_size: 50}",
            "model.norm.input: true: norm.groups 3 does not divide the 64 features of the input; set false",
        ),
        (
            "train: {batch_size: 33, drop_last: false}",
            "train.batch_size: 33: 100 images leave one over, and batch normalization can't normalise a batch of one "
            "image; set train.drop_last: true, or another batch size",
        ),
        (
            "data: {name: digits, val_size: 1437}",
            "data.val_size: 1437 of the 1437 training images of digits leave none to train on; lower it",
        ),
        (
            "data: {name: digits, train_size: 1000, val_size: 500}",
            "data.train_size: 1000 images, and 500 for validation (data.val_size), are more than the 1437 training "
            "images of digits; lower data.train_size to 937, or data.val_size to 437",
        ),
        (
            "data: {name: digits, train_size: 0}",
            "data.train_size: 0 leaves no image to train on; give at least 1, or null for all",
        ),
        (
            "data: {name: digits, test_size: 361}",
            "data.test_size: 361 is more than the 360 test images of digits; lower it, or null for all",
        ),
        (
            "data: {name: digits, feature_scale: {64: 2}}",
            "data.feature_scale: no pixel 64; a 1x8x8 image has pixels 0 to 63",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "show"])
def test_sizes_that_do_not_fit(refused: Refused, written: Written, command: str, settings: str, message: str) -> None:
    default = "" if settings.startswith("data") else "data: {name: digits, train_size: 100}\n"
    assert refused(command, written(default + settings)) == f"bnexp: exp.yaml: {message}\n"


def test_a_batch_of_one_is_fine_without_batch_norm(cli: Command, written: Written) -> None:
    assert cli("run", written(DIGITS), "arms=[none]", "train.batch_size=1", "--quiet").code == 0


def test_cuda_asked_for_and_absent(refused: Refused, written: Written) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    for device in ("cuda", "cuda:1"):
        assert refused("run", written(DIGITS), "--device", device) == (
            f"bnexp: --device {device}: this machine has no CUDA devices; use --device cpu or auto\n"
        )


def test_a_file_in_the_place_of_the_runs_folder(refused: Refused, written: Written, here: Path) -> None:
    (here / "file").touch()
    message = refused("run", written(DIGITS), "--runs", "file/far/below")
    assert message.startswith("bnexp: file/far/below: can't hold runs, since ")
    assert message.endswith("file is a file; choose a folder with --runs\n")


def test_a_file_in_the_place_of_the_run(refused: Refused, written: Written, cli: Command, here: Path) -> None:
    assert cli("run", written(DIGITS), "--quiet").code == 0
    (run,) = (here / "runs").iterdir()
    run.rename(here / "elsewhere")
    run.touch()
    result = cli("run", "exp.yaml", "--quiet")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"bnexp: runs/{run.name}: can't be made a run folder (")


def test_a_shared_data_folder_that_is_none(refused: Refused, written: Written, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert refused("run", written("data: {name: mnist}")) == (
        f"bnexp: BNEXP_DATA: {tmp_path / 'data'} is not a folder; set it to the folder that holds the data sets\n"
    )


def test_a_data_root_that_is_none(refused: Refused, written: Written, here: Path) -> None:
    path = written("data: {name: mnist, root: exp.yaml}")
    assert refused("run", path) == (
        f"bnexp: data.root: {here / 'exp.yaml'} is not a folder; set it to the folder that holds the data sets\n"
    )


TAGS = "is not used here; write text, numbers, lists and mappings without a tag"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: &a [*a]", f"exp.yaml: a{'[0]' * 50}: nested more than 50 levels deep"),
        ("question: !!python/object/apply:os.mkdir [ran]",
         f"exp.yaml: line 1, column 11: not valid YAML: !!python/object/apply:os.mkdir {TAGS}"),
        ("name: exp".encode("utf-16"), "exp.yaml: not a text file in UTF-8"),
        ("seeds: 1000000000", "exp.yaml: seeds: 1000000000: expected at most 10,000 seeds"),
        ("grid: {train.lr: {linspace: [0, 1, 500]}, train.momentum: {linspace: [0, 0.5, 500]}}",
         "exp.yaml: 2 arms × 250,000 grid points × 3 seeds are 1,500,000 trials, and an experiment has at most "
         "100,000; shorten grid, zip or seeds, or split it"),
        ("model: {depth: 1000000000}",
         "exp.yaml: model.depth: 1000000000: expected a number less than or equal to 1000"),
        ('question: "\\e]0;title\\a"',
         'exp.yaml: question: "\\u001b]0;title\\u0007": expected text without control characters'),
        ('"\\e[31mkey": 1', "exp.yaml: \\x1b[31mkey: unknown key"),
        ('data: {name: image_folder, root: "a\\0b"}',
         'exp.yaml: data.root: "a\\u0000b": expected text of one line without control characters; '
         "in double quotes \\ begins an escape: write paths in single quotes, or with /"),
        ("data: {name: image_folder, root: ~nobody-of-that-name/a}",
         "data.root: ~nobody-of-that-name/a: no home folder is known for it; write the whole path"),
    ],
)  # fmt: skip
def test_too_much_and_strange_text_are_refused_at_once(
    refused: Refused, written: Written, content: str, message: str
) -> None:
    started = time.process_time()
    assert refused("run", written(content)) == f"bnexp: {message}\n"
    assert time.process_time() - started < 2


def test_a_device_as_a_configuration(refused: Refused) -> None:
    assert refused("run", "/dev/null").startswith("bnexp: /dev/null: expected a mapping of keys")


def test_a_configuration_may_come_through_a_pipe(here: Path) -> None:
    command = [sys.executable, "-m", "bnexp", "show", "/dev/stdin", "--quiet"]
    for content, code in ((DIGITS, 0), ("[" * 1000, 2)):
        ended = subprocess.run(command, input=content, cwd=here, capture_output=True, text=True, timeout=120)
        assert (ended.returncode, ended.stdout) == (code, "")
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "name",
    ["../../escaped", "..", "\x1b[2J", "x" * 300],
)
def test_no_name_leaves_the_runs_folder(refused: Refused, written: Written, name: str) -> None:
    for message in (
        refused("run", written(f"{DIGITS}name: {json.dumps(name)}\n")),
        refused("run", written(DIGITS), f"name={json.dumps(name)}"),
    ):
        assert ": name: " in message
        assert message.strip().isprintable()


class _Making:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_the_place_of_cifar_is_not_unpickled(refused: Refused, written: Written, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(_Making(tmp_path / "ran")))
    message = refused("run", written("data: {name: cifar10}"))
    assert message.startswith(f"bnexp: data.name: the files of cifar10 in {folder} are damaged (")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"just words", b"%PDF-1.4\n"])
@pytest.mark.parametrize("command", ["run", "show"])
def test_a_picture_that_is_none(refused: Refused, written: Written, here: Path, command: str, content: bytes) -> None:
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (here / "pictures" / place).mkdir(parents=True)
        (here / "pictures" / place / "0.png").write_bytes(content)
    message = refused(command, written("data: {name: image_folder, root: pictures}"))
    assert message.startswith(f"bnexp: data.root: {here}/pictures/train/a/0.png can't be used as an image: ")
    assert message.endswith("; replace or remove it\n")


LAYOUT = "image_folder needs images under train/<class>/ and test/<class>/"


@pytest.mark.parametrize("command", ["run", "show"])
@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("null", f"null, but {LAYOUT}; set data.root to the folder that holds train/ and test/"),
        ("nowhere", f"{{here}}/nowhere is not a folder; {LAYOUT} in it"),
        ("exp.yaml", f"{{here}}/exp.yaml is not a folder; {LAYOUT} in it"),
        (".", f"{{here}} has no folder train/; {LAYOUT}"),
    ],
)
def test_an_image_folder_that_is_none(
    refused: Refused, written: Written, here: Path, command: str, root: str, message: str
) -> None:
    path = written(f"data: {{name: image_folder, root: {root}}}")
    assert refused(command, path) == f"bnexp: data.root: {message.format(here=here)}\n"


def idx(magic: int, *sizes: int, cut: int = 0) -> bytes:
    """A file of MNIST's format with zeros in it, the last `cut` bytes missing."""
    header = b"".join(number.to_bytes(4, "big") for number in (magic, *sizes))
    content = header + bytes(int(np.prod(sizes)))
    return content[: len(content) - cut]


@pytest.mark.parametrize("images", [idx(0x803, 7, 28, 28, cut=100), b"<html>404</html>"])
def test_a_damaged_mnist_file(refused: Refused, written: Written, tmp_path: Path, images: bytes) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 7), ("t10k", 3)):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(images if split == "train" else idx(0x803, count, 28, 28))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(0x801, count))
    message = refused("run", written("data: {name: mnist}"))
    assert message.startswith(f"bnexp: data.name: the files of mnist in {raw} are damaged (")
    assert message.endswith("); delete that folder and run again to download them anew\n")


@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_no_network_and_no_files(
    cli: Command, written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr(urllib.request, "_opener", None)  # which knows the proxies of before
    path = written(f"data: {{name: {name}}}")
    before, started = tree(tmp_path), time.monotonic()
    result = cli("run", path)
    assert time.monotonic() - started < 10
    assert result.code == 2
    assert tree(tmp_path) == before
    head, *ways = result.err[result.err.index("bnexp: ") :].splitlines()
    assert head.startswith(f"bnexp: data.name: {name} is not in {tmp_path / 'data'}, and downloading it failed (")
    assert head.endswith("). Three ways out:")
    assert [way[:10] for way in ways] == ["  - connec", "  - put th", "  - use da"]
    assert str(tmp_path / "data") in ways[1]
    assert ways[2] == "  - use data.name=digits, which is bundled"
    assert "Traceback" not in result.err
