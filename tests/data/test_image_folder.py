"""Pictures become arrays in a fixed order, odd ones are named, and the cache is never trusted blindly."""

import os
import re
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from PIL import Image

from bnexp.config.data import DataSettings
from bnexp.data import image_folder
from bnexp.data.raw import RawImages, fixed_order
from bnexp.errors import InputError


def read(root: Path) -> RawImages:
    return image_folder.read(DataSettings(name="image_folder", root=str(root)))


def refused(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(root)
    return str(caught.value)


def same(left: RawImages, right: RawImages) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("train_images_NCHW", "train_labels_N", "test_images_NCHW", "test_labels_N", "classes")
    )


@pytest.fixture
def cache_folder(shared_folder: Path) -> Path:
    return shared_folder / "image_folder_cache"


def test_pictures_with_their_labels_in_the_fixed_order(pictures: Path) -> None:
    raw = read(pictures)
    raw.check(raw.shape)
    values = [(10, 0, 0), (20, 0, 0), (30, 0, 0), (0, 0, 10), (0, 0, 20), (0, 0, 30)]
    order = fixed_order(6)
    assert raw.train_images_NCHW.shape == (6, 3, 3, 4)
    assert [tuple(image[:, 1, 2]) for image in raw.train_images_NCHW] == [values[i] for i in order]
    assert raw.train_labels_N.tolist() == [int(i >= 3) for i in order]
    assert raw.classes == 2


def test_rows_and_columns_stay_apart(pictures: Path) -> None:
    pixels_HWC = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    for path in (pictures / "test").rglob("*.png"):
        Image.fromarray(pixels_HWC).save(path)
    assert np.array_equal(read(pictures).test_images_NCHW[0], pixels_HWC.transpose(2, 0, 1))


def test_grayscale(pictures: Path) -> None:
    for path in pictures.rglob("*.png"):
        Image.new("L", (4, 3), 77).save(path)
    raw = read(pictures)
    assert raw.train_images_NCHW.shape == (6, 1, 3, 4)
    assert (raw.train_images_NCHW == 77).all()


def test_a_picture_of_another_size(pictures: Path) -> None:
    odd = pictures / "test" / "cat" / "0.png"
    Image.new("RGB", (5, 3)).save(odd)
    first = pictures / "train" / "cat" / "0.png"
    expected = f"data.root: {odd} is 5x3 pixels, but {first} is 4x3; resize the pictures to one size"
    assert refused(pictures) == expected


@pytest.mark.parametrize("length", [0, 30, 45])
def test_an_unreadable_picture(pictures: Path, cache_folder: Path, length: int) -> None:
    odd = pictures / "train" / "dog" / "1.png"
    odd.write_bytes(odd.read_bytes()[:length])
    message = refused(pictures)
    assert message.startswith(f"data.root: {odd} can't be used as a picture: ")
    assert message.endswith("; replace or remove it")
    assert not cache_folder.exists()


def test_deep_pictures_are_refused_not_clipped(pictures: Path) -> None:
    odd = pictures / "train" / "cat" / "0.png"
    Image.fromarray(np.full((3, 4), 1000, dtype=np.uint16)).save(odd)
    assert f"{odd} can't be used as a picture: mode I;16 has more than 8 bits a channel" in refused(pictures)


def painted(pictures: Path, rgba: tuple[int, int, int, int], mode: str = "RGBA") -> None:
    """Make every picture a row of one colour on nothing, whose hidden colour is red."""
    whole = Image.new("RGBA", (4, 3), (255, 0, 0, 0))
    whole.paste(rgba, (0, 1, 4, 2))
    for path in pictures.rglob("*.png"):
        whole.convert(mode).save(path)


@pytest.mark.parametrize(
    ("rgba", "ground", "row"),
    [
        ((0, 0, 0, 255), "white", 0),
        ((255, 255, 255, 255), "black", 255),
        ((127, 127, 127, 255), "white", 127),
        ((128, 128, 128, 255), "black", 128),
        ((0, 0, 0, 51), "white", 204),
        ((255, 255, 255, 51), "black", 51),
    ],
)
def test_ink_on_nothing_is_laid_on_the_ground_that_it_stands_out_from(
    pictures: Path, rgba: tuple[int, int, int, int], ground: str, row: int
) -> None:
    painted(pictures, rgba)
    raw = read(pictures)
    assert raw.findings.background == ground
    assert (raw.train_images_NCHW[:, :, 1] == row).all()
    assert (raw.train_images_NCHW[:, :, [0, 2]] == (255 if ground == "white" else 0)).all()


