"""Pictures that are none, or that stand for too much: refused by their path, nothing run, nothing waited for."""

import logging
import os
import socket
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bnexp.config.data import DataSettings
from bnexp.data import image_folder
from bnexp.data.catalog import describe
from bnexp.data.image_tree import EXTENSIONS, MOST_PIXELS, image_shape, opened, scan
from bnexp.data.raw import RawImages
from bnexp.errors import InputError

NOISE_HWC = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
ENDINGS = sorted(EXTENSIONS)


def read(root: Path) -> RawImages:
    return image_folder.read(DataSettings(name="image_folder", root=str(root)))


def refused(root: Path) -> str:
    """The refusal, the same for looking at headers and for decoding."""
    with pytest.raises(InputError) as caught:
        read(root)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.fixture
def spare(pictures: Path) -> Path:
    """A place in the tree for one picture more."""
    return pictures / "train" / "cat" / "9.png"


def saved(path: Path, pixels_HWC: np.ndarray = NOISE_HWC) -> bytes:
    """A picture in the format of its name, and its bytes."""
    gray = path.suffix == ".pgm"
    Image.fromarray(pixels_HWC[..., 0] if gray else pixels_HWC).save(path)
    return path.read_bytes()


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG file whose header says what it is told to."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def decoded(path: Path) -> np.ndarray | None:
    """The pixels, or None where the picture is refused as it should be."""
    try:
        with opened(str(path)) as image:
            return np.asarray(image.convert("RGB"))
    except InputError as error:
        return None if str(error).startswith(f"data.root: {path} can't be used as a picture: ") else np.empty(0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cut_picture_is_refused_or_whole_never_half(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"picture{ending}"
    whole = saved(path)
    expected = decoded(path)
    for length in sorted({*range(64), *range(64, len(whole), 37), *range(len(whole) - 24, len(whole))}):
        path.write_bytes(whole[:length])
        pixels = decoded(path)
        # Only what ends the file may be missing: it holds no pixels.
        assert pixels is None or (np.array_equal(pixels, expected) and length >= len(whole) - 24)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
    database=None,
)
@given(data=st.data(), ending=st.sampled_from(ENDINGS))
def test_no_damaged_picture_is_anything_but_a_refusal(tmp_path: Path, data: st.DataObject, ending: str) -> None:
    path = tmp_path / f"picture{ending}"
    content = bytearray(saved(path))
    places = st.integers(0, min(200, len(content) - 1)) | st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    pixels = decoded(path)
    assert pixels is None or 0 < pixels.size <= 3 * MOST_PIXELS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just words\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4\n%%EOF\n",
        b"#define x_width 8\n#define x_height 8\nstatic char x_bits[] = {0};\n",
        b"\x00\x00\x01\x00\x01\x00",
        b"8BPS\x00\x01",
        bytes(1000),
    ],
)
@pytest.mark.parametrize("ending", [".png", ".JPG", ".tif", ".gif"])
def test_what_is_no_picture_is_refused_whatever_its_name(spare: Path, content: bytes, ending: str) -> None:
    path = spare.with_suffix(ending)
    path.write_bytes(content)
    message = refused(spare.parents[2])
    assert message.startswith(f"data.root: {path} can't be used as a picture: ")
    assert message.endswith("; replace or remove it")


def test_no_other_program_is_started_for_a_picture(spare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"started {args}")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, started)
    monkeypatch.setattr(os, "system", started)
    spare.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\n(x) (w) file closefile showpage\n%%EOF\n"
    )
    with Image.open(spare) as image:  # as PIL alone would do
        assert image.format == "EPS"
    assert "cannot identify image file" in refused(spare.parents[2])


@pytest.mark.parametrize(("saved_as", "ending"), [("JPEG", ".png"), ("PNG", ".jpg"), ("WEBP", ".gif")])
def test_a_picture_of_another_known_format_is_one(spare: Path, saved_as: str, ending: str) -> None:
    Image.new("RGB", (4, 3)).save(spare.with_suffix(ending), format=saved_as)
    assert read(spare.parents[2]).shape.train == 7


@pytest.mark.parametrize("format", ["ICO", "TGA", "PCX", "EPS", "PDF", "DDS"])
def test_other_formats_are_refused(spare: Path, format: str) -> None:
    Image.new("RGB", (4, 3)).save(spare, format=format)
    assert f"{spare} can't be used as a picture: cannot identify image file" in refused(spare.parents[2])


