"""The class folders of a picture tree: what is said where they can't be trained on."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from bnexp.config.text import escaped
from bnexp.errors import InputError

LAYOUT = "image_folder needs pictures under train/<class>/ and test/<class>/"
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")
"""Folders that archives and network drives put beside one's own."""
MOST_NAMES = 5
"""Folders named in a message at most."""


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is there for a program, and not shown to people."""
    return name[0] == "." or name in SYSTEM_FOLDERS


def check_classes(root: Path, found: Mapping[str, Sequence[str]]) -> None:
    """Check the names of the classes.

    Args:
        root: the folder that holds train/ and the others.
        found: sorted names of the class folders, by split: train, perhaps val, test.

    Raises:
        InputError: there are fewer than two, or a split has others than train/.
    """
    classes = found["train"]
    if not classes:
        raise InputError(f"data.root: {root / 'train'} holds no class folder; {LAYOUT}")
    for split, others in found.items():
        if others != classes:
            odd = sorted({*classes} ^ {*others})
            message = f"data.root: train/ and {split}/ of {root} must hold the same classes; in only one: "
            raise InputError(escaped(message + ", ".join(odd) + _one_name(odd)))
    if len(classes) == 1:
        raise InputError(escaped(_one_class(root / "train", classes[0])))


def _one_name(odd: Sequence[str]) -> str:
    """Say which two names differ in capitals, or in how their accents are stored, alone."""
    by_name: dict[str, str] = {}
    for name in odd:
        same = by_name.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if same != name:
            return f" ({same} and {name} are two spellings of one name; rename one)"
    return ""


def _one_class(train: Path, name: str) -> str:
    inside = sorted(entry.name for entry in os.scandir(train / name) if entry.is_dir() and not is_hidden(entry.name))
    message = f"data.root: {train} holds a single class, {name}, and there is nothing to tell apart; "
    if not inside:
        return message + "it takes a folder for each of two classes or more"
    named = ", ".join(inside[:MOST_NAMES]) + (", …" if len(inside) > MOST_NAMES else "")
    return message + f"if the folders in it are the classes ({named}), move them up into train/, and in test/ likewise"
