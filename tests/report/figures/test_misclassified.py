"""Grids of misclassified test images: which ones, what is written beside them, and with any names and sizes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from bnexp.analysis.compare import compare_arms
from bnexp.analysis.misclassified import FEW_ARMS, MOST_SHOWN
from bnexp.analysis.study import Study
from bnexp.errors import InputError
from bnexp.report.figures.pictures import draw, pictures, pictures_left_out
from bnexp.store.checkpoints import IMAGES, Checkpoints, KeptImages
from tests.helpers import keep_predictions
from tests.report.figures.made_up import ODD_NAMES, caption, faults, words
from tests.report.html.made_up_study import study

COUNT = 40
"""Test images. The first trial is right in all, each other one is wrong in the first so many."""


def made_up(folder: Path, wrong: Sequence[int], arms: Sequence[str] = ("none", "before"), **more: Any) -> Study:
    """A study whose trials are wrong in so many images, which they take for the next class."""
    labels = np.arange(COUNT) % 9
    predicted = [[int(label) + (number < count) for number, label in enumerate(labels)] for count in wrong]
    made = study(arms=arms, seeds=len(wrong) // len(arms), **more)
    record = keep_predictions(folder / "made-up-1", labels.tolist(), predicted)
    return replace(made, records={"made-up-1": record})


def drawn(study: Study) -> Figure:
    return draw("misclassified", study, compare_arms(study))


def shown(figure: Figure) -> list[list[int]]:
    """The numbers of the images in each grid: they are as grey as their number."""
    return [[int(image.get_array().min()) for image in axes.images] for axes in figure.axes]


def test_each_direction_has_a_grid_with_labels_classes_and_seeds(tmp_path: Path) -> None:
    figure = drawn(made_up(tmp_path, (0, 1, 3, 5)))
    assert shown(figure) == [[1, 2, 0, 3, 4], []]
    texts = words(figure)
    assert "Wrong: before. Right: none. 3.5 [0.0, 9.9] images" in texts
    assert "Wrong: none. Right: before. 0.0 [0.0, 0.0] images" in texts
    assert {"0 as 1", "4 as 5"} <= set(texts)
    assert (texts.count("2/2, 1/2"), texts.count("2/2, 0/2"), texts.count("1/2, 0/2")) == (1, 2, 2)
    assert "Counts: of 40 test images, the mean over 2 seeds with its 95 % interval." in caption(figure)
    assert "in how many the baseline (none)" in caption(figure)


def test_a_grid_ends_after_so_many_images_and_is_shorter_with_many_arms(tmp_path: Path) -> None:
    assert shown(drawn(made_up(tmp_path / "few", (0, 30)))) == [list(range(MOST_SHOWN)), []]
    arms = ("none", *"abc"[: FEW_ARMS + 1])
    figure = drawn(made_up(tmp_path / "many", (9, 30, 40, 0), arms))
    half = MOST_SHOWN // 2
    assert shown(figure) == [list(range(9, 9 + half)), [], list(range(9, 9 + half)), [], [], list(range(half))]


def test_one_seed_has_no_interval_and_a_grid_names_its_point(tmp_path: Path) -> None:
    swept = made_up(tmp_path, (0, 3) * 3, grid={"train.lr": [0.1, 0.2, 0.4]})
    figure = drawn(replace(swept, trials=swept.trials[swept.trials["seed"] == 0]))
    assert "Wrong: before. Right: none. 3.0 images" in words(figure)
    assert caption(figure).startswith("At lr 0.")


@pytest.mark.parametrize("name", ODD_NAMES[::3])
def test_all_texts_fit_whatever_the_arms_are_called(tmp_path: Path, name: str) -> None:
    assert faults(drawn(made_up(tmp_path, (0, 0, 0, 0, 20, 20), ("none", name, "other")))) == []


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 4), (1, 3, 12), (1, 2, 40), (1, 40, 2)])
def test_images_of_any_shape_are_drawn(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    made = made_up(tmp_path, (0, 20))
    kept = made.records["made-up-1"].images
    assert kept is not None
    images = np.full((COUNT, *shape), 7, dtype=np.uint8)
    Checkpoints(tmp_path / "made-up-1").keep_images(KeptImages(kept.labels_N, kept.numbers_M, images))
    vars(made.records["made-up-1"]).pop("images")
    figure = drawn(made)
    picture = figure.axes[0].images[0].get_array()
    assert picture.shape == (*shape[1:], 3) if shape[0] == 3 else shape[1:]
    assert picture.min() == picture.max() == 7
    assert faults(figure) == []


def test_arms_that_agree_on_every_image_have_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^misclassified: nothing to show, no two arms have predictions"):
        drawn(made_up(tmp_path, (3, 3)))


def test_runs_without_kept_images_have_no_such_picture_and_damaged_ones_say_so(tmp_path: Path) -> None:
    made = made_up(tmp_path, (0, 3))
    comparison = compare_arms(made)
    assert "misclassified" in pictures(made, comparison)
    assert "misclassified" not in pictures(replace(made, records={}), comparison)
    vars(made.records["made-up-1"]).pop("images", None)
    (tmp_path / "made-up-1" / "checkpoints" / IMAGES).write_bytes(b"")
    assert pictures_left_out(made, comparison) == (f"misclassified: checkpoints/{IMAGES} is damaged",)
