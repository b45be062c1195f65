"""A tree of images becomes arrays in a fixed order; flaws are named with their files; a damaged cache is none."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from bnexp.config.data import DataSettings
from bnexp.data import image_folder
from bnexp.data.raw import RawImages, fixed_order
from bnexp.errors import InputError
from tests.data.test_image_files import png


def read(root: Path) -> RawImages:
    return image_folder.read(DataSettings(name="image_folder", root=str(root)))


def refused(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(root)
    assert caught.value.exit_code == 2
    return str(caught.value)


def assert_same(left: RawImages, right: RawImages) -> None:
    for name in ("train_images_NCHW", "train_labels_N", "test_images_NCHW", "test_labels_N"):
        assert np.array_equal(getattr(left, name), getattr(right, name))
    assert (left.classes, left.findings) == (right.classes, right.findings)


@pytest.fixture
def spare(images: Path) -> Path:
    """A place in the tree for one image more."""
    return images / "train" / "cat" / "9.png"


# What is read, in which order.


def test_images_with_their_labels_in_the_fixed_order(images: Path) -> None:
    raw = read(images)
    raw.check(raw.shape)
    values = [(10, 0, 0), (20, 0, 0), (30, 0, 0), (0, 0, 10), (0, 0, 20), (0, 0, 30)]
    order = fixed_order(6)
    assert raw.train_images_NCHW.shape == (6, 3, 3, 4)
    assert [tuple(image[:, 1, 2]) for image in raw.train_images_NCHW] == [values[i] for i in order]
    assert raw.train_labels_N.tolist() == [int(i >= 3) for i in order]
    assert (raw.classes, raw.val) == (2, None)


def test_the_order_is_by_class_and_path_whatever_the_file_system_s(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(images / "train" / "cat", images / "train" / "cat" / "deeper")
    expected, walk = read(images), os.walk
    shutil.rmtree(os.environ["BNEXP_DATA"])

    def reversed_walk(*args: object, **kwargs: object) -> list[tuple[str, list[str], list[str]]]:
        return [(place, folders, names[::-1]) for place, folders, names in walk(*args, **kwargs)][::-1]

    monkeypatch.setattr(os, "walk", reversed_walk)
    assert_same(read(images), expected)


def test_rows_and_columns_stay_apart(images: Path) -> None:
    pixels_HWC = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    for path in (images / "test").rglob("*.png"):
        Image.fromarray(pixels_HWC).save(path)
    assert np.array_equal(read(images).test_images_NCHW[0], pixels_HWC.transpose(2, 0, 1))


def test_grey_images_have_one_channel_and_one_in_colour_makes_three(images: Path) -> None:
    for path in images.rglob("*.png"):
        Image.new("L", (4, 3), 77).save(path)
    raw = read(images)
    assert raw.train_images_NCHW.shape == (6, 1, 3, 4)
    assert (raw.train_images_NCHW == 77).all()
    Image.new("RGB", (4, 3)).save(images / "test" / "dog" / "0.png")
    assert read(images).train_images_NCHW.shape == (6, 3, 3, 4)


def test_a_val_folder_holds_the_validation_images(images: Path) -> None:
    shutil.copytree(images / "train", images / "val")
    for path in (images / "val").rglob("2.png"):
        path.unlink()
    raw = read(images)
    assert raw.val is not None
    values = [(10, 0, 0), (20, 0, 0), (0, 0, 10), (0, 0, 20)]
    order = fixed_order(4)
    assert [tuple(image[:, 1, 2]) for image in raw.val[0]] == [values[i] for i in order]
    assert raw.val[1].tolist() == [int(i >= 2) for i in order]
    assert raw.shape.val == 4
    assert "the validation images are those in val/" in raw.findings.remarks
    again = read(images)
    assert again.val is not None
    assert np.array_equal(again.val[0], raw.val[0])


@pytest.mark.parametrize("name", ["valid", "validation", "dev"])
def test_a_val_folder_of_another_name_is_not_read_and_said(images: Path, name: str) -> None:
    shutil.copytree(images / "test", images / name)
    raw = read(images)
    assert raw.val is None
    assert f"{name}/ is not read; name it val/ to validate on it" in raw.findings.remarks


def test_a_small_class_is_named(images: Path) -> None:
    (images / "train" / "dog" / "2.png").unlink()
    assert "the smallest class, dog, has 2 images in train/" in read(images).findings.remarks


def test_links_to_classes_are_followed_and_those_to_folders_in_them_are_not(images: Path, tmp_path: Path) -> None:
    shutil.move(images / "train" / "cat", tmp_path / "elsewhere")
    (images / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to("..")
    assert read(images).shape.train == 6


def test_what_is_left_out_is_counted_by_its_reason(images: Path, tmp_path: Path) -> None:
    cat = images / "train" / "cat"
    for name in ("1.txt", "2.TXT", "3.heic", "Thumbs.db", "LICENSE", ".DS_Store", "._1.png"):
        (cat / name).write_text("no image")
    for folder in (images / "train" / "__MACOSX", images / "train" / ".cache", cat / "@eaDir"):
        folder.mkdir()
        shutil.copy(cat / "0.png", folder)
    shutil.copy(cat / "0.png", images / "train" / "stray.png")
    shutil.copy(cat / "0.png", images / "stray.png")
    (images / "unlabelled").mkdir()
    (tmp_path / "more").mkdir()
    (cat / "linked").symlink_to(tmp_path / "more")
    raw = read(images)
    assert raw.shape.train == 6
    assert raw.findings.left_out_text() == (
        "5 hidden, 2 .txt files, 2 beside train/ and test/, 1 .db file, 1 .heic file, 1 linked folder, "
        "1 outside the class folders, 1 without an ending"
    )


# What is refused.


def _remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def _empty_class(root: Path) -> None:
    (root / "test" / "dog" / "0.png").unlink()
    for name in ("notes.txt", ".hidden"):
        (root / "test" / "dog" / name).write_text("")


def _no_classes(root: Path) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()


def _one_class(root: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(root / split / "dog")


def _dangling(root: Path) -> None:
    (root / "train" / "cat" / "9.png").symlink_to("nowhere")


def _pipe(root: Path) -> None:
    os.mkfifo(root / "train" / "cat" / "9.png")


def _device(root: Path) -> None:
    (root / "train" / "cat" / "9.png").symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove(), "{root} is not a folder; image_folder needs images under train/<class>/ and test/<class>/ in it"),
        (_remove("train"), "{root} has no folder train/; image_folder needs images under train/<class>/ and"),
        (_remove("test"), "{root} has no folder test/; image_folder needs images under"),
        (_no_classes, "{root}/train holds no class folder; image_folder needs images under"),
        (_remove("test", "dog"), "train/ and test/ of {root} must hold the same classes; in only one: dog"),
        (
            _one_class,
            "{root}/train holds a single class, cat, and there is nothing to tell apart; "
            "the folders of the classes have to lie directly in train/ and test/",
        ),
        (
            _empty_class,
            "{root}/test/dog holds no image that can be read (there is: 1 .txt file, 1 hidden); expected files ending "
            "in .bmp, .gif",
        ),
        (_dangling, "{root}/train/cat/9.png can't be read (No such file or directory)"),
        (_pipe, "{root}/train/cat/9.png is not a regular file; replace or remove it"),
        (_device, "{root}/train/cat/9.png is not a regular file; replace or remove it"),
    ],
)
def test_not_a_tree_of_images(images: Path, spoil: Callable[[Path], None], message: str, impatient: None) -> None:
    spoil(images)
    assert refused(images).startswith(f"data.root: {message.format(root=images)}")


def test_no_root() -> None:
    with pytest.raises(InputError, match=r"^data.root: null, but .*set data.root to the folder that holds train/ and"):
        image_folder.read(DataSettings(name="image_folder"))


@pytest.mark.parametrize("large", [(5, 3), (13_000, 13_000)])
def test_an_image_of_another_size_is_refused_by_its_header(images: Path, spare: Path, large: tuple[int, int]) -> None:
    spare.write_bytes(png(*large))
    first = images / "train" / "cat" / "0.png"
    expected = f"{spare} is {large[0]}x{large[1]} pixels, but {first} is 4x3; resize the images to one size"
    assert refused(images) == f"data.root: {expected}"


def test_an_unreadable_image_is_named(images: Path, shared_folder: Path) -> None:
    odd = images / "train" / "dog" / "1.png"
    odd.write_bytes(odd.read_bytes()[:45])
    assert refused(images).startswith(f"data.root: {odd} can't be used as an image: ")
    assert not shared_folder.exists()


def test_names_reach_the_terminal_without_control_characters(images: Path) -> None:
    with open(os.fsencode(images / "train" / "cat") + b"/\x1b[31m\n\xff.png", "wb"):
        pass
    message = refused(images)
    assert message.isprintable()
    assert r"/\x1b[31m\n\udcff.png can't be used as an image: " in message
    (images / "train" / "\x1b[31mcat").mkdir()
    assert refused(images).endswith(r"must hold the same classes; in only one: \x1b[31mcat")


def test_images_that_do_not_fit_the_memory_are_not_decoded(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(count: int) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=count))

    message = (
        "data.root: 8 images of 4x3 pixels take 0.0 GiB, and 0.0 GiB of memory are free; "
        "shrink the images, or keep fewer of them"
    )
    needed = 8 * 3 * 3 * 4
    free(needed - 1)
    with monkeypatch.context() as patched:
        patched.setattr(image_folder, "_pixels", None)
        assert refused(images) == message
    free(needed)
    assert read(images).shape.train == 6
    free(needed - 1)  # with a cache, too
    assert refused(images) == message


# Transparent images.


def paint(images: Path, rgba: tuple[int, int, int, int]) -> None:
    """Make every image a row of one colour on nothing, whose hidden colour is red."""
    whole = Image.new("RGBA", (4, 3), (255, 0, 0, 0))
    whole.paste(rgba, (0, 1, 4, 2))
    for path in images.rglob("*.png"):
        whole.save(path)


@pytest.mark.parametrize(
    ("rgba", "background", "row"),
    [
        ((0, 0, 0, 255), "white", 0),
        ((127, 127, 127, 255), "white", 127),
        ((128, 128, 128, 255), "black", 128),
        ((0, 0, 0, 51), "white", 204),
        ((255, 255, 255, 51), "black", 51),
    ],
)
def test_ink_on_nothing_is_laid_on_the_background_that_it_stands_out_from(
    images: Path, rgba: tuple[int, int, int, int], background: str, row: int
) -> None:
    paint(images, rgba)
    raw = read(images)
    assert raw.findings.background == background
    assert (raw.train_images_NCHW[:, :, 1] == row).all()
    assert (raw.train_images_NCHW[:, :, [0, 2]] == (255 if background == "white" else 0)).all()
    assert_same(read(images), raw)  # from the cache


def test_the_training_images_alone_choose_the_background_for_all(images: Path) -> None:
    paint(images, (255, 255, 255, 255))
    paint(images / "train", (0, 0, 0, 255))
    Image.new("RGB", (4, 3), (1, 2, 3)).save(images / "test" / "cat" / "0.png")
    raw = read(images)
    assert raw.findings.background == "white"
    assert sorted(raw.test_images_NCHW[:, :, 0, 0].tolist()) == [[1, 2, 3], [255, 255, 255]]


def test_an_alpha_channel_that_hides_nothing_needs_no_background(images: Path) -> None:
    for path in images.rglob("*.png"):
        Image.open(path).convert("RGBA").save(path)
    raw = read(images)
    assert raw.findings.background == ""
    assert set(raw.train_images_NCHW[:, 0].flat) == {0, 10, 20, 30}


# The cache.


def test_the_second_time_nothing_is_decoded(images: Path, shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(images)
    assert len(list((shared_folder / "image_folder_cache").iterdir())) == 1
    monkeypatch.setattr(image_folder, "_decode", None)
    assert_same(read(images), first)


def test_a_changed_image_is_decoded_again(images: Path) -> None:
    read(images)
    changed = images / "train" / "cat" / "0.png"
    Image.new("RGB", (4, 3), (9, 9, 9)).save(changed)
    os.utime(changed, ns=(1, 1))
    assert (read(images).train_images_NCHW == 9).all(axis=(1, 2, 3)).sum() == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "fewer", "other", "pickled", "empty"])
def test_a_damaged_cache_is_rebuilt(images: Path, shared_folder: Path, damage: str) -> None:
    first = read(images)
    (cache,) = (shared_folder / "image_folder_cache").iterdir()
    whole = cache.read_bytes()
    if damage in ("cut", "empty"):
        cache.write_bytes(whole[:-50] if damage == "cut" else b"")
    elif damage == "flipped":
        position = whole.index(b"\x0a\x0a\x0a\x0a")  # within the pixels of an image of value 10
        cache.write_bytes(whole[:position] + b"\x0b" + whole[position + 1 :])
    else:
        train = np.array([{}] * 6) if damage == "pickled" else first.train_images_NCHW[damage == "fewer" :]
        background = "blue" if damage == "other" else ""
        np.savez(cache, train=train, test=first.test_images_NCHW, background=np.array(background))
    assert_same(read(images), first)
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    assert cache.read_bytes()[:100] == whole[:100]


def test_a_cache_that_can_not_be_written_or_read_costs_only_time(
    images: Path, shared_folder: Path, impatient: None
) -> None:
    first = read(images)
    (cache,) = (shared_folder / "image_folder_cache").iterdir()
    cache.unlink()
    os.mkfifo(cache)
    assert_same(read(images), first)
    shutil.rmtree(shared_folder)
    shared_folder.write_text("no folder")
    assert_same(read(images), first)
