"""Any tree of pictures as a data set: decoded once, read from the cache from then on.

Transparent pictures are laid on one ground, the same for all: white, or black where what the training pictures show is
light, so that neither black nor white ink on nothing gets lost. Colours under what is fully transparent never count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bnexp.config.data import DataSettings
from bnexp.config.text import escaped
from bnexp.data import image_cache
from bnexp.data.catalog import BACKGROUNDS
from bnexp.data.image_tree import Picture, PictureTree, first_size, image_shape, is_transparent, on_ground, opened, scan
from bnexp.data.machine import free_memory
from bnexp.data.raw import RawImages, fixed_order
from bnexp.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE, BLACK = BACKGROUNDS["white"], BACKGROUNDS["black"]
MID_GREY = 127.5


def read(settings: DataSettings) -> RawImages:
    """Return the pictures below data.root, each split in a fixed shuffled order.

    C is 1 if all files are of a grey kind (grey, bilevel, either with alpha, or a palette with only greys in use),
    else 3.

    Raises:
        InputError: the tree is not as expected, a picture is unreadable or of another size than the first, or all of
            them together don't fit the free memory.
    """
    tree = scan(settings.root)
    splits = {split: _shuffled(pictures) for split, pictures in tree.splits.items()}
    cache = image_cache.path_for(tree)
    arrays = image_cache.read(cache, tree, first_size(tree), room=free_memory())
    if arrays is None:
        arrays = _decode_all(tree, splits)
        image_cache.write(cache, arrays)
    labels = {split: _labels(pictures) for split, pictures in splits.items()}
    ground = next((name for name, value in BACKGROUNDS.items() if value in arrays["ground"]), "")
    return RawImages(
        arrays["train"],
        labels["train"],
        arrays["test"],
        labels["test"],
        len(tree.classes),
        val=(arrays["val"], labels["val"]) if tree.val else None,
        findings=replace(tree.findings, background=ground),
    )


def _shuffled(pictures: Sequence[Picture]) -> list[Picture]:
    # By class, as the tree is sorted, the first N images would all be of the first class.
    return [pictures[index] for index in fixed_order(len(pictures))]


def _labels(pictures: Sequence[Picture]) -> NDArray[np.int64]:
    return np.array([picture.label for picture in pictures], dtype=np.int64)


def _decode_all(tree: PictureTree, splits: dict[str, list[Picture]]) -> image_cache.Arrays:
    decoder = Decoder(image_shape(tree), tree.train[0].path)
    decoder.check_room(len(tree.pictures))
    arrays = {split: np.empty((len(pictures), *decoder.shape), np.uint8) for split, pictures in splits.items()}
    transparent = {split: _decode(decoder, pictures, arrays[split]) for split, pictures in splits.items()}
    if not any(transparent.values()):
        return arrays | {"ground": np.empty(0, np.uint8)}
    ground = _ground([splits["train"][index] for index in transparent["train"]])
    for split, indices in transparent.items():
        for index in indices:
            with opened(splits[split][index].path) as image:
                arrays[split][index] = decoder.pixels(image, ground)
    return arrays | {"ground": np.array([ground], np.uint8)}


def _decode(decoder: "Decoder", pictures: Sequence[Picture], images_NCHW: NDArray[np.uint8]) -> list[int]:
    """Fill in the pictures that nothing shines through, and return the numbers of the others."""
    transparent = []
    # One thread: small pictures are decoded faster than a pool hands them out (60,000 of 32x32: 5 s, two threads 8 s).
    for index, picture in enumerate(pictures):
        with opened(picture.path) as image:
            decoder.check_size(image, picture.path)
            if is_transparent(image):
                transparent.append(index)
            else:
                images_NCHW[index] = decoder.pixels(image, WHITE)
    return transparent


def _ground(pictures: Sequence[Picture]) -> int:
    """Return white, or black where the pictures are light: on average, each pixel as far as it is opaque."""
    light = opaque = 0.0
    for picture in pictures:
        with opened(picture.path) as image:
            whole = image.convert("RGBA")
            alpha_HW = np.asarray(whole.getchannel("A"), dtype=float)
            light += float((alpha_HW * np.asarray(whole.convert("RGB").convert("L"))).sum())
            opaque += float(alpha_HW.sum())
    return BLACK if light > MID_GREY * opaque else WHITE


@dataclass(frozen=True)
class Decoder:
    """Turns pictures of one size into arrays."""

    shape: tuple[int, int, int]
    """C, H, W."""
    first: str
    """Path of the picture that the others have to be as large as."""

    def check_room(self, pictures: int) -> None:
        """Refuse so many pictures where they don't fit the free memory."""
        needed, free = pictures * prod(self.shape), free_memory()
        if needed > free:
            raise InputError(
                f"data.root: {pictures} pictures of {self.shape[2]}x{self.shape[1]} pixels take "
                f"{needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free; shrink the pictures, or "
                "keep fewer of them"
            )

    def check_size(self, image: "Image", path: str) -> None:
        """Refuse a picture of another size."""
        height, width = self.shape[1:]
        if image.size != (width, height):
            found = f"{image.width}x{image.height} pixels, but {self.first} is {width}x{height}"
            raise InputError(escaped(f"data.root: {path} is {found}; resize the pictures to one size"))

    def pixels(self, image: "Image", ground: int) -> NDArray[np.uint8]:
        """Return an image as uint8 (C, H, W), on a ground where it is transparent."""
        channels, height, width = self.shape
        flat = on_ground(image, "L" if channels == 1 else "RGB", ground)
        return np.asarray(flat).reshape(height, width, channels).transpose(2, 0, 1)
