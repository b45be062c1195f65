"""Bad input: said in words, exit code 2, no traceback, and nothing written anywhere."""

import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

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


TAGS = "is not used here; write text, numbers, lists and mappings without a tag"
FIRST = "data: {name: digits, train_size: 100}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: [1", "exp.yaml: line 1, column 10: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("name: exp".encode("utf-16"), "exp.yaml: not a text file in UTF-8"),
        ("", "exp.yaml: expected a mapping of keys (name:, model:, train:, …) at the top, found nothing"),
        ("train: {lrr: 1}", "exp.yaml: train.lrr: unknown key (nearest: train.lr)"),
        ("modl: {depth: 1}", "exp.yaml: modl: unknown key (nearest: model)"),
        ("train: {epochs: 1, lr:0.1}",
         "exp.yaml: train.lr:0.1: unknown key (nearest: train.lr); write a space after the colon"),
        ("data: {name: minst}", 
         'exp.yaml: data.name: "minst": expected one of digits, mnist, fashion_mnist, kmnist, emnist, svhn, cifar10, '
         "cifar100, image_folder, arrays, csv (nearest: mnist)"),
        ("name: ../../a",
         'exp.yaml: name: "../../a": expected letters, digits and _ . + - only, beginning with a letter or digit'),
        (FIRST + "train: {batch_size: 101}",
         "exp.yaml: train.batch_size: 101: larger than the 100 training images; lower it or raise data.train_size"),
        (FIRST + "model: {norm: {kind: group, groups: 3, input: true}, width: 9}\ntrain: {batch_size: 50}",
         "exp.yaml: model.norm.input: true: norm.groups 3 does not divide the 64 features of the input; set false"),
        ("data: {name: digits, train_size: 1000, val_size: 500}",
         "exp.yaml: data.train_size: 1000 images, and 500 for validation (data.val_size), are more than the 1437 "
         "training images of digits; lower data.train_size to 937, or data.val_size to 437"),
        ("data: {name: digits, test_size: 361}",
         "exp.yaml: data.test_size: 361 is more than the 360 test images of digits; lower it, or set null for all"),
        ("data: {name: digits, feature_scale: {64: 2}}",
         "exp.yaml: data.feature_scale: no pixel 64; a 1x8x8 image has pixels 0 to 63"),
        ("a: &a [*a]", f"exp.yaml: a{'[0]' * 50}: nested more than 50 levels deep"),
        ("question: !!python/object/apply:os.mkdir [ran]",
         f"exp.yaml: line 1, column 11: not valid YAML: !!python/object/apply:os.mkdir {TAGS}"),
        ("seeds: 1000000000", "exp.yaml: seeds: 1000000000: expected at most 10,000 seeds"),
        ("grid: {train.lr: {linspace: [0, 1, 500]}, train.momentum: {linspace: [0, 0.5, 500]}}",
         "exp.yaml: 2 arms × 250,000 grid points × 3 seeds are 1,500,000 trials, and an experiment has at most "
         "100,000; shorten grid, zip or seeds, or split it"),
        ('question: "\\e]0;title\\a"',
         'exp.yaml: question: "\\u001b]0;title\\u0007": expected text without control characters'),
        ('"\\e[31mkey": 1', "exp.yaml: \\x1b[31mkey: unknown key"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "show"])
def test_a_wrong_configuration_is_refused_at_once(
    refused: Refused, written: Written, command: str, content: str | bytes, message: str
) -> None:
    started = time.process_time()
    assert refused(command, written(content)) == f"bnexp: {message}\n"
    assert time.process_time() - started < 2


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
        (["."], ".: is a folder; expected a YAML file"),
        (["exp.yaml", "--device", "tpu"], "--device tpu: expected auto, cpu, cuda, cuda:i or mps"),
    ],
)
def test_wrong_words(refused: Refused, written: Written, words: list[str], message: str) -> None:
    written(DIGITS)
    assert refused("run", *words) == f"bnexp: {message}\n"


