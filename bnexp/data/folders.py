"""Where data sets are looked for, and where decoded pictures are kept."""

import os
from pathlib import Path

from bnexp.config.data import DataSettings
from bnexp.errors import InputError


def shared_folder() -> Path:
    """Return the folder of data sets: $BNEXP_DATA, else the user's cache folder. It may not exist yet."""
    if named := os.environ.get("BNEXP_DATA"):
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "bnexp"


def data_folder(settings: DataSettings) -> Path:
    """Return the folder that holds the files of a data set: data.root, else the shared folder.

    Raises:
        InputError: something is there, but it is not a folder.
    """
    folder = shared_folder() if settings.root is None else Path(settings.root).expanduser().absolute()
    if os.path.exists(folder) and not os.path.isdir(folder):  # unlike Path's own, never an error
        key = "BNEXP_DATA" if settings.root is None else "data.root"
        raise InputError(f"{key}: {folder} is not a folder; set it to the folder that holds the data sets")
    return folder
