"""Listing a tree of pictures: what counts, in which order, and what is said of a tree that is not one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bnexp.data.image_tree import image_shape, scan
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
    expected = scan(str(pictures)).pictures
    (pictures / "train" / ".hidden").mkdir()
    (pictures / "train" / "cat" / ".thumbnails").mkdir()
    shutil.copy(pictures / "test" / "cat" / "0.png", pictures / "train" / "cat" / ".thumbnails" / "0.png")
    (pictures / "train" / "cat" / "._0.png").write_text("")
    (pictures / "train" / "cat" / "notes.txt").write_text("")
    assert scan(str(pictures)).pictures == expected


def test_a_class_may_be_a_link(pictures: Path, tmp_path: Path) -> None:
    shutil.move(pictures / "train" / "cat", tmp_path / "elsewhere")
    (pictures / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    assert len(scan(str(pictures)).train) == 6


def _remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def _empty_class(root: Path) -> None:
    for picture in (root / "test" / "dog").iterdir():
        picture.unlink()
    for name in ("notes.txt", ".hidden"):
        (root / "test" / "dog" / name).write_text("")


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
        (
            _empty_class,
            "data.root: {root}/test/dog holds no picture that can be read (there is: 1 .txt file, 1 hidden); expected "
            "files ending in .bmp, .gif",
        ),
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


def test_a_file_without_a_known_ending_is_a_picture_by_its_content(pictures: Path) -> None:
    for name, format in (("a.jfif", "JPEG"), ("b", "PNG"), ("c.png.bak", "WEBP")):
        Image.new("RGB", (4, 3)).save(pictures / "train" / "cat" / name, format=format)
    tree = scan(str(pictures))
    assert len(tree.train) == 9
    assert tree.findings.left_out == ()


def test_what_is_left_out_is_counted_by_its_reason(pictures: Path, tmp_path: Path) -> None:
    cat = pictures / "train" / "cat"
    for name in ("1.txt", "2.TXT", "3.heic", "Thumbs.db", "LICENSE"):
        (cat / name).write_text("P1 is no bitmap\nBM neither\n")
    for name in (".DS_Store", "._1.png"):
        (cat / name).write_text("")
    for folder in (pictures / "train" / "__MACOSX", pictures / "train" / ".cache", cat / "@eaDir"):
        folder.mkdir()
        shutil.copy(cat / "0.png", folder)
    shutil.copy(cat / "0.png", pictures / "train" / "stray.png")
    shutil.copy(cat / "0.png", pictures / "stray.png")
    (pictures / "unlabelled").mkdir()
    (tmp_path / "more").mkdir()
    (cat / "linked").symlink_to(tmp_path / "more")
    findings = scan(str(pictures)).findings
    assert findings.left_out_text() == (
        "5 hidden, 2 .txt files, 2 beside train/ and test/, 1 .db file, 1 .heic file, 1 linked folder, "
        "1 outside the class folders, 1 without an ending"
    )
    assert dict(findings.left_out)["hidden"] == 5


def test_pictures_below_the_class_folders_are_remarked_on(pictures: Path) -> None:
    (pictures / "train" / "cat" / "siamese").mkdir()
    shutil.move(pictures / "train" / "cat" / "0.png", pictures / "train" / "cat" / "siamese")
    remarks = scan(str(pictures)).findings.remarks
    assert "in folders inside their class folder: 1 image, as in train/cat/siamese/" in remarks
    shutil.move(pictures / "train" / "cat" / "1.png", pictures / "train" / "cat" / "siamese")
    remarks = scan(str(pictures)).findings.remarks
    assert "in folders inside their class folder: 2 images, as in train/cat/siamese/" in remarks


def test_a_small_class_is_named(pictures: Path) -> None:
    (pictures / "train" / "dog" / "2.png").unlink()
    assert "the smallest class, dog, has 2 images in train/" in scan(str(pictures)).findings.remarks
    for number in range(9):
        for name in ("cat", "dog"):
            shutil.copy(pictures / "train" / name / "0.png", pictures / "train" / name / f"more{number}.png")
    assert scan(str(pictures)).findings.remarks == ()


def copied(pictures: Path, name: str) -> None:
    """A third folder beside train/ and test/, the same as test/."""
    shutil.copytree(pictures / "test", pictures / name)


def test_a_val_folder_holds_the_validation_pictures(pictures: Path) -> None:
    assert scan(str(pictures)).val == ()
    copied(pictures, "val")
    tree = scan(str(pictures))
    assert [Path(each.path).relative_to(pictures).parts for each in tree.val] == [
        ("val", "cat", "0.png"),
        ("val", "dog", "0.png"),
    ]
    assert "the validation images are those in val/" in tree.findings.remarks
    assert tree.findings.left_out == ()


@pytest.mark.parametrize("name", ["valid", "validation", "dev"])
def test_a_val_folder_of_another_name_is_not_read_and_said(pictures: Path, name: str) -> None:
    copied(pictures, name)
    tree = scan(str(pictures))
    assert tree.val == ()
    assert f"{name}/ is not read; name it val/ to validate on it" in tree.findings.remarks


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_classes_of_all_folders_have_to_match(pictures: Path, split: str) -> None:
    copied(pictures, "val")
    shutil.rmtree(pictures / split / "dog")
    with pytest.raises(InputError) as caught:
        scan(str(pictures))
    expected = f"data.root: train/ and {split}/ of {pictures} must hold the same classes; in only one: dog"
    assert str(caught.value) == expected


@pytest.mark.parametrize(("one", "other"), [("Dog", "dog"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße")])
def test_a_class_in_two_spellings_is_named(pictures: Path, one: str, other: str) -> None:
    (pictures / "train" / "dog").rename(pictures / "train" / one)
    (pictures / "test" / "dog").rename(pictures / "test" / other)
    with pytest.raises(InputError) as caught:
        scan(str(pictures))
    first, second = sorted([one, other])
    assert str(caught.value).endswith(
        f"in only one: {first}, {second} ({first} and {second} are two spellings of one name; rename one)"
    )


def test_a_folder_in_other_capitals_is_named(pictures: Path) -> None:
    (pictures / "train").rename(pictures / "Train")
    with pytest.raises(InputError, match=r"has no folder train/ \(there is Train/; rename it\); image_folder needs"):
        scan(str(pictures))


def test_a_single_class_is_refused_with_the_folders_inside(pictures: Path) -> None:
    for split in ("train", "test"):
        (pictures / split / "pets").mkdir()
        for name in ("cat", "dog"):
            shutil.move(pictures / split / name, pictures / split / "pets" / name)
    with pytest.raises(InputError) as caught:
        scan(str(pictures))
    assert str(caught.value) == (
        f"data.root: {pictures}/train holds a single class, pets, and there is nothing to tell apart; if the folders "
        "in it are the classes (cat, dog), move them up into train/, and in test/ likewise"
    )


def test_a_single_class_without_folders_is_refused(pictures: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(pictures / split / "dog")
    with pytest.raises(InputError) as caught:
        scan(str(pictures))
    assert str(caught.value) == (
        f"data.root: {pictures}/train holds a single class, cat, and there is nothing to tell apart; "
        "it takes a folder for each of two classes or more"
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_pictures_of_a_grey_kind_have_one_channel(pictures: Path, mode: str) -> None:
    for path in pictures.rglob("*.png"):
        Image.new("L", (4, 3), 255).convert(mode).save(path)
    assert image_shape(scan(str(pictures))) == ({"RGB": 3, "RGBA": 3}.get(mode, 1), 3, 4)


@pytest.mark.parametrize(("used", "channels"), [(0, 1), (1, 3), (2, 1)])
def test_a_palette_counts_by_the_colours_that_show(pictures: Path, used: int, channels: int) -> None:
    """Grey, red, and red that is transparent."""
    for path in pictures.rglob("*.png"):
        palette = Image.new("P", (4, 3), used)
        palette.putpalette([9, 9, 9, 255, 0, 0, 255, 0, 0])
        palette.save(path, transparency=bytes([255, 255, 0]))
    assert image_shape(scan(str(pictures)))[0] == channels
