"""A tree of images becomes arrays in a fixed order; flaws are named with their files; a damaged cache is none."""

import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from bnexp.config.data import DataSettings
from bnexp.data import image_folder
from bnexp.data.catalog import describe
from bnexp.data.image_folder import ENDINGS, is_grey, is_transparent, on_background, open_image
from bnexp.data.own_files import pinned
from bnexp.data.raw import RawImages, fixed_order
from bnexp.errors import InputError
from bnexp.plan import run_name
from tests.helpers import experiment

GREY = 200
NOISE_HWC = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def read(root: Path) -> RawImages:
    return image_folder.read(DataSettings(name="image_folder", root=str(root)))


def refused(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(root)
    return str(caught.value)


def assert_same(left: RawImages, right: RawImages) -> None:
    for one, other in zip((*left.train, *left.test), (*right.train, *right.test), strict=True):
        assert np.array_equal(one, other)
    assert (left.classes, left.findings) == (right.classes, right.findings)


# What is read, in which order.


def test_images_with_their_labels_in_the_fixed_order(images: Path) -> None:
    raw = read(images)
    raw.check(raw.shape)
    values = [(10, 0, 0), (20, 0, 0), (30, 0, 0), (0, 0, 10), (0, 0, 20), (0, 0, 30)]
    order = fixed_order(6)
    assert raw.train.images_NCHW.shape == (6, 3, 3, 4)
    assert [tuple(image[:, 1, 2]) for image in raw.train.images_NCHW] == [values[i] for i in order]
    assert raw.train.labels_N.tolist() == [int(i >= 3) for i in order]
    assert (raw.classes, raw.val) == (2, None)


def test_images_have_the_same_order_and_the_tree_the_same_digest_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slash of a/z counts for less than the Z of aZ, and a backslash for more."""
    monkeypatch.setattr(os, "sep", "\\")
    paths = [PureWindowsPath("cats", *parts) for parts in (("a", "z.png"), ("aZ.png",), ("a-1.png",))]
    ordered = sorted(map(str, paths), key=image_folder._with_slashes)
    assert [PureWindowsPath(path).as_posix() for path in ordered] == sorted(path.as_posix() for path in paths)


def test_the_order_is_by_class_and_path_whatever_the_file_system_s(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(images / "train" / "cat", images / "train" / "cat" / "10")
    expected, walk = read(images), os.walk
    shutil.rmtree(os.environ["BNEXP_DATA"])

    def reversed_walk(*args: object, **kwargs: object) -> list[tuple[str, list[str], list[str]]]:
        return [(place, folders, names[::-1]) for place, folders, names in walk(*args, **kwargs)][::-1]

    monkeypatch.setattr(os, "walk", reversed_walk)
    assert_same(read(images), expected)
    reds = [10, 20, 10, 20, 30, 30, 0, 0, 0]  # 0.png, 1.png, 10/…, 2.png
    assert expected.train.images_NCHW[:, 0, 0, 0].tolist() == [reds[i] for i in fixed_order(9)]


def test_rows_and_columns_stay_apart(images: Path) -> None:
    pixels_HWC = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    for path in (images / "test").rglob("*.png"):
        Image.fromarray(pixels_HWC).save(path)
    assert np.array_equal(read(images).test.images_NCHW[0], pixels_HWC.transpose(2, 0, 1))


def test_grey_images_have_one_channel_and_one_in_colour_makes_three(images: Path) -> None:
    for path in images.rglob("*.png"):
        Image.new("L", (4, 3), 77).save(path)
    raw = read(images)
    assert raw.train.images_NCHW.shape == (6, 1, 3, 4)
    assert (raw.train.images_NCHW == 77).all()
    Image.new("RGB", (4, 3)).save(images / "test" / "dog" / "0.png")
    assert read(images).train.images_NCHW.shape == (6, 3, 3, 4)


def test_a_val_folder_holds_the_validation_images(images: Path) -> None:
    shutil.copytree(images / "train", images / "val")
    shutil.copytree(images / "train", images / "valid")
    for path in (images / "val").rglob("2.png"):
        path.unlink()
    values = [(10, 0, 0), (20, 0, 0), (0, 0, 10), (0, 0, 20)]
    for _ in range(2):  # decoded, and from the cache
        raw = read(images)
        assert raw.val is not None
        assert [tuple(image[:, 1, 2]) for image in raw.val[0]] == [values[i] for i in fixed_order(4)]
        assert raw.val[1].tolist() == [int(i >= 2) for i in fixed_order(4)]
    assert raw.findings.remarks == (
        "the validation images are those in val/",
        "valid/ is not read, since val/ is",
    )


def test_what_is_left_out_is_counted_by_its_ending_or_place(images: Path) -> None:
    cat = images / "train" / "cat"
    for name in ("1.txt", "2.TXT", "3.heic", "LICENSE", ".DS_Store", "._1.png"):
        (cat / name).write_text("no image")
    (cat / "@eaDir").mkdir()
    shutil.copy(cat / "0.png", cat / "@eaDir")
    (images / "train" / "__MACOSX").mkdir()
    shutil.copy(cat / "0.png", images / "train" / "lost.png")  # in no class folder
    shutil.copy(cat / "0.png", cat / "scan 12")  # an image all the same
    (images / "README").write_text("no image")
    (images / "extra").mkdir()
    raw = read(images)
    assert raw.shape.train == 7
    (line,) = raw.findings.lines()
    assert line == (
        "left out: 4 hidden files, 2 .txt files, 2 beside train/ and test/, 1 .heic file, 1 outside the class folders, "
        "1 without an ending"
    )


@pytest.mark.parametrize(
    ("layout", "sizes", "remarks"),
    [
        (
            "mv train Training && mv test eval && cp -r eval dev",
            (6, 2, 2),
            ("the validation images are those in dev/",),
        ),
        ("mv test valid", (6, None, 2), ("the test images are those in valid/, since there is no test/",)),
        (
            "mv train/* . && rm -r train test",
            (5, None, 1),
            ("1 test image of 6 drawn at random, by data.split_seed",),
        ),
    ],
)
def test_other_usual_layouts_are_read_and_said(images: Path, layout: str, sizes: tuple, remarks: tuple) -> None:
    subprocess.run(layout, shell=True, check=True, cwd=images)
    for _ in range(2):  # decoded, and from the cache
        raw = read(images)
        assert (len(raw.train[1]), raw.val and len(raw.val[1]), len(raw.test[1])) == sizes
        assert raw.findings.remarks == remarks
    pixels_NC = np.concatenate([raw.train.images_NCHW, raw.test.images_NCHW])[:, :, 1, 1]
    labels_N = np.concatenate([raw.train.labels_N, raw.test.labels_N])
    assert ((pixels_NC[:, 2] > 0) == labels_N).all()


def test_images_of_mixed_sizes_are_cut_to_squares_if_asked_to(images: Path) -> None:
    wide, tall = np.zeros((4, 16, 3), np.uint8), np.zeros((40, 10, 3), np.uint8)
    wide[:, 4:12], tall[10:30] = 200, 100
    Image.fromarray(wide).save(images / "test" / "cat" / "0.png")
    Image.fromarray(tall).save(images / "test" / "dog" / "0.png")
    for _ in range(2):  # decoded, and from the cache
        raw = image_folder.read(DataSettings(name="image_folder", root=str(images), size=2))
        assert raw.shape.image == (3, 2, 2)
        assert {
            (int(label), int(pixel)) for (pixel, label) in zip(raw.test[0][:, 0, 0, 0], raw.test[1], strict=True)
        } == {
            (0, 200),
            (1, 100),
        }
        (remark,) = raw.findings.remarks
        assert remark == "images are resized to 2 pixels on their shorter side, and cut to the 2x2 in the middle"
    larger = image_folder.read(DataSettings(name="image_folder", root=str(images), size=5))
    assert larger.shape.image == (3, 5, 5)


# What is refused.


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            "rm -r $PWD",
            "{root} is not a folder; image_folder needs images under train/<class>/ and test/<class>/",
        ),
        ("rm -r test", "{root} has no folder test/; image_folder needs images under"),
        ("rm -r train/*", "{root}/train holds no class folder; image_folder needs images under"),
        (
            "rm -r train/dog",
            "test/ of {root} has the class dog, without a folder in train/: no network can learn it; add ",
        ),
        ("rm -r test/*; touch test/1.png", "{root}/test holds no class folder; image_folder needs images under"),
        (
            "rm -r train/*; touch train/1.png train/metadata.csv",
            "{root}/train has its labels in metadata.csv, as Hugging Face reads them; move the images to folders named",
        ),
        (
            "rm -r train test; mkdir images; touch images/1.png metadata.jsonl",
            "{root} has its labels in metadata.jsonl, as Hugging Face reads them; move the images to folders named",
        ),
        (
            "rm -r train/dog test/dog",
            "{root}/train holds a single class, cat, and there is nothing to tell apart; "
            "the folders of the classes have to lie directly in it",
        ),
        (
            "for split in train test; do (cd $split && mkdir all && mv cat dog all); done",
            "{root}/train holds a single class, all, and there is nothing to tell apart; "
            "the folders of the classes have to lie directly in it (in all/ lie cat and dog)",
        ),
        (
            "mv test/dog/0.png test/dog/0.txt",
            "{root}/test/dog holds no image that can be read; expected files ending in .bmp, .gif",
        ),
        ("ln -s nowhere train/cat/9.png", "{root}/train/cat/9.png is not a regular file; replace or remove it"),
        ("mkfifo train/cat/9.png", "{root}/train/cat/9.png is not a regular file; replace or remove it"),
    ],
)
def test_not_a_tree_of_images(images: Path, spoil: str, message: str, impatient: None) -> None:
    subprocess.run(spoil, shell=True, check=True, cwd=images)
    assert refused(images).startswith(f"data.root: {message.format(root=images)}")


def test_a_class_without_test_images_is_warned_of(images: Path) -> None:
    shutil.rmtree(images / "test" / "dog")
    raw = read(images)
    assert (raw.classes, raw.test.labels_N.tolist()) == (2, [0])
    assert raw.cut(DataSettings(name="image_folder")).findings.warnings[0] == "test/ has no folder dog/"


def test_a_run_keeps_to_the_names_and_sizes_of_its_images(images: Path, tmp_path: Path) -> None:
    config = experiment(data={"name": "image_folder", "root": str(images), "val_size": 0})
    first = pinned(config)
    assert describe(first.data).train == 6
    elsewhere = shutil.copytree(images, tmp_path / "copy", copy_function=shutil.copyfile)
    (elsewhere / "readme.txt").write_text("no image")
    moved = first.data.model_copy(update={"root": str(elsewhere)})
    assert describe(moved).train == 6
    shutil.copy(images / "train" / "cat" / "0.png", images / "train" / "cat" / "9.png")
    second = pinned(config)
    assert run_name(first) != run_name(second)
    with pytest.raises(InputError, match=r"^data\.digest: .*images has changed: its digest is now .*; put it back"):
        describe(first.data)


def test_no_root() -> None:
    with pytest.raises(InputError, match=r"^data.root: null, but .*set data.root to the folder that holds them$"):
        image_folder.read(DataSettings(name="image_folder"))


def test_an_image_of_another_size_is_refused(images: Path) -> None:
    odd, first = images / "train" / "cat" / "9.png", images / "train" / "cat" / "0.png"
    Image.new("RGB", (5, 3)).save(odd)
    assert refused(images) == f"data.root: {odd} is 5x3 pixels, but {first} is 4x3; resize them, or set data.size"


def test_an_unreadable_image_is_named_without_control_characters(images: Path, shared_folder: Path) -> None:
    (images / "train" / "cat" / "\x1b[31m.png").write_bytes((images / "train" / "cat" / "0.png").read_bytes()[:45])
    message = refused(images)
    assert message.startswith(rf"data.root: {images}/train/cat/\x1b[31m.png can't be used as an image: ")
    assert not shared_folder.exists()


def test_images_that_do_not_fit_the_memory_are_not_decoded(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(count: int) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=count))

    message = (
        "data.root: 8 images of 4x3 pixels take 0 MiB, and 0 MiB of memory are free; "
        "shrink the images, or keep fewer of them"
    )
    needed = 8 * 3 * 3 * 4
    free(needed - 1)
    assert refused(images) == message
    free(needed)
    assert read(images).shape.train == 6
    free(needed - 1)  # with a cache, too
    assert refused(images) == message


# Single files.


def saved(path: Path) -> bytes:
    """An image of noise in the format of its name, and its bytes."""
    Image.fromarray(NOISE_HWC).convert("L" if path.suffix == ".pgm" else "RGB").save(path)
    return path.read_bytes()


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG file whose header says what it is told to."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def decoded(path: Path) -> np.ndarray:
    with open_image(str(path)) as image:
        return np.asarray(image.convert("RGB"))


def refused_file(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        decoded(path)
    message = str(caught.value)
    assert message.startswith(f"data.root: {path} can't be used as an image: ")
    assert message.endswith("; replace or remove it")
    return message


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cut_image_is_refused_or_whole_never_half(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    whole = saved(path)
    expected = decoded(path)
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 25, len(whole) - 8, len(whole) - 1):
        path.write_bytes(whole[:length])
        try:
            pixels = decoded(path)
        except InputError:
            continue
        # Only what ends the file may be missing: it holds no pixels.
        assert np.array_equal(pixels, expected)
        assert length >= len(whole) - 24


def test_no_other_program_is_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"started {args}")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(os, "system", started)
    path = tmp_path / "image.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as image:  # as PIL alone would do
        assert image.format == "EPS"
    assert "cannot identify image file" in refused_file(path)


def test_a_format_of_another_name_is_read(tmp_path: Path) -> None:
    Image.fromarray(NOISE_HWC).save(tmp_path / "image.jpg", format="PNG")
    assert np.array_equal(decoded(tmp_path / "image.jpg"), NOISE_HWC)


def test_a_small_file_that_stands_for_very_much_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(50_000, 50_000))
    assert "could be decompression bomb" in refused_file(path)


def test_colours_of_16_bits_are_rounded_down_and_greys_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(1, 1, depth=16, data=b"\x00" + struct.pack(">HHH", 0x12FF, 0x8000, 0xFFFF)))
    assert decoded(path).tolist() == [[[0x12, 0x80, 0xFF]]]
    path.write_bytes(png(1, 1, depth=16, colour=0, data=b"\x00\x12\x34"))
    assert "mode I;16 has more than 8 bits a channel" in refused_file(path)


def test_nothing_is_written_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """PIL logs what a TIFF says wrong before it refuses it, and warns of transparent palettes."""
    path = tmp_path / "image.tif"
    content = saved(path)
    samples, too_many = (struct.pack("<HHIH", 277, 3, 1, count) for count in (3, 250))
    path.write_bytes(content.replace(samples, too_many))
    refused_file(path)
    Image.new("P", (4, 3)).save(tmp_path / "image.png", transparency=b"\x00\x80")
    decoded(tmp_path / "image.png")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA"])
def test_what_is_hidden_leaves_no_trace(tmp_path: Path, mode: str) -> None:
    """Four pixels: black; black that half shows; black and white that don't show."""
    shades, alphas = np.array([[0, 0, 0, 255]], np.uint8), np.array([[255, 128, 0, 0]], np.uint8)
    path = tmp_path / "image.png"
    if mode == "P":
        image = Image.fromarray(np.arange(4, dtype=np.uint8)[None]).convert("P")
        image.putpalette([shade for shade in shades[0] for _ in range(3)])
        image.save(path, transparency=bytes(alphas[0]))
    else:
        Image.merge("LA", [Image.fromarray(shades), Image.fromarray(alphas)]).convert(mode).save(path)
    with open_image(str(path)) as read:
        assert is_transparent(read)
        black, half, *hidden = np.asarray(on_background(read, "L", GREY)).flat
    assert (black, half, hidden) == (0, round(GREY * (255 - 128) / 255), [GREY, GREY])


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGBA"])
def test_an_opaque_image_is_what_it_was(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(NOISE_HWC).convert(mode)
    image.save(tmp_path / "image.tif")
    with open_image(str(tmp_path / "image.tif")) as read:
        assert not is_transparent(read)
        assert is_grey(read) == (mode in ("1", "L"))
        assert np.array_equal(on_background(read, "RGB", GREY), image.convert("RGB"))


@pytest.mark.parametrize(("used", "grey"), [(0, True), (1, False), (2, True)])
def test_a_palette_counts_by_the_colours_that_show(tmp_path: Path, used: int, grey: bool) -> None:
    """Grey, red, and red that is transparent."""
    palette = Image.new("P", (4, 3), used)
    palette.putpalette([9, 9, 9, 255, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "image.png", transparency=bytes([255, 255, 0]))
    with open_image(str(tmp_path / "image.png")) as image:
        assert is_grey(image) == grey


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
    assert (raw.train.images_NCHW[:, :, 1] == row).all()
    assert (raw.train.images_NCHW[:, :, [0, 2]] == (255 if background == "white" else 0)).all()
    assert_same(read(images), raw)  # from the cache


def test_the_training_images_alone_choose_the_background_for_all(images: Path) -> None:
    paint(images, (255, 255, 255, 255))
    paint(images / "train", (0, 0, 0, 255))
    Image.new("RGB", (4, 3), (1, 2, 3)).save(images / "test" / "cat" / "0.png")
    raw = read(images)
    assert raw.findings.background == "white"
    assert sorted(raw.test.images_NCHW[:, :, 0, 0].tolist()) == [[1, 2, 3], [255, 255, 255]]


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
    assert (read(images).train.images_NCHW == 9).all(axis=(1, 2, 3)).sum() == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "pickled", "empty"])
def test_a_damaged_cache_is_rebuilt(images: Path, shared_folder: Path, damage: str) -> None:
    first = read(images)
    (cache,) = (shared_folder / "image_folder_cache").iterdir()
    whole = cache.read_bytes()
    position = whole.index(b"\x0a\x0a\x0a\x0a")  # within the pixels of an image of value 10
    flipped = whole[:position] + b"\x0b" + whole[position + 1 :]
    if damage == "pickled":
        np.savez(cache, train=np.array([{}] * 6), test=first.test.images_NCHW, background=np.array(""))
    else:
        cache.write_bytes({"cut": whole[:-50], "flipped": flipped, "empty": b""}[damage])
    assert_same(read(images), first)
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    assert cache.read_bytes()[:100] == whole[:100]


def test_a_cache_that_can_not_be_written_or_read_costs_only_time(images: Path, shared_folder: Path) -> None:
    first = read(images)
    shutil.rmtree(shared_folder)
    shared_folder.write_text("no folder")
    assert_same(read(images), first)
