"""`bnexp run` and `show` say which images they read, what was left out, and what is probably a mistake."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import Command

HEAD = "data: image_folder, 2 classes, 1×5×5, 18 training, 2 validation, 4 test images"
EXPERIMENT = """\
name: folder
data: {name: image_folder, root: pictures}
model: {depth: 1, width: 4}
arms: [none]
train: {epochs: 1, batch_size: 4}
seeds: 1
"""


@pytest.fixture
def folder(here: Path) -> Path:
    """20 training and 4 test pictures of noise in exp.yaml's folder of pictures."""
    rng = np.random.default_rng(0)
    (here / "exp.yaml").write_text(EXPERIMENT)
    for split, count in (("train", 10), ("test", 2)):
        for name in ("a", "b"):
            (here / "pictures" / split / name).mkdir(parents=True)
            for number in range(count):
                noise_HW = rng.integers(0, 256, (5, 5), dtype=np.uint8)
                Image.fromarray(noise_HW).save(here / "pictures" / split / name / f"{number}.png")
    return here / "pictures"


def blank(folder: Path, mode: str, colour: object) -> None:
    """Make every picture the same."""
    for path in folder.rglob("*.png"):
        Image.new(mode, (5, 5), colour).save(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["run", "show"])
def test_sizes_and_what_was_left_out(cli: Command, folder: Path, command: str) -> None:
    (folder / "train" / "a" / "notes.txt").write_text("")
    (folder / "train" / "a" / ".DS_Store").write_text("")
    lines = [line.strip() for line in cli(command, "exp.yaml").out.splitlines()]
    place = lines.index(HEAD)
    assert lines[place + 1] == "left out: 1 .txt file, 1 hidden file"


def test_show_as_json_has_what_was_read(cli: Command, folder: Path) -> None:
    (folder / "train" / "a" / "notes.txt").write_text("")
    blank(folder, "LA", (255, 20))
    assert cli("show", "exp.yaml", "--json").json()["data"] == [
        {
            "name": "image_folder",
            "image": [1, 5, 5],
            "classes": 2,
            "train": 18,
            "val": 2,
            "test": 4,
            "floats": False,
            "drawn": ["val"],
            "left_out": {".txt": 1},
            "background": "black",
            "remarks": [],
            "warnings": ["all 18 training images are equal, so there is nothing to learn from them"],
        }
    ]


@pytest.mark.parametrize("command", ["run", "show"])
@pytest.mark.parametrize("option", [[], ["--quiet"], ["--json"]])
def test_equal_images_are_warned_of_whatever_is_printed(
    cli: Command, folder: Path, command: str, option: list[str]
) -> None:
    blank(folder, "RGBA", (0, 0, 0, 40))
    result = cli(command, "exp.yaml", *option)
    message = "all 18 training images are equal, so there is nothing to learn from them"
    assert (result.code, result.err) == (0, f"bnexp: data: image_folder: {message}\n")


@pytest.mark.parametrize("command", ["run", "show"])
def test_a_sweep_says_each_size_and_what_was_left_out_once(cli: Command, folder: Path, command: str) -> None:
    (folder / "train" / "a" / "notes.txt").write_text("")
    out = cli(command, "exp.yaml", "grid.data.train_size=[8, 10]", "grid.train.lr=[0.1, 0.2]").out
    assert out.count("data: image_folder") == 2
    assert out.count("left out") == 1


def test_a_set_that_is_not_a_folder_says_its_sizes_and_missing_classes(cli: Command, folder: Path) -> None:
    result = cli("run", "exp.yaml", "data={name: digits, train_size: 4}")
    assert "  data: digits, 10 classes, 1×8×8, 4 training, 143 validation, 360 test images\n" in result.out
    assert result.err == "bnexp: data: digits: 6 of the 10 classes have no training image\n"