@pytest.mark.parametrize(
    ("width", "height"),
    [(4096, 4097), (2**24 + 1, 1), (10_000, 10_000), (13_000, 13_000), (50_000, 50_000), (2**31 - 1, 2**31 - 1)],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_small_file_that_stands_for_very_much_is_refused_by_its_header(
    pictures: Path, spare: Path, width: int, height: int, first: bool
) -> None:
    path = spare.with_name("!.png") if first else spare
    path.write_bytes(png(width, height))
    expected = f"data.root: {path} can't be used as a picture: it has more than 16,777,216 pixels; replace or remove it"
    assert refused(pictures) == expected
    if first:
        with pytest.raises(InputError) as caught:
            describe(DataSettings(name="image_folder", root=str(pictures)))
        assert str(caught.value) == expected


def test_as_many_pixels_as_allowed_are_looked_at(pictures: Path, spare: Path) -> None:
    spare.write_bytes(png(4096, 4096))
    assert "9.png is 4096x4096 pixels, but " in refused(pictures)
    assert MOST_PIXELS == 4096 * 4096


def test_of_several_frames_the_first_counts(pictures: Path, spare: Path) -> None:
    frames = [Image.new("RGB", (4, 3), (value, 0, 0)) for value in (200, 50)]
    for ending in (".gif", ".webp", ".tif", ".png"):
        options = {"lossless": True} if ending == ".webp" else {}
        frames[0].save(spare.with_suffix(ending), save_all=True, append_images=frames[1:], **options)
    reds = read(pictures).train_images_NCHW[:, 0, 0, 0]
    assert (reds == 200).sum() == 4
    assert 50 not in reds


def test_colours_of_16_bits_are_rounded_down(pictures: Path, spare: Path) -> None:
    row = b"\x00" + struct.pack(">HHH", 0x12FF, 0x8000, 0xFFFF) * 4
    spare.write_bytes(png(4, 3, depth=16, data=3 * row))
    assert [0x12, 0x80, 0xFF] in read(pictures).train_images_NCHW[:, :, 0, 0].tolist()


def test_gray_of_16_bits_is_refused(pictures: Path, spare: Path) -> None:
    spare.write_bytes(png(4, 3, depth=16, colour=0, data=3 * (b"\x00" + b"\x12\x34" * 4)))
    assert f"{spare} can't be used as a picture: mode I;16 has more than 8 bits a channel" in refused(pictures)


def test_nothing_is_said_on_the_terminal(
    pictures: Path, spare: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PIL logs what a TIFF says wrong before it refuses it, and warns of transparent palettes."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a command: pytest's take what is logged
    path = spare.with_suffix(".tif")
    content = saved(path)
    samples, too_many = (struct.pack("<HHIH", 277, 3, 1, count) for count in (3, 250))
    path.write_bytes(content.replace(samples, too_many))
    assert "can't be used as a picture" in refused(pictures)
    path.unlink()
    palette = Image.new("P", (4, 3))
    palette.info["transparency"] = b"\x00\x80"
    palette.save(spare, transparency=b"\x00\x80")
    assert read(pictures).shape.train == 7
    assert capfd.readouterr() == ("", "")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _socket, _device])
def test_what_could_be_waited_for_is_refused(
    pictures: Path, spare: Path, make: Callable[[Path], None], impatient: None
) -> None:
    make(spare)
    assert refused(pictures) == f"data.root: {spare} is not a regular file; replace or remove it"


def test_a_folder_named_like_a_picture_is_a_folder(pictures: Path, spare: Path) -> None:
    spare.mkdir()
    saved(spare / "1.png", NOISE_HWC[:3, :4])
    assert read(pictures).shape.train == 7


def test_links_in_circles(pictures: Path, spare: Path, tmp_path: Path) -> None:
    (pictures / "train" / "loop").symlink_to("loop")  # no folder, so no class
    (pictures / "train" / "cat" / "up").symlink_to("..")  # not followed
    assert read(pictures).shape.train == 6
    spare.symlink_to(spare.name)
    assert refused(pictures) == f"data.root: {spare} can't be read (Too many levels of symbolic links)"
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    assert refused(circle).startswith(f"data.root: {circle} is not a folder; ")
    assert refused(circle / "below").startswith(f"data.root: {circle / 'below'} is not a folder; ")


def test_names_of_files_reach_the_terminal_without_control_characters(pictures: Path) -> None:
    odd = os.fsencode(pictures / "train" / "cat") + b"/\x1b[31m\n\xff.png"
    with open(odd, "wb"):
        pass
    message = refused(pictures)
    assert message.isprintable()
    assert r"/\x1b[31m\n\udcff.png can't be used as a picture: " in message


def test_names_of_classes_reach_the_terminal_without_control_characters(pictures: Path) -> None:
    (pictures / "train" / "\x1b[31mcat").mkdir()
    assert refused(pictures).endswith(r"must hold the same classes; in only one: \x1b[31mcat")
    (pictures / "test" / "\x1b[31mcat").mkdir()
    assert r"/train/\x1b[31mcat holds no picture" in refused(pictures)


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=count))


def test_pictures_that_do_not_fit_the_memory_are_not_decoded(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 8 * 3 * 3 * 4
    free(monkeypatch, needed - 1)
    with monkeypatch.context() as patched:
        patched.setattr(image_folder, "_decode", None)
        assert refused(pictures) == (
            "data.root: 8 pictures of 4x3 pixels take 0.0 GiB, and 0.0 GiB of memory are free; "
            "shrink the pictures, or keep fewer of them"
        )
    free(monkeypatch, needed)
    assert read(pictures).shape.train == 6
    free(monkeypatch, needed - 1)  # with a cache, too
    assert "8 pictures of 4x3 pixels take" in refused(pictures)


def test_very_many_pictures_are_counted_before_room_is_made(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = scan(str(pictures))
    many = replace(tree, train=tree.train * 10**6)
    for picture in pictures.rglob("*.png"):
        saved(picture, NOISE_HWC)
    monkeypatch.setattr(image_folder, "scan", lambda root: many)
    monkeypatch.setattr(image_folder.image_cache, "path_for", lambda tree: pictures / "none")
    free(monkeypatch, 16 * 2**30)
    monkeypatch.setattr(image_folder, "_shuffled", list)
    assert "6000002 pictures of 40x30 pixels take 20.1 GiB, and 16.0 GiB of memory are free" in refused(pictures)


def test_the_shape_is_asked_of_headers_only(pictures: Path) -> None:
    for picture in pictures.rglob("*.png"):
        picture.write_bytes(png(40, 30))  # without pixels
    assert image_shape(scan(str(pictures))) == (3, 30, 40)
    assert "can't be used as a picture" in refused(pictures)


@pytest.mark.parametrize("root", ["~nobody-of-that-name/pictures", "~nobody-of-that-name"])
def test_a_home_folder_that_nobody_knows(root: str) -> None:
    with pytest.raises(InputError) as caught:
        image_folder.read(DataSettings(name="image_folder", root=root))
    assert str(caught.value) == f"data.root: {root}: no home folder is known for it; write the whole path"