@pytest.mark.parametrize("words", [[], ["--epochs", "3", "exp.yaml"], ["exp.yaml", "--device"]])
def test_what_the_command_line_parser_refuses(refused: Refused, written: Written, words: list[str]) -> None:
    written(DIGITS)
    assert "Error: " in refused("run", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "x" * 300], "no such file"),
        (["compare", "x" * 300], "no such run"),
        (["run", "exp.yaml", "--runs", "x" * 300], "can't hold runs"),
    ],
)
def test_names_too_long_for_a_file(refused: Refused, written: Written, words: list[str], message: str) -> None:
    written(DIGITS)
    assert message in refused(*words)


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


@pytest.mark.parametrize(
    ("root", "named"),
    [("", "BNEXP_DATA: {tmp_path}/data"), (", root: exp.yaml", "exp.yaml: data.root: {tmp_path}/here/exp.yaml")],
)
def test_a_data_folder_that_is_none(refused: Refused, written: Written, tmp_path: Path, root: str, named: str) -> None:
    (tmp_path / "data").touch()
    message = f"{named.format(tmp_path=tmp_path)} is not a folder; set it to the folder that holds the data sets"
    own = "; to read a file of your own, set data.name to arrays (.npz) or csv" if root else ""
    assert refused("run", written(f"data: {{name: mnist{root}}}")) == f"bnexp: {message}{own}\n"


def test_a_device_as_a_configuration(refused: Refused) -> None:
    assert refused("run", "/dev/null").startswith("bnexp: /dev/null: expected a mapping of keys")


def test_a_configuration_may_come_through_a_pipe(cli: Command) -> None:
    for content, code in ((DIGITS, 0), ("[" * 1000, 2)):
        end, start = os.pipe()
        with open(end), open(start, "w") as pipe:
            pipe.write(content)
            pipe.close()
            ended = cli("show", f"/dev/fd/{end}", "--quiet")
        assert (ended.code, ended.out) == (code, "")
        assert "Traceback" not in ended.err


LAYOUT = "image_folder needs images under train/<class>/ and test/<class>/, or under <class>/ alone"


@pytest.mark.parametrize("command", ["run", "show"])
@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("null", f"null, but {LAYOUT}; set data.root to the folder that holds them"),
        ("nowhere", f"{{here}}/nowhere is not a folder; {LAYOUT}"),
        ("exp.yaml", f"{{here}}/exp.yaml is not a folder; {LAYOUT}"),
        (".", f"{{here}} holds no class folder; {LAYOUT}"),
        ("~nobody-at-all/a", "~nobody-at-all/a: no home folder is known for it; write the whole path"),
    ],
)
def test_an_image_folder_that_is_none(
    refused: Refused, written: Written, here: Path, command: str, root: str, message: str
) -> None:
    path = written(f"data: {{name: image_folder, root: {root}}}")
    assert refused(command, path) == f"bnexp: exp.yaml: data.root: {message.format(here=here)}\n"


@pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["show"]])
def test_errors_about_data_and_networks_name_the_place(refused: Refused, written: Written, command: list[str]) -> None:
    given = "data: {name: arrays, root: a.npz}"
    for words, place, root in (([], "exp.yaml", "a.npz"), (["data.root=b.npz"], "command line", "b.npz")):
        message = refused(*command, written(given), *words)
        assert message.startswith(f"bnexp: {place}: data.root: ")
        assert message.endswith(f"/{root} is not there; name the file that arrays is to read\n")
    own = written(f"{FIRST}model: {{family: module, source: net.py:Net}}")
    for words, place, file in (([], "exp.yaml", "net.py"), (["model.source=no.py:Net"], "command line", "no.py")):
        message = refused(*command, own, *words)
        assert message.startswith(f"bnexp: {place}: model.source: {file}: no such file in ")
        assert message.endswith("; put it beside the YAML file, or write its path\n")
    if "--dry-run" not in command:
        large = refused(*command, written(FIRST), "train.batch_size=101")
        assert large.startswith("bnexp: command line: train.batch_size: 101: larger than the 100 training images; ")


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
    failed = f"{name} is not in {tmp_path / 'data'}, and downloading it failed ("
    assert head.startswith(f"bnexp: exp.yaml: data.name: {failed}")
    assert head.endswith("). Three ways out:")
    assert [way[:10] for way in ways] == ["  - connec", "  - put th", "  - use da"]
    assert str(tmp_path / "data") in ways[1]
    assert ways[2] == "  - use data.name=digits, which is bundled"
    assert "Traceback" not in result.err
