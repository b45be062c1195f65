"""The shipped configurations load and plan, say what they are for, and are found by name."""

import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

from bnexp.config.experiment import ExperimentConfig, default_config, must_choose
from bnexp.config.load import find, load, shipped
from bnexp.data.catalog import known_shape
from bnexp.errors import InputError
from bnexp.plan import groups, trials
from bnexp.runner.misfits import misfits

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


def untuned(config: ExperimentConfig) -> ExperimentConfig:
    """The experiment itself, where arms choose settings first with those that stand in the file."""
    return default_config(config) if must_choose(config) else config


each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@each_file
def test_a_shipped_file_loads_under_its_own_name(path: Path) -> None:
    assert load(path).name == path.stem


@each_file
def test_a_shipped_file_plans_and_fits_its_data(path: Path) -> None:
    config = untuned(load(path))
    planned = trials(config)
    assert len(planned) == len(config.arms) * len(config.points()) * len(config.seeds)
    assert sorted(n for group in groups(planned) for n in group.numbers) == list(range(len(planned)))
    shape = known_shape(config.data)
    assert list(misfits(planned, shape)) == []


@each_file
def test_the_header_says_question_command_and_what_to_expect(path: Path) -> None:
    _, *lines = path.read_text(encoding="utf-8").splitlines()  # the first is for editors
    header = list(takewhile(lambda line: line.startswith("#"), lines))
    assert re.match(r"# Question: .*\?", header[0])
    assert re.match(rf"# Run: +bnexp run configs/{path.stem}\.yaml( |$)", header[1])
    assert re.match(r"# Expect: +\w", header[2])
    assert load(path).question.endswith("?")
    assert "TIME" not in "".join(header)


def smaller(path: Path) -> list[str]:
    """The overrides that a header gives for a CPU, if it does."""
    text = " ".join(line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#")
    words = re.split(r"Smaller[^:]*: add", text)
    return shlex.split(words[1].partition("From a folder")[0].replace(" and ", " ")) if len(words) > 1 else []


def test_what_is_meant_for_a_gpu_has_a_smaller_form() -> None:
    meant = {path.stem for path in FILES if "meant for a GPU" in path.read_text(encoding="utf-8")}
    assert meant == {"cifar_vgg", "cifar_resnet_depth", "fixup", "batch_size", "hands_on_20x100", "rivals", "only_norm"}
    assert {path.stem for path in FILES if smaller(path)} >= meant


@pytest.mark.parametrize("path", [path for path in FILES if smaller(path)], ids=lambda path: path.stem)
def test_the_smaller_form_in_a_header_plans_and_is_smaller(path: Path) -> None:
    whole, small = (untuned(load(path, overrides)) for overrides in ([], smaller(path)))
    most, fewer = (known_shape(config.data) for config in (whole, small))
    assert fewer.train * len(trials(small)) < most.train * len(trials(whole))
    assert list(misfits(trials(small), fewer)) == []


@pytest.mark.parametrize("written", ["quickstart", "configs/quickstart.yaml", "./configs/quickstart.yaml"])
def test_a_shipped_file_is_found_from_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(written) == CONFIGS / "quickstart.yaml"


def test_a_path_comes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("configs/quickstart.yaml")
    own.parent.mkdir()
    own.touch()
    assert find(str(own)) == own
    assert find(str(tmp_path / own)) == tmp_path / own


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("quikstart", "quickstart"),
        ("dropuot.yaml", "dropout"),
    ],
)
def test_a_misspelt_name_shows_the_nearest_and_all_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, nearest: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find(written)
    assert str(caught.value) == (
        f"{written}: no such file, nor a shipped configuration (nearest: {nearest}); shipped are {', '.join(shipped())}"
    )


@pytest.mark.parametrize("written", ["mine", "mine.yml", "mien.yaml"])
def test_a_file_beside_it_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r" \(nearest: mine\.yaml\); shipped are "):
        find(written)
    with pytest.raises(InputError, match=rf" \(nearest: {tmp_path}/mine\.yaml\); shipped are "):
        find(str(tmp_path / written))


@pytest.mark.parametrize(
    "written", ["elsewhere/quickstart.yaml", "a\0/b", "xyzzy", "quickstart.yml", "x" * 300, "x/" * 3000]
)
def test_what_is_not_there_is_refused_without_a_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file, nor a shipped configuration"):
        find(written)
