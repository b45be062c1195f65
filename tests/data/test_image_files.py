"""What is read of one image file: what shows, nothing of what is hidden, and never half of it."""

import logging
import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnexp.data.image_files import ENDINGS, is_grey, is_transparent, on_background, open_image
from bnexp.errors import InputError

GREY = 200
NOISE_HWC = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def saved(path: Path, mode: str = "RGB") -> bytes:
    """An image of noise in the format of its name, and its bytes."""
    Image.fromarray(NOISE_HWC).convert("L" if path.suffix == ".pgm" else mode).save(path)
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


def refused(path: Path) -> str:
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


@pytest.mark.parametrize(
    "content", [b"", b"just words\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4\n%%EOF\n", bytes(1000)]
)
def test_what_is_no_image_is_refused_whatever_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("format", ["ICO", "TGA", "EPS", "PDF"])
def test_other_formats_are_refused(tmp_path: Path, format: str) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "image.png", format=format)
    assert "cannot identify image file" in refused(tmp_path / "image.png")


def test_no_other_program_is_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"started {args}")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(os, "system", started)
    path = tmp_path / "image.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as image:  # as PIL alone would do
        assert image.format == "EPS"
    assert "cannot identify image file" in refused(path)


def test_a_format_of_another_name_is_read(tmp_path: Path) -> None:
    Image.fromarray(NOISE_HWC).save(tmp_path / "image.jpg", format="PNG")
    assert np.array_equal(decoded(tmp_path / "image.jpg"), NOISE_HWC)


def test_a_small_file_that_stands_for_very_much_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(50_000, 50_000))
    assert "could be decompression bomb" in refused(path)


def test_colours_of_16_bits_are_rounded_down_and_greys_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(1, 1, depth=16, data=b"\x00" + struct.pack(">HHH", 0x12FF, 0x8000, 0xFFFF)))
    assert decoded(path).tolist() == [[[0x12, 0x80, 0xFF]]]
    path.write_bytes(png(1, 1, depth=16, colour=0, data=b"\x00\x12\x34"))
    assert "mode I;16 has more than 8 bits a channel" in refused(path)


@pytest.mark.parametrize("ending", [".gif", ".webp", ".tif", ".png"])
def test_of_several_frames_the_first_counts(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    frames = [Image.new("RGB", (4, 3), (value, 0, 0)) for value in (200, 50)]
    options = {"lossless": True} if ending == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert decoded(path)[0, 0].tolist() == [200, 0, 0]


def test_nothing_is_written_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PIL logs what a TIFF says wrong before it refuses it, and warns of transparent palettes."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a command: pytest's take what is logged
    path = tmp_path / "image.tif"
    content = saved(path)
    samples, too_many = (struct.pack("<HHIH", 277, 3, 1, count) for count in (3, 250))
    path.write_bytes(content.replace(samples, too_many))
    refused(path)
    Image.new("P", (4, 3)).save(tmp_path / "image.png", transparency=b"\x00\x80")
    decoded(tmp_path / "image.png")
    assert capfd.readouterr() == ("", "")


def shaded(path: Path, mode: str) -> Path:
    """Four pixels: black; black that half shows; black and white that don't show."""
    shades, alphas = np.array([[0, 0, 0, 255]], np.uint8), np.array([[255, 128, 0, 0]], np.uint8)
    image = Image.merge("LA", [Image.fromarray(shades), Image.fromarray(alphas)])
    if mode == "P":
        image = Image.fromarray(np.arange(4, dtype=np.uint8)[None]).convert("P")
        image.putpalette([shade for shade in shades[0] for _ in range(3)])
        image.save(path, transparency=bytes(alphas[0]))
    elif path.suffix == ".webp":
        image.convert(mode).save(path, lossless=True, exact=True)
    else:
        image.convert(mode).save(path)
    return path


@pytest.mark.parametrize(("mode", "ending"), [("P", ".png"), ("LA", ".png"), ("RGBA", ".tif"), ("RGBA", ".webp")])
def test_what_is_hidden_leaves_no_trace(tmp_path: Path, mode: str, ending: str) -> None:
    with open_image(str(shaded(tmp_path / f"image{ending}", mode))) as image:
        assert is_transparent(image)
        black, half, *hidden = np.asarray(on_background(image, "L", GREY)).flat
    assert (black, half, hidden) == (0, round(GREY * (255 - 128) / 255), [GREY, GREY])


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK", "RGBA"])
def test_an_opaque_image_is_what_it_was(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.tif"
    image = Image.fromarray(NOISE_HWC).convert(mode)
    image.save(path)
    with open_image(str(path)) as read:
        assert not is_transparent(read)
        assert np.array_equal(on_background(read, "RGB", GREY), image.convert("RGB"))


@pytest.mark.parametrize(("mode", "grey"), [("1", True), ("L", True), ("LA", True), ("P", True), ("RGB", False)])
def test_an_image_is_grey_by_its_kind(tmp_path: Path, mode: str, grey: bool) -> None:
    Image.new("L", (4, 3), 255).convert(mode).save(tmp_path / "image.png")
    with open_image(str(tmp_path / "image.png")) as image:
        assert is_grey(image) == grey


@pytest.mark.parametrize(("used", "grey"), [(0, True), (1, False), (2, True)])
def test_a_palette_counts_by_the_colours_that_show(tmp_path: Path, used: int, grey: bool) -> None:
    """Grey, red, and red that is transparent."""
    palette = Image.new("P", (4, 3), used)
    palette.putpalette([9, 9, 9, 255, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "image.png", transparency=bytes([255, 255, 0]))
    with open_image(str(tmp_path / "image.png")) as image:
        assert is_grey(image) == grey