def test_the_training_pictures_alone_choose_the_ground_for_all(pictures: Path) -> None:
    painted(pictures, (255, 255, 255, 255))
    painted(pictures / "train", (0, 0, 0, 255))
    raw = read(pictures)
    assert raw.findings.background == "white"
    assert (raw.test_images_NCHW == 255).all()


def test_pictures_that_hide_nothing_choose_no_ground(pictures: Path) -> None:
    for path in pictures.rglob("*.png"):
        Image.open(path).convert("RGBA").save(path)
    raw = read(pictures)
    assert raw.findings.background == ""
    assert set(raw.train_images_NCHW[:, 0].flat) == {0, 10, 20, 30}


def test_an_opaque_picture_among_transparent_ones_stays_as_it_is(pictures: Path) -> None:
    painted(pictures, (0, 0, 0, 255))
    Image.new("RGB", (4, 3), (1, 2, 3)).save(pictures / "test" / "cat" / "0.png")
    assert [1, 2, 3] in read(pictures).test_images_NCHW[:, :, 0, 0].tolist()


def test_a_cached_ground_is_the_same(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted(pictures, (255, 255, 255, 255))
    first = read(pictures)
    monkeypatch.setattr(image_folder, "_decode", None)
    again = read(pictures)
    assert same(again, first)
    assert again.findings == first.findings


def test_a_val_folder_is_shuffled_for_itself_and_cached(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(pictures / "train", pictures / "val")
    for path in (pictures / "val").rglob("2.png"):
        path.unlink()
    raw = read(pictures)
    assert raw.val is not None
    images_NCHW, labels_N = raw.val
    values = [(10, 0, 0), (20, 0, 0), (0, 0, 10), (0, 0, 20)]
    order = fixed_order(4)
    assert [tuple(image[:, 1, 2]) for image in images_NCHW] == [values[i] for i in order]
    assert labels_N.tolist() == [int(i >= 2) for i in order]
    monkeypatch.setattr(image_folder, "_decode", None)
    again = read(pictures)
    assert again.val is not None
    assert np.array_equal(again.val[0], images_NCHW)
    assert raw.shape.val == 4


def test_without_a_val_folder_there_are_no_validation_pictures(pictures: Path) -> None:
    assert read(pictures).val is None


def test_the_second_time_nothing_is_decoded(pictures: Path, cache_folder: Path, monkeypatch) -> None:
    first = read(pictures)
    assert len(list(cache_folder.iterdir())) == 1
    monkeypatch.setattr(image_folder, "_decode", None)
    assert same(read(pictures), first)


def test_a_changed_picture_is_decoded_again(pictures: Path) -> None:
    read(pictures)
    changed = pictures / "train" / "cat" / "0.png"
    Image.new("RGB", (4, 3), (9, 9, 9)).save(changed)
    os.utime(changed, ns=(1, 1))
    assert (read(pictures).train_images_NCHW == 9).all(axis=(1, 2, 3)).sum() == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "pickled"])
def test_a_damaged_cache_is_rebuilt(pictures: Path, cache_folder: Path, damage: str) -> None:
    first = read(pictures)
    (cache,) = cache_folder.iterdir()
    whole = cache.read_bytes()
    if damage == "cut":
        cache.write_bytes(whole[:-50])
    elif damage == "flipped":
        position = whole.index(b"\x0a\x0a\x0a\x0a")  # within the pixels of a picture of value 10
        cache.write_bytes(whole[:position] + b"\x0b" + whole[position + 1 :])
    elif damage == "other":
        np.savez(cache, train=first.train_images_NCHW)
    else:
        np.savez(cache, train=np.array([{}]), test=np.array([{}]))
    assert same(read(pictures), first)
    assert cache.read_bytes() == whole or damage != "cut"
    assert [path.name for path in cache_folder.iterdir()] == [cache.name]


IMAGES = {"train": (6, 3, 3, 4), "val": (0, 3, 3, 4), "test": (2, 3, 3, 4), "ground": (0,)}
"""Shapes of the arrays in the cache of the eight pictures."""


