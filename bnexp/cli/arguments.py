"""What the words on the command line mean: configurations, runs, and settings to override."""

import os
from pathlib import Path


def split(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Tell configurations from overrides: an override has a `=` and is no file.

    Raises:
        InputError: no configuration, or one that can't be found.
    """
    from bnexp.config.shipped import find
    from bnexp.errors import InputError

    overrides = [word for word in arguments if "=" in word and not os.path.exists(word)]
    paths = [find(word) for word in arguments if word not in overrides]
    if not paths:
        raise InputError("no configuration given; try bnexp run configs/quickstart.yaml, or bnexp list configs")
    return paths, overrides


def config_or_run(word: str, runs: Path) -> Path:
    """Return the configuration file of what a word names: a run folder, a file, a shipped name, or a run by its name.

    Raises:
        InputError: none of these; the message lists what there is.
    """
    from bnexp.errors import InputError
    from bnexp.store.finding import find_run
    from bnexp.store.layout import CONFIG

    if os.path.isdir(word):
        return find_run(word, runs).path / CONFIG
    try:
        return split([word])[0][0]
    except InputError as no_config:
        try:
            return find_run(word, runs).path / CONFIG
        except InputError as no_run:
            raise InputError(f"{no_config}\n{no_run}") from None
