"""Reading .npz files from any source: nothing is unpickled, and nothing is read that doesn't fit into memory."""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bnexp.config.text import escaped
from bnexp.data.machine import check_room, free_memory
from bnexp.errors import InputError

MAPPED_SHARE = 4
"""Arrays of bytes that would take more than this part of the free memory stay on the disk."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")


@dataclass(frozen=True)
class Member:
    """One array of a file, of which only the header was read."""

    info: ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    header: int
    """Bytes in front of its numbers."""

    @property
    def nbytes(self) -> int:
        """Size of its numbers."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def mappable(self) -> bool:
        """True if it is bytes that are stored as they lie in memory."""
        return self.info.compress_type == ZIP_STORED and not self.fortran and self.dtype == np.uint8


def read_npz(path: Path, named: Callable[[str], str | None]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays of a file by their names in bnexp, and the names of those that are not read.

    Arrays of bytes that would take much of the memory are read-only views of the file.

    Args:
        path: the file.
        named: from an array's name in the file to its name here; None where it isn't read.

    Raises:
        InputError: it is no such file, is damaged, holds Python objects, or what is read doesn't fit the memory.
    """
    with _blamed_on(path), ZipFile(path) as archive:
        infos = [(info.filename.removesuffix(".npy"), info) for info in archive.infolist()]
        members: dict[str, Member] = {}
        for name, info in infos:
            if known := named(name):
                if known in members:
                    raise ValueError(f"{known} is there twice; the second is called {name}")
                members[known] = _member(archive, name, info)
        left_out = [name for name, _ in infos if not named(name)]
        most = free_memory() // MAPPED_SHARE
        mapped = {name for name, each in members.items() if each.mappable and each.nbytes > most}
        needed = sum(each.nbytes for name, each in members.items() if name not in mapped)
        check_room(
            f"data.root: the arrays of {path}", needed, "store fewer or smaller ones, as uint8 if they are images"
        )
        read = {name: (_mapped if name in mapped else _in_memory)(archive, each) for name, each in members.items()}
        return read, left_out


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except BadZipFile as cause:
        message = f"data.root: {path} is not an .npz file, or a damaged one ({cause}); numpy.savez writes such files"
        raise InputError(escaped(message)) from cause
    except Exception as cause:  # damage breaks in zipfile, zlib or NumPy, each of which has its own errors
        reason = str(cause) or type(cause).__name__
        raise InputError(escaped(f"data.root: {path} can't be read ({reason}); write it again")) from cause


def _member(archive: ZipFile, name: str, info: ZipInfo) -> Member:
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file)
        member = Member(info, shape, dtype, fortran, file.tell())
    if dtype.hasobject:
        raise InputError(
            f"data.root: {name} of {archive.filename} holds Python objects, which could run any program and are never "
            f"read; store numbers or text: {name}.astype(float), {name}.astype(int) or {name}.astype(str)"
        )
    if info.file_size != member.header + member.nbytes:
        raise ValueError(f"{name} claims the shape {shape}, but is longer or shorter")
    return member


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"arrays of version {version[0]}.{version[1]} are not read")
    return npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)


def _in_memory(archive: ZipFile, member: Member) -> NDArray[Any]:
    with archive.open(member.info) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array


def _mapped(archive: ZipFile, member: Member) -> NDArray[np.uint8]:
    path, begin = str(archive.filename), member.info.header_offset
    with open(path, "rb") as raw:
        raw.seek(begin)
        signature, name, extra = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
    start = begin + _LOCAL_HEADER.size + name + extra + member.header
    if signature != b"PK\x03\x04" or start + member.nbytes > os.path.getsize(path):
        raise BadZipFile("an array lies outside the file")
    return np.memmap(path, np.uint8, "r", start, member.shape)
