"""From a YAML file, a mapping or a shipped name, with `key=value` overrides, to a checked configuration."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from glob import escape, glob
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bnexp.config.experiment import ExperimentConfig, default_arms
from bnexp.config.keys import check_key, get, put
from bnexp.config.model import ModelSettings
from bnexp.config.norm import NormSettings
from bnexp.config.origin import COMMAND_LINE, OVERRIDES, Origin, naming
from bnexp.config.problems import check, hint
from bnexp.config.seeds import WRITTEN
from bnexp.config.source import change_sources, settled
from bnexp.config.sweep import once
from bnexp.config.text import printable
from bnexp.config.yaml import flow, parse, plain, read_mapping
from bnexp.errors import ConfigError, InputError, Problem, nearest

Overrides = Sequence[str] | Mapping[str, Any]
"""`dotted.key=value` with the value in YAML, as on the command line; or values by dotted key, as in a script."""
KEYED_SECTIONS = ("grid", "zip", "arms", "labels", "tune.grid", "tune.sample")
"""Below these a dotted key is one name, not a path: grid.train.lr, arms.wide.model.width."""

ADDED = tuple(f"seeds.{name}" for name in WRITTEN)
"""Parts of the short form by which seeds are added; they are no settings of their own."""


def shipped(below: str = "") -> dict[str, Path]:
    """Return the shipped configuration files by name, in alphabetical order; below `claims`, the claims."""
    package = Path(__file__).resolve().parent.parent
    # An installed wheel carries them inside the package; a checkout has them beside it.
    folder = next(place for place in (package / "shipped", package.parent / "configs") if place.is_dir())
    return {path.stem: path for path in sorted((folder / below).glob("*.yaml"))}


def find(written: str) -> Path:
    """Return the file meant by a path, or by the name of a shipped configuration.

    `configs/NAME.yaml` also means the shipped file if there is no such path, so that the documented commands work from
    any folder.

    Raises:
        InputError: neither a file nor a shipped name; the message lists what there is.
    """
    path, known = Path(written), shipped()
    named = path.stem in known and str(path) in (path.stem, f"configs/{path.stem}.yaml")
    if os.path.isfile(path) or (os.path.exists(path) and not named):  # unlike Path's own, never an error
        return path
    if named:
        return known[path.stem]
    beside = map(Path, glob(f"{escape(str(path.parent))}/*.y*ml") if os.path.isdir(path.parent) else ())
    close = nearest(path.stem, {own.stem: str(own) for own in sorted(beside)} | {name: name for name in known})
    raise InputError(f"{written}: no such file, nor a shipped configuration{close}; shipped are {', '.join(known)}")


def load(path: Path, overrides: Overrides = ()) -> ExperimentConfig:
    """Read a YAML file, and apply overrides in turn. An experiment without a name gets that of the file.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: all other problems, listed at once.
    """
    return resolve({"name": path.stem} | read_mapping(path), str(path), overrides)


def resolve(raw: Mapping[str, Any], source: str, overrides: Overrides = ()) -> ExperimentConfig:
    """Check a raw configuration and return its resolved form with the overrides; `source` names it in messages.

    Raises:
        ConfigError: lists every problem.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError([Problem(source, "", "expected a mapping of keys")])
    with naming(source):
        written = plain(raw)
    given = OVERRIDES if isinstance(overrides, Mapping) else COMMAND_LINE
    with naming(given):
        in_python = plain(overrides) if isinstance(overrides, Mapping) else {}
    merged, problems = dict(written), list[Problem]()
    for each in overrides:
        try:
            override(merged, *((each, in_python[each]) if in_python else _assignment(each)))
        except (ValueError, InputError) as error:
            problems.append(Problem(given, printable(each), printable(str(error))))
    config, found = check(merged)
    # What is wrong without the overrides too is the file's fault.
    in_file = check(written)[1] if overrides and found else found
    for key, message in found:
        typed = (key, message) not in in_file
        said = printable(message + hint(merged, key, typed=typed))
        problems.append(Problem(given if typed else source, printable(key), said))
    if problems or config is None:
        raise ConfigError(problems)
    shown = [f"{key}={flow(value)}" for key, value in in_python.items()] or overrides
    trained = (each for each in shown if not re.match(r"(name|question|labels)\b", each))
    config = config.made_from(Origin().then(trained, given))
    with naming(source, config.origin):
        return with_sources(config, lambda each: settled(each, Path(source).parent))


def with_sources(config: ExperimentConfig, change: Callable[[str], str]) -> ExperimentConfig:
    """Return the experiment with the source of every network of the user's own changed."""
    raw = config.model_dump()
    changed = change_sources(raw, change)
    return config if changed == raw else ExperimentConfig.model_validate(changed).made_from(config.origin)


def _assignment(written: str) -> tuple[str, Any]:
    key, equals, text = written.partition("=")
    if not equals or not key:
        raise ValueError("expected dotted.key=value")
    return key, parse(text, "value")


def override(raw: dict[str, Any], key: str, value: Any) -> None:
    """Put a value under a dotted key of a raw configuration.

    Raises:
        ValueError: no such key, or something on the way is not a section.
    """
    section = next((name for name in KEYED_SECTIONS if key.startswith(f"{name}.") and key != f"{name}."), "")
    rest = key.removeprefix(f"{section}.")
    if key in ADDED:
        written = raw.get("seeds")
        begun = written if isinstance(written, Mapping) and written.keys() & {*WRITTEN} else {}
        raw["seeds"] = {**begun, key.partition(".")[2]: value}
    elif not section:
        check_key(ExperimentConfig, key)
        put(raw, key, value, ExperimentConfig)
    elif section == "arms":
        arm, _, setting = rest.partition(".")
        arms = _mapping(_written_arms(raw), section)
        raw["arms"] = {**arms, arm: {**_mapping(arms.get(arm), f"arms.{arm}"), setting: value} if setting else value}
    else:
        put(raw, section, {**_mapping(get(raw, section), section), rest: value}, ExperimentConfig)


def _mapping(written: Any, place: str) -> Mapping[str, Any]:
    if written is not None and not isinstance(written, Mapping):
        raise ValueError(f"{place} is expected to be a mapping there")
    return written or {}


def _written_arms(raw: Mapping[str, Any]) -> Any:
    """Return the arms by name; where a built-in arm may be meant, include the default arms."""
    arms = raw.get("arms")
    if arms is None:
        norm = NormSettings()
        with suppress(ValidationError):  # what is wrong will be said
            norm = ModelSettings.model_validate(raw.get("model") or {}).norm
        arms = default_arms(norm)
    return dict.fromkeys(once(arms)) if isinstance(arms, list) and all(isinstance(arm, str) for arm in arms) else arms
