"""Any tree of pictures as a data set: decoded once, read from the cache from then on."""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from bnexp.config.data import DataSettings
from bnexp.config.text import escaped
from bnexp.data import image_cache
from bnexp.data.picture_tree import Picture, PictureTree, first_size, image_shape, opened, scan
from bnexp.data.raw import RawImages, fixed_order
from bnexp.data.room import free_memory
from bnexp.errors import InputError


def read(settings: DataSettings) -> RawImages:
    """Return the pictures below data.root, both splits in a fixed shuffled order; C is 1 if all are grayscale, else 3.

    Raises:
        InputError: the tree is not as expected, a picture is unreadable or of another size than the first, or all of
            them together don't fit the free memory.
    """
    tree = scan(settings.root)
    train, test = _shuffled(tree.train), _shuffled(tree.test)
    cache = image_cache.path_for(tree)
    images = image_cache.read(cache, tree, first_size(tree), room=free_memory())
    if images is None:
        images = _decode_all(tree, train, test)
        image_cache.write(cache, images)
    return RawImages(images["train"], _labels(train), images["test"], _labels(test), len(tree.classes))


def _shuffled(pictures: Sequence[Picture]) -> list[Picture]:
    # By class, as the tree is sorted, the first N images would all be of the first class.
    return [pictures[index] for index in fixed_order(len(pictures))]


def _labels(pictures: Sequence[Picture]) -> NDArray[np.int64]:
    return np.array([picture.label for picture in pictures], dtype=np.int64)


def _decode_all(tree: PictureTree, train: list[Picture], test: list[Picture]) -> dict[str, NDArray[np.uint8]]:
    shape, first = image_shape(tree), tree.train[0].path
    needed, free = (len(train) + len(test)) * prod(shape), free_memory()
    if needed > free:
        raise InputError(
            f"data.root: {len(train) + len(test)} pictures of {shape[2]}x{shape[1]} pixels take {needed / 2**30:.1f} "
            f"GiB, and {free / 2**30:.1f} GiB of memory are free; shrink the pictures, or keep fewer of them"
        )
    return {"train": _decode(train, shape, first), "test": _decode(test, shape, first)}


def _decode(pictures: Sequence[Picture], shape: tuple[int, int, int], first: str) -> NDArray[np.uint8]:
    """Return the pictures as uint8 (N, C, H, W)."""
    channels, height, width = shape
    mode = "L" if channels == 1 else "RGB"
    images_NCHW = np.empty((len(pictures), *shape), dtype=np.uint8)
    # One thread: small pictures are decoded faster than a pool hands them out (60,000 of 32x32: 5 s, two threads 8 s).
    for index, picture in enumerate(pictures):
        with opened(picture.path) as image:
            if image.size != (width, height):
                found = f"{image.width}x{image.height} pixels, but {first} is {width}x{height}"
                raise InputError(escaped(f"data.root: {picture.path} is {found}; resize the pictures to one size"))
            pixels_HWC = np.asarray(image.convert(mode)).reshape(height, width, channels)
        images_NCHW[index] = pixels_HWC.transpose(2, 0, 1)
    return images_NCHW
