"""Arrays of one's own as a data set: an .npz file, or arrays from Python, which are kept as one."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.config.data import DataSettings
from bnexp.config.text import counted, escaped, listed
from bnexp.data.catalog import Findings
from bnexp.data.machine import check_room
from bnexp.data.npz import read_npz
from bnexp.data.own_files import SPLITS, checked_files, digest_of, kept_arrays
from bnexp.data.raw import RawImages, RawSplit, fixed_order, split_off
from bnexp.errors import InputError

Arrays = Mapping[str, NDArray[Any]]
"""x and y, or x_train, y_train and so on, by name."""

EXPECTED = "x_train, y_train, x_test and y_test (and perhaps x_val and y_val), or x and y"
CHANNELS = (1, 2, 3, 4)
"""Numbers of channels that images are taken to have where an axis has to be told from another."""
LARGEST = float(np.finfo(np.float32).max)
MOST_NAMED = 12
"""Classes, or arrays that are not read, that are named."""


def read(settings: DataSettings) -> RawImages:
    """Return the images, or rows of features, of an .npz file.

    Raises:
        InputError: there is no such file, it is damaged or has changed, or nothing can be trained on what is in it.
    """
    (path,) = checked_files(settings)
    arrays, left_out = read_npz(path, array_name)
    try:
        raw = from_arrays(arrays, settings)
    except ValueError as flaw:
        raise InputError(escaped(f"data.root: {path}: {flaw}")) from None
    if left_out:
        remark = f"not read: {_first_names(map(escaped, left_out))}"
        raw = replace(raw, findings=replace(raw.findings, remarks=(*raw.findings.remarks, remark)))
    return raw


def array_name(written: str) -> str | None:
    """Return what an array is called here, also where it is called X_train or train_images elsewhere."""
    name = re.sub(
        r"^(train|val|test)_(images|labels)$", lambda found: f"{'xy'[found[2] == 'labels']}_{found[1]}", written
    )
    return name.lower() if re.fullmatch(r"[xy](_(train|val|test))?", name.lower()) else None


def keep(settings: DataSettings, given: Sequence[Any] | Mapping[str, Any]) -> DataSettings:
    """Keep arrays from Python in the folder of data sets, and return settings that name them by their digest.

    The same arrays are kept once.

    Args:
        settings: of the experiment that they are for.
        given: (x, y, x_test, y_test), (x, y), or a mapping with the names of an .npz file; arrays, tensors or tables.

    Raises:
        InputError: nothing can be trained on them, or they can't be written.
    """
    if not isinstance(given, Mapping):
        names = {2: ("x", "y"), 4: ("x_train", "y_train", "x_test", "y_test")}.get(len(given))
        if names is None:
            raise InputError(f"data: {counted(len(given), 'array')}; expected (x, y, x_test, y_test), or (x, y)")
        given = dict(zip(names, given, strict=True))
    settings = settings.model_copy(update={"name": "arrays", "root": None, "digest": None})
    try:
        arrays = {array_name(name) or name: _plain(name, array) for name, array in given.items()}
        from_arrays(arrays, settings)
    except ValueError as flaw:
        raise InputError(escaped(f"data: {flaw}")) from None
    folder = kept_arrays()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".") as temporary:
            path = Path(temporary) / "arrays.npz"
            np.savez(path, allow_pickle=False, **arrays)
            digest = digest_of(path)
            kept = folder / f"{digest}.npz"
            if not (kept.is_file() and digest_of(kept) == digest):  # on Windows another run may have it open
                os.replace(path, kept)
    except OSError as cause:
        reason = f"data: can't be kept in {folder} ({cause.strerror}); set BNEXP_DATA to a folder with room"
        raise InputError(escaped(reason)) from cause
    return settings.model_copy(update={"digest": digest})


def _plain(name: str, given: Any) -> NDArray[Any]:
    """Return a tensor on any device, a table or a list as an array of numbers or text."""
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    array = np.asarray(given)
    if array.dtype == object:
        if not all(isinstance(each, str) for each in array.flat):
            raise ValueError(f"{name} holds Python objects; give numbers or text, such as {name}.astype(float)")
        array = array.astype(str)
    return array


def from_arrays(arrays: Arrays, settings: DataSettings, features: Sequence[str] = ()) -> RawImages:
    """Return arrays as a data set.

    Labels become numbers from 0 in the order of np.unique. Where x and y stand alone, a part of them is split off for
    testing at random. Images that come sorted by class are put in the fixed order, since the first of them, or the
    last, would otherwise be of one class.

    Args:
        arrays: EXPECTED.
        settings: how to read them.
        features: their names, for tables.

    Raises:
        ValueError: nothing can be trained on them.
        ConfigError: no image is left to train on.
    """
    alone = set(arrays) == {"x", "y"}
    names = [""] if alone else [f"_{split}" for split in SPLITS if split != "val" or {"x_val", "y_val"} & set(arrays)]
    if lacking := [f"{which}{name}" for name in names for which in "xy" if f"{which}{name}" not in arrays]:
        found = f"found {listed(arrays)}" if arrays else "found none of them"
        raise ValueError(
            f"{listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing; expected {EXPECTED}; {found}"
        )
    remarks, warnings = list[str](), list[str]()
    if unread := sorted({*arrays} - {f"{which}{name}" for name in names for which in "xy"}):
        remarks.append(f"not read: {', '.join(unread)}")
    labels, classes = _classes({name: arrays[f"y{name}"] for name in names}, remarks, warnings)
    images = _images({name: arrays[f"x{name}"] for name in names}, settings, remarks)
    for name in names:
        if len(images[name]) != len(labels[name]):
            sizes = f"{counted(len(images[name]), 'row')}, and y{name} {counted(len(labels[name]), 'label')}"
            raise ValueError(f"x{name} has {sizes}; each row needs one")
    whole = {name.removeprefix("_"): RawSplit(images[name], labels[name]) for name in names}
    if alone:
        whole["train"], whole["test"], remark = split_off(whole[""], settings)
        remarks.append(remark)
    else:
        whole = {name: _mixed(name, split, remarks) for name, split in whole.items()}
    findings = Findings(remarks=tuple(remarks), warnings=tuple(warnings))
    return RawImages(whole["train"], whole["test"], classes, whole.get("val"), alone, tuple(features), findings)


def _mixed(name: str, split: RawSplit, remarks: list[str]) -> RawSplit:
    """Return images in the fixed order where neighbours are of one class much more often than by chance."""
    labels_N = split.labels_N
    changes = np.count_nonzero(labels_N[1:] != labels_N[:-1])
    shares = np.bincount(labels_N) / len(labels_N)
    if changes >= (len(labels_N) - 1) * (1 - (shares**2).sum()) / 2:
        return split
    remarks.append(f"x_{name} is sorted by class, and was put in a fixed random order")
    return split.reordered(fixed_order(len(labels_N)))


# Labels.


def _classes(labels: Arrays, remarks: list[str], warnings: list[str]) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Return labels as numbers from 0, and how many classes there are: those of the training images."""
    known = {name: _checked_labels(f"y{name}", each) for name, each in labels.items()}
    first, trained = next(iter(known.items()))
    values, numbers = np.unique(trained, return_inverse=True)
    if len(values) < 2:
        raise ValueError(f"y{first} holds a single class, {values[0]}, and there is nothing to tell apart")
    numbered = {first: numbers.astype(np.int64)}
    for name, each in known.items():
        if (each.dtype.kind == "U") != (trained.dtype.kind == "U"):
            raise ValueError(f"y{name} and y{first} are of {each.dtype} and {trained.dtype}; give both in one way")
        if len(others := np.setdiff1d(each, values)):
            raise ValueError(f"y{name} has the label {others[0]}, which y{first} doesn't have")
        if len(lacking := np.setdiff1d(values, each)):
            warnings.append(f"y{name} lacks labels that y{first} has: {_first_names(map(str, lacking))}")
        numbered[name] = np.searchsorted(values, each).astype(np.int64)
    if values.dtype.kind == "U" or not np.array_equal(values, np.arange(len(values))):
        remarks.append(f"classes, from 0: {_first_names(map(str, values))}")
    return numbered, len(values)


