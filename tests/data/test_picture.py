"""What stays of one picture when it is laid on a ground: what shows, and nothing of what is hidden."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnexp.data.image_tree import is_gray, is_picture, is_transparent, on_ground, opened

GROUND = 200


def stored(path: Path, depth: int, colour: int, row: bytes, transparent: bytes) -> Path:
    """A PNG of one row, with the colour that stands for nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\x00" + row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"tRNS", transparent) + data)
    return path


def pixels(path: Path, mode: str = "L") -> list[int]:
    with opened(str(path)) as image:
        return list(np.asarray(on_ground(image, mode, GROUND)).flat)


@pytest.mark.parametrize(
    ("depth", "row", "dark", "light"),
    [(1, b"\x40", 0, 1), (2, b"\x30", 0, 3), (4, b"\x0f", 0, 15), (8, b"\x00\xff", 0, 255)],
)
def test_a_grey_value_that_stands_for_nothing(tmp_path: Path, depth: int, row: bytes, dark: int, light: int) -> None:
    """Of few bits it is stored in few bits."""
    path = tmp_path / "picture.png"
    assert pixels(stored(path, depth, 0, row, struct.pack(">H", light))) == [0, GROUND]
    assert pixels(stored(path, depth, 0, row, struct.pack(">H", dark))) == [GROUND, 255]


@pytest.mark.parametrize(("depth", "form"), [(8, ">6B"), (16, ">6H")])
def test_a_colour_that_stands_for_nothing(tmp_path: Path, depth: int, form: str) -> None:
    first, second = 3 * [16 << depth - 8], 3 * [32 << depth - 8]
    row, path = struct.pack(form, *first, *second), tmp_path / "picture.png"
    assert pixels(stored(path, depth, 2, row, struct.pack(">HHH", *second)), "RGB") == [16] * 3 + [GROUND] * 3


def saved(path: Path, mode: str) -> Path:
    """Four pixels: black; black that half shows; black and white that don't show."""
    shades, alphas = np.array([[0, 0, 0, 255]], np.uint8), np.array([[255, 128, 0, 0]], np.uint8)
    image = Image.merge("LA", [Image.fromarray(shades), Image.fromarray(alphas)])
    if mode == "P":
        image = Image.fromarray(np.arange(4, dtype=np.uint8)[None]).convert("P")
        image.putpalette([shade for shade in shades[0] for _ in range(3)])
        image.save(path, transparency=bytes(alphas[0]))
    else:
        image.convert(mode).save(path)
    return path


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("P", ".png"), *((mode, ending) for mode in ("LA", "RGBA") for ending in (".png", ".tif", ".webp"))],
)
def test_what_is_hidden_leaves_no_trace(tmp_path: Path, mode: str, ending: str) -> None:
    path = tmp_path / f"picture{ending}"
    if ending == ".webp":
        Image.open(saved(tmp_path / "whole.png", mode)).save(path, lossless=True, exact=True)
    else:
        saved(path, mode)
    black, half, *hidden = pixels(path)
    assert (black, hidden) == (0, [GROUND, GROUND])
    assert half == round(GROUND * (255 - 128) / 255)
    with opened(str(path)) as image:
        assert is_transparent(image)


def test_a_palette_with_an_alpha_channel(tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    index, alpha = np.array([[0, 1]], np.uint8), np.array([[255, 0]], np.uint8)
    image = Image.fromarray(index).convert("PA")
    image.putalpha(Image.fromarray(alpha))
    image.save(path)
    with opened(str(path)) as read:
        assert read.mode == "PA"
        assert is_gray(read)
        assert np.asarray(on_ground(read, "L", GROUND)).tolist() == [[0, GROUND]]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK"])
def test_an_opaque_picture_is_what_it_was(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.tif"
    noise_HW = np.random.default_rng(0).integers(0, 256, (5, 6), dtype=np.uint8)
    image = Image.fromarray(noise_HW).convert(mode)
    image.save(path)
    with opened(str(path)) as read:
        assert not is_transparent(read)
        assert np.array_equal(on_ground(read, "RGB", GROUND), image.convert("RGB"))


def test_an_alpha_channel_that_hides_nothing_is_not_transparent(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("RGBA", (2, 2), (1, 2, 3, 255)).save(path)
    with opened(str(path)) as image:
        assert not is_transparent(image)


@pytest.mark.parametrize("format", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_content_tells_a_picture(tmp_path: Path, format: str) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (4, 3)).save(path, format=format)
    assert is_picture(str(path))


@pytest.mark.parametrize(
    "content",
    [b"", b"P1 is a class\n", b"P5\nno numbers", b"BM", b"BMW, Audi", b"GIF", b"\xff\xd8\xff", b"II*\x00", b"words"],
)
def test_content_tells_what_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_picture(str(path))
