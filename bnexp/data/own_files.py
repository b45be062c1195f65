"""Where the user's own files are, and the digest that ties a run to their content. Torch-free."""

import hashlib
import os
from pathlib import Path

from bnexp.config.data import DATASETS, DataSettings
from bnexp.config.experiment import ExperimentConfig, cell_settings, first_stage
from bnexp.config.keys import below
from bnexp.config.origin import naming
from bnexp.config.text import escaped
from bnexp.data.machine import expanded, shared_folder
from bnexp.errors import InputError

SPLITS = ("train", "val", "test")
DIGITS = 16
"""Digits of a digest: they tell files apart, and fit a table."""


def kept_arrays() -> Path:
    """Return the folder that arrays given from Python are kept in, in files named by their digests."""
    return shared_folder() / "arrays"


def own_files(settings: DataSettings) -> list[Path]:
    """Return the files of `arrays` or `csv`: one, or those of a folder, train first.

    Raises:
        InputError: there is no such file, or no root is given.
    """
    name, root = settings.name, settings.root
    if root is None and name == "arrays" and settings.digest:
        if not os.path.isfile(path := kept_arrays() / f"{settings.digest}.npz"):
            raise InputError(
                f"data.digest: {path} kept the arrays of this run and is gone; call bnexp.run with "
                "the same data= again, or set BNEXP_DATA as it was"
            )
        return [path]
    if root is None:
        python = ", or give data= to bnexp.run" if name == "arrays" else ""
        raise InputError(f"data.root: null, but {name} reads your own files; set data.root to the file{python}")
    path = expanded(root, "data.root")
    if os.path.isdir(path) and name == "csv":
        files = [path / f"{split}.csv" for split in SPLITS if os.path.isfile(path / f"{split}.csv")]
        if {"train.csv", "test.csv"} <= {file.name for file in files}:
            return files
        raise InputError(
            escaped(f"data.root: {path} has no train.csv and test.csv; name one file, which data.split_seed splits")
        )
    if not os.path.isfile(path):
        what = "is not a file" if os.path.exists(path) else "is not there"
        remedy = "put it back" if settings.digest else f"name the file that {name} is to read"
        raise InputError(escaped(f"data.root: {path.absolute()} {what}; {remedy}"))
    return [path]


def checked_files(settings: DataSettings) -> list[Path]:
    """Return the files of a data set; their digest is the one in the settings, if any is set.

    Raises:
        InputError: they are not there, or have changed.
    """
    files = own_files(settings)
    if isinstance(settings.digest, str) and (now := _digest(files)) != settings.digest:
        raise InputError(escaped(changed_text(files[0] if len(files) == 1 else files[0].parent, now, settings.digest)))
    return files


def changed_text(path: Path, now: str, expected: str) -> str:
    """Say that files are no longer those of a digest."""
    return (
        f"data.digest: {path} has changed: its digest is now {now}, not {expected}; put it back as it was, or train on "
        "this one as a new run"
    )


def pinned(config: ExperimentConfig, source: str = "") -> ExperimentConfig:
    """Return an experiment with the digest of the files it trains on, so that other files are another run.

    If arms or sweeps change the file, there are several digests, each under its `data.root`. `source` names the
    experiment in messages.

    Raises:
        InputError: they are not there.
    """
    if config.data.digest:
        return config
    keys = {*config.swept, *config.tune.options, *(key for arm in config.arms.values() for key in arm)}
    several = any(below(key, "data.name") or below(key, "data.root") or key == "data" for key in keys)
    stages = first_stage(config) if several else ()
    cells = [cell for stage in stages for cell in cell_settings(stage, ["data"])] or [{"": config.base}]
    found: dict[str, str] = {}
    with naming(source, config.origin):
        for data in (settings.data for cell in cells for settings in cell.values()):
            if "digest" in DATASETS[data.name].options and str(data.root) not in found:
                found[str(data.root)] = _digest_now(data)
    digest = found if several else found.get(str(config.data.root))
    return config.model_copy(update={"data": config.data.model_copy(update={"digest": digest or None})})


def _digest_now(settings: DataSettings) -> str:
    if settings.name == "image_folder":
        from bnexp.data.image_folder import digest  # takes PIL

        return digest(settings)
    return _digest(own_files(settings))


def digest_of(path: Path) -> str:
    """Return the first DIGITS of the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _digest(files: list[Path]) -> str:
    try:
        digests = [f"{path.stem} {digest_of(path)}" for path in files]
    except OSError as cause:
        raise InputError(escaped(f"data.root: {cause.filename} can't be read ({cause.strerror})")) from cause
    if len(files) == 1:
        return digests[0].split()[-1]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:DIGITS]
