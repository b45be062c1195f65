"""Images with nothing on them are counted: what vanishes on the ground it was laid on, and what is of one colour."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnexp.config.data import DataSettings
from bnexp.data import image_folder
from bnexp.data.raw import FAINT, count_blank

DARK, LIGHT = (0, 0, 0), (255, 255, 255)
SIDE = 6


def ink(colour: tuple[int, int, int], place: int) -> Image.Image:
    """A dot of one colour on a transparent ground that hides another."""
    image = Image.new("RGBA", (SIDE, SIDE), (90, 20, 30, 0))
    image.putpixel((place % SIDE, place // SIDE % SIDE), (*colour, 255))
    return image


def warnings(root: Path, inks: Mapping[str, list[tuple[int, int, int]]], **sizes: int) -> tuple[str, ...]:
    """Return the warnings about a tree of two classes, each of which has a picture in every ink of a split."""
    for split, colours in inks.items():
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            for number, colour in enumerate(colours):
                ink(colour, number + SIDE * (name == "b")).save(root / split / name / f"{number}.png")
    settings = DataSettings(name="image_folder", root=str(root), **{"val_size": 0} | sizes)
    return image_folder.read(settings).cut(settings).findings.warnings


def test_half_the_pictures_may_vanish_on_the_ground_of_the_others(tmp_path: Path, shared_folder: Path) -> None:
    assert warnings(tmp_path, {"train": [*[DARK] * 3, *[LIGHT] * 3], "test": [DARK, LIGHT]}) == (
        "6 of 12 training images and 2 of 4 test images become one colour on the white background "
        "(light ink on transparency?); save the images on a background on which everything shows",
    )


def test_all_test_pictures_may_vanish_on_the_ground_of_training(tmp_path: Path, shared_folder: Path) -> None:
    (line,) = warnings(tmp_path, {"train": [DARK] * 3, "test": [LIGHT] * 2})
    assert line.startswith("4 of 4 test images become one colour on the white background (light ink on transparency")


def test_on_black_it_is_dark_ink_that_vanishes(tmp_path: Path, shared_folder: Path) -> None:
    (line,) = warnings(tmp_path, {"train": [LIGHT] * 3, "val": [DARK], "test": [LIGHT]}, val_size=1)
    assert line.startswith("1 of 1 validation image becomes one colour on the black background (dark ink on")


def test_ink_that_stands_out_is_not_warned_of(tmp_path: Path, shared_folder: Path) -> None:
    assert warnings(tmp_path, {"train": [DARK] * 3, "test": [(200, 220, 240)]}) == ()


def test_only_images_in_use_count(tmp_path: Path, shared_folder: Path) -> None:
    assert warnings(tmp_path, {"train": [DARK] * 3, "test": [LIGHT]}, test_size=0) == ()


@pytest.mark.parametrize(
    ("value", "ground", "expected"),
    [
        (255, "white", (2, 0)),
        (255 - FAINT, "white", (2, 0)),
        (254 - FAINT, "white", (1, 0)),
        (0, "white", (1, 0)),
        (FAINT, "black", (1, 1)),
        (255, "", (0, 2)),
        (254, "", (0, 1)),
    ],
)
def test_an_image_is_blank_if_no_pixel_stands_out(value: int, ground: str, expected: tuple[int, int]) -> None:
    """Two white images, the first with a dot; where the ground is black the first image is black under its dot."""
    images_NCHW = np.full((2, 3, 20, 30), 255, np.uint8)
    if ground == "black":
        images_NCHW[0] = 0
    images_NCHW[0, 1, 10, 13] = value
    assert count_blank(images_NCHW, ground) == expected


def test_opaque_images_of_one_colour_are_counted_too(pictures: Path) -> None:
    settings = DataSettings(name="image_folder", root=str(pictures), val_size=0)
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        Image.new("RGB", (4, 3), (number, 2 * number, 9)).save(path)
    noise_HWC = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(noise_HWC).save(pictures / "train" / "cat" / "0.png")
    assert image_folder.read(settings).cut(settings).findings.warnings == (
        "5 of 6 training images and 2 of 2 test images are of one colour; check whether anything should show there",
    )
