"""Decoded pictures kept in a file, so that a tree is decoded once; losing the file costs only time."""

import hashlib
import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bnexp.data.folders import shared_folder
from bnexp.data.picture_tree import PictureTree

Arrays = dict[str, NDArray[np.uint8]]
"""Images (N, C, H, W) under the keys train and test."""


def path_for(tree: PictureTree) -> Path:
    """Return the cache file of a tree; any change to a picture's path, size or time stamp gives another one."""
    digest = hashlib.sha256(b"bnexp image cache, version 1")
    # Absolute paths: archives unpack with fixed time stamps, and bitmaps of one shape have one size.
    for picture in (*tree.train, *tree.test):
        digest.update(f"{picture.path}\0{picture.size}\0{picture.mtime_ns}\0".encode(errors="surrogateescape"))
    return shared_folder() / "image_folder_cache" / f"{tree.root.name}-{digest.hexdigest()[:32]}.npz"


def read(path: Path) -> Arrays | None:
    """Return the arrays, or None where the file is missing or damaged (its checksums tell)."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {split: arrays[split] for split in ("train", "test")}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def write(path: Path, arrays: Arrays) -> None:
    """Keep the arrays: all of them or, where the folder can't be written, none; never an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            try:
                np.savez(file, train=arrays["train"], test=arrays["test"])
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:  # also Ctrl-C
                os.unlink(file.name)
                raise
    except OSError:
        pass  # a full disk or a read-only folder: the pictures are decoded again next time