def npz(path: Path, dtype: str = "|u1", shapes: Mapping[str, object] = IMAGES, version: bytes = b"\x01\x00") -> None:
    """Write a cache whose headers say what they are told to, with a few kilobytes behind them."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for split, shape in shapes.items():
            header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
            length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
            archive.writestr(f"{split}.npy", b"\x93NUMPY" + version + length + header + bytes(8192))


def _bytes(path: Path) -> None:
    npz(path)


def _floats(path: Path) -> None:
    npz(path, dtype="<f4")


def _objects(path: Path) -> None:
    npz(path, dtype="|O")


def _more(path: Path) -> None:
    npz(path, shapes=IMAGES | {"train": (7, 3, 3, 4)})


def _larger(path: Path) -> None:
    npz(path, shapes=IMAGES | {"train": (6, 3, 4, 4), "val": (0, 3, 4, 4), "test": (2, 3, 4, 4)})


def _mixed(path: Path) -> None:
    npz(path, shapes=IMAGES | {"test": (2, 1, 3, 4)})


def _flat(path: Path) -> None:
    npz(path, shapes=IMAGES | {"train": (6 * 36,)})


def _two_channels(path: Path) -> None:
    npz(path, shapes=IMAGES | {"train": (6, 2, 3, 4), "val": (0, 2, 3, 4), "test": (2, 2, 3, 4)})


def _bomb(path: Path) -> None:
    npz(path, shapes=IMAGES | {split: (IMAGES[split][0], 3, 2**20, 2**20) for split in ("train", "val", "test")})


def _two_grounds(path: Path) -> None:
    npz(path, shapes=IMAGES | {"ground": (2,)})


def _older(path: Path) -> None:
    npz(path, shapes={split: IMAGES[split] for split in ("train", "test")})


def _negative(path: Path) -> None:
    npz(path, shapes=IMAGES | {"train": (-6, 3, 3, 4)})


def _words(path: Path) -> None:
    npz(path, shapes=IMAGES | {"train": "__import__('os').system('touch ran')"})


def _newer(path: Path) -> None:
    npz(path, version=b"\x03\x00")


def _no_zip(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").replace(path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _short(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        for split in IMAGES:
            archive.writestr(f"{split}.npy", b"\x93NUMPY\x01\x00")


def _encrypted(path: Path) -> None:
    npz(path)
    content = path.read_bytes()
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for at in [match.start() for match in re.finditer(re.escape(signature), content)]:
            content = content[: at + offset] + b"\x01" + content[at + offset + 1 :]
    path.write_bytes(content)


OTHERS = [
    _floats, _objects, _more, _larger, _mixed, _flat, _two_channels, _two_grounds, _older, _bomb, _negative, _words,
    _newer, _no_zip, _empty, _short, _encrypted,
]  # fmt: skip


@pytest.mark.parametrize("write", OTHERS)
def test_a_cache_of_anything_else_is_as_good_as_none(
    pictures: Path, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    first = read(pictures)
    (cache,) = cache_folder.iterdir()
    whole = cache.read_bytes()
    write(cache)
    tracemalloc.start()
    assert same(read(pictures), first)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert cache.read_bytes() == whole
    assert not (tmp_path / "ran").exists()


def test_a_cache_that_looks_right_is_believed(pictures: Path, cache_folder: Path) -> None:
    read(pictures)
    (cache,) = cache_folder.iterdir()
    _bytes(cache)
    assert (read(pictures).train_images_NCHW == 0).all()


def test_a_cache_that_is_a_pipe_is_not_waited_for(pictures: Path, cache_folder: Path, impatient: None) -> None:
    first = read(pictures)
    (cache,) = cache_folder.iterdir()
    cache.unlink()
    os.mkfifo(cache)
    assert same(read(pictures), first)
    assert cache.is_file()


def test_without_a_cache_folder_it_still_works(pictures: Path, shared_folder: Path) -> None:
    shared_folder.parent.mkdir()
    shared_folder.write_text("a file where the folder should be")
    assert read(pictures).shape.train == 6


def test_a_failed_write_leaves_no_part(pictures: Path, cache_folder: Path, monkeypatch) -> None:
    def fail(file, **arrays) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    assert read(pictures).shape.train == 6
    assert list(cache_folder.iterdir()) == []
