"""Decoded pictures kept in a file, so that a tree is decoded once; losing the file costs only time."""

import hashlib
import os
from math import prod
from pathlib import Path
from tempfile import NamedTemporaryFile
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bnexp.data.image_tree import PictureTree
from bnexp.data.machine import shared_folder

Arrays = dict[str, NDArray[np.uint8]]
"""Images (N, C, H, W) under the keys train, val and test; under ground the grey value of what transparent pictures were
laid on, or none."""
GROUNDS = ((0,), (1,))
"""Shapes that the ground can have."""


def path_for(tree: PictureTree) -> Path:
    """Return the cache file of a tree; any change to a picture's path, size or time stamp gives another one."""
    digest = hashlib.sha256(b"bnexp image cache, version 2")
    # Absolute paths: archives unpack with fixed time stamps, and bitmaps of one shape have one size.
    for picture in tree.pictures:
        digest.update(f"{picture.path}\0{picture.size}\0{picture.mtime_ns}\0".encode(errors="surrogateescape"))
    return shared_folder() / "image_folder_cache" / f"{tree.root.name}-{digest.hexdigest()[:32]}.npz"


def read(path: Path, tree: PictureTree, size: tuple[int, int], room: int) -> Arrays | None:
    """Return the arrays of a tree, or None where the file is missing, damaged or of another content.

    What the file says of itself is looked at before memory is taken for it, and its checksums while it is read.

    Args:
        path: the file.
        tree: whose pictures they are.
        size: H, W of every picture.
        room: bytes that the arrays may take.
    """
    counts = {split: len(pictures) for split, pictures in tree.splits.items()}
    allowed = [
        {split: (count, channels, *size) for split, count in counts.items()} | {"ground": ground}
        for channels in (1, 3)
        for ground in GROUNDS
    ]
    if not os.path.isfile(path):
        return None
    try:
        with ZipFile(path) as archive:
            shapes = {key: _shape(archive, key) for key in (*counts, "ground")}
            if shapes not in allowed or sum(map(prod, shapes.values())) > room:
                return None
            return {key: _array(archive, key) for key in shapes}
    except Exception:  # a damaged file breaks in zipfile, zlib or NumPy, each of which has its own errors
        return None


def _shape(archive: ZipFile, key: str) -> tuple[int, ...]:
    with archive.open(f"{key}.npy") as member:
        if npy.read_magic(member) != (1, 0):  # as np.savez writes them
            raise ValueError("another version of the format")
        shape, _, dtype = npy.read_array_header_1_0(member)
    if dtype != np.uint8:
        raise ValueError(f"numbers of type {dtype}")
    return tuple(shape)


def _array(archive: ZipFile, key: str) -> NDArray[np.uint8]:
    with archive.open(f"{key}.npy") as member:
        array: NDArray[np.uint8] = npy.read_array(member, allow_pickle=False)
    return array


def write(path: Path, arrays: Arrays) -> None:
    """Keep the arrays: all of them or, where the folder can't be written, none; never an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            try:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:  # also Ctrl-C
                os.unlink(file.name)
                raise
    except OSError:
        pass  # a full disk or a read-only folder: the pictures are decoded again next time