def _first_names(names: Iterable[str]) -> str:
    """Return the first names, and dots for the others."""
    first = list(islice(names, MOST_NAMED + 1))
    return ", ".join([*first[:MOST_NAMED], *(["…"] if len(first) > MOST_NAMED else [])])


def _checked_labels(name: str, labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels (N,) as integers or text."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        one_hot = f"; for one-hot rows, give {name}.argmax(1)" if labels.ndim == 2 else ""
        raise ValueError(f"{name} has the shape {labels.shape}, expected one label for each image{one_hot}")
    if not len(labels):
        raise ValueError(f"{name} is empty")
    if labels.dtype.kind == "S":
        try:
            return np.char.decode(labels, "utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{name} has text that isn't UTF-8") from None
    if labels.dtype.kind not in "biuU":
        raise ValueError(
            f"{name} is of {labels.dtype}; classes are integers or text: {name}.astype(int), if these numbers "
            "aren't a quantity to predict"
        )
    return labels.astype(np.uint8) if labels.dtype.kind == "b" else labels


# Images.


def _images(images: Arrays, settings: DataSettings, remarks: list[str]) -> dict[str, NDArray[Any]]:
    """Return images (N, C, H, W), bytes or floats; rows of features are (N, F, 1, 1)."""
    first, trained = next(iter(images.items()))
    for name, each in images.items():
        if each.dtype.kind not in "biuf":
            raise ValueError(f"x{name} is of {each.dtype}; expected numbers: uint8 or floats")
        if each.ndim not in (2, 3, 4) or not each.size:
            raise ValueError(
                f"x{name} has the shape {each.shape}; expected N×F, N×H×W, N×H×W×C or N×C×H×W, none of them 0"
            )
        if each.shape[1:] != trained.shape[1:]:
            raise ValueError(
                f"x{name} and x{first} have the shapes {each.shape} and {trained.shape}; only N may differ"
            )
        if (each.dtype.kind == "f") != (trained.dtype.kind == "f"):
            raise ValueError(f"x{name} and x{first} are of {each.dtype} and {trained.dtype}; give both in one way")
    last = trained.ndim == 4 and _channels_last(trained.shape, settings, remarks)
    all_bytes = all(each.dtype == np.uint8 for each in images.values())
    return {name: _placed(each if all_bytes else _floats(f"x{name}", each), last=last) for name, each in images.items()}


def _channels_last(shape: tuple[int, ...], settings: DataSettings, remarks: list[str]) -> bool:
    """Tell whether the last axis has the channels, and not the second."""
    if settings.channels:
        return settings.channels == "last"
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        either = "both the second and the last axis" if first else "neither the second nor the last axis"
        raise ValueError(f"of the shape {shape} {either} could be channels; set data.channels: first or last")
    axis = "last" if last else "second"
    remarks.append(f"the {axis} axis of {'×'.join(['N', *map(str, shape[1:])])} is taken for the channels")
    return last


def _placed(images: NDArray[Any], *, last: bool) -> NDArray[Any]:
    if images.ndim == 2:
        return images[:, :, None, None]
    if images.ndim == 3:
        return images[:, None]
    if not last:
        return images
    check_room("data: images with their channels in front", images.nbytes, "store them as N×C×H×W")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _floats(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return finite numbers as float32, or as float64 where they need it."""
    small = values.dtype.itemsize < 4 or values.dtype.newbyteorder("=") == np.float32
    dtype = np.float32 if small else np.float64
    if values.dtype != dtype:
        check_room(f"data: {name} as {np.dtype(dtype).name}", values.size * dtype().itemsize, "store fewer rows")
        values = values.astype(dtype)
    low, high = values.min(), values.max()  # either is NaN where any value is
    if not (low >= -LARGEST and high <= LARGEST):
        wrong = np.argwhere(~(np.abs(values) <= LARGEST))
        place = ", ".join(map(str, wrong[0]))
        more = f"{counted(len(wrong), 'value')} of it {'is' if len(wrong) == 1 else 'are'} NaN or beyond {LARGEST:.1e}"
        raise ValueError(f"{name}[{place}] is {values[tuple(wrong[0])]}; {more}; leave these rows out or fill them in")
    return values
