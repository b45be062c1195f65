"""Listing a tree of pictures: what counts, in which order, and what is said of a tree that is not one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bnexp.data.picture_tree import image_shape, scan
from bnexp.errors import InputError


def test_pictures_are_sorted_by_class_and_path(pictures: Path) -> None:
    (pictures / "train" / "cat" / "deeper").mkdir()
    shutil.copy(pictures / "test" / "cat" / "0.png", pictures / "train" / "cat" / "deeper" / "X.PNG")
    tree = scan(str(pictures))
    assert tree.classes == ("cat", "dog")
    paths = [str(Path(picture.path).relative_to(pictures / "train")) for picture in tree.train]
    assert paths == ["cat/0.png", "cat/1.png", "cat/2.png", "cat/deeper/X.PNG", "dog/0.png", "dog/1.png", "dog/2.png"]
    assert [picture.label for picture in tree.train] == [0, 0, 0, 0, 1, 1, 1]
    assert tree.test[0].size == (pictures / "test" / "cat" / "0.png").stat().st_size


def test_hidden_and_other_files_do_not_count(pictures: Path) -> None:
    expected = scan(str(pictures))
    (pictures / "train" / ".hidden").mkdir()
    (pictures / "train" / "cat" / ".thumbnails").mkdir()
    shutil.copy(pictures / "test" / "cat" / "0.png", pictures / "train" / "cat" / ".thumbnails" / "0.png")
    (pictures / "train" / "cat" / "._0.png").write_text("")
    (pictures / "train" / "cat" / "notes.txt").write_text("")
    assert scan(str(pictures)) == expected


def test_a_class_may_be_a_link(pictures: Path, tmp_path: Path) -> None:
    shutil.move(pictures / "train" / "cat", tmp_path / "elsewhere")
    (pictures / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    assert len(scan(str(pictures)).train) == 6


def _remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def _empty_class(root: Path) -> None:
    for picture in (root / "test" / "dog").iterdir():
        picture.unlink()


def _no_classes(root: Path) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()


def _dangling(root: Path) -> None:
    (root / "train" / "cat" / "9.png").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove(), "data.root: {root} is not a folder; image_folder needs pictures under train/<class>/"),
        (_remove("train"), "data.root: {root} has no folder train/; image_folder needs pictures under"),
        (_remove("test"), "data.root: {root} has no folder test/; image_folder needs pictures under"),
        (_no_classes, "data.root: {root}/train holds no class folder; image_folder needs pictures under"),
        (_remove("test", "dog"), "data.root: train/ and test/ of {root} must hold the same classes; in only one: dog"),
        (_empty_class, "data.root: {root}/test/dog holds no picture; expected files ending in .bmp, .gif"),
        (_dangling, "data.root: {root}/train/cat/9.png can't be read (No such file or directory)"),
    ],
)
def test_not_a_tree_of_pictures(pictures: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(pictures)
    with pytest.raises(InputError) as caught:
        scan(str(pictures))
    assert str(caught.value).startswith(message.format(root=pictures))


def test_no_root() -> None:
    with pytest.raises(InputError, match=r"^data.root: null, but .*set data.root to the folder that holds train/ and"):
        scan(None)


def test_one_picture_in_colour_makes_three_channels(pictures: Path) -> None:
    for path in pictures.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert image_shape(scan(str(pictures))) == (1, 3, 4)
    Image.new("RGB", (4, 3)).save(pictures / "test" / "dog" / "0.png")
    assert image_shape(scan(str(pictures))) == (3, 3, 4)
