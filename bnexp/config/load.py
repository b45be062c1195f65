"""From a YAML file and `key=value` overrides to a checked configuration, or to the list of all its problems."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bnexp.config.check import check
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.hints import hint
from bnexp.config.overrides import override
from bnexp.config.plain import odd_values, plain
from bnexp.config.reader import read_mapping
from bnexp.config.text import printable
from bnexp.errors import ConfigError, InputError, Problem

COMMAND_LINE = "command line"


def load(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a configuration file; the experiment is named after the file where it has no name.

    Args:
        path: the YAML file.
        overrides: `dotted.key=value` with the value in YAML, applied in turn.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: all other problems, listed at once.
    """
    return resolve({"name": path.stem} | read_mapping(path), str(path), overrides)


def resolve(raw: Mapping[str, Any], source: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Check a raw configuration and return its resolved form; `source` names it in messages.

    Raises:
        ConfigError: lists every problem.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError([Problem(source, "", "expected a mapping of keys")])
    merged = dict(raw)
    problems: list[Problem] = []
    for written in overrides:
        try:
            override(merged, written)
        except (ValueError, InputError) as error:
            problems.append(Problem(COMMAND_LINE, printable(written), printable(str(error))))
    config, found = check(merged)
    # What is wrong without the overrides too is the file's fault.
    in_file = set(check(raw)[1]) if overrides and found else found
    # Hints write values as YAML, which can't hold odd ones.
    hinted = None if not found or any(odd_values(merged)) else plain(merged)
    for key, message in found:
        typed = (key, message) not in in_file
        said = message if hinted is None else message + hint(hinted, key, typed=typed)
        problems.append(Problem(COMMAND_LINE if typed else source, printable(key), printable(said)))
    if problems or config is None:
        raise ConfigError(problems)
    return config
