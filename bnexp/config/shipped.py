"""The configurations that come with bnexp, and finding the file that a name stands for."""

import os
from pathlib import Path

from bnexp.errors import InputError, nearest


def shipped(below: str = "") -> dict[str, Path]:
    """Return the shipped configuration files by name, in alphabetical order; below `claims`, the claims."""
    package = Path(__file__).resolve().parent.parent
    # An installed wheel carries them inside the package; a checkout has them beside it.
    folder = next(place for place in (package / "shipped", package.parent / "configs") if place.is_dir())
    return {path.stem: path for path in sorted((folder / below).glob("*.yaml"))}


def find(written: str) -> Path:
    """Return the file meant by a path, or by the name of a shipped configuration.

    `configs/NAME.yaml` means the shipped file too where there is no such path, so that the documented
    commands work from any folder.

    Raises:
        InputError: neither a file nor a shipped name; the message lists what there is.
    """
    path, known = Path(written), shipped()
    named = path.stem in known and str(path) in (path.stem, f"configs/{path.stem}.yaml")
    if os.path.isfile(path) or (os.path.exists(path) and not named):  # unlike Path's own, never an error
        return path
    if named:
        return known[path.stem]
    hint = nearest(path.stem, list(known))
    raise InputError(f"{written}: no such file, nor a shipped configuration{hint}; shipped are {', '.join(known)}")
