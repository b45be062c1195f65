"""From a YAML file, a mapping or a shipped name, with `key=value` overrides, to a checked configuration."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bnexp.config.dotted import check_key, put
from bnexp.config.experiment import ExperimentConfig, default_arms, first_stage
from bnexp.config.model import ModelSettings
from bnexp.config.norm import NormSettings
from bnexp.config.problems import Finding, explain, faults, hint, odd_values, plain, typed
from bnexp.config.sweep import once, values
from bnexp.config.text import printable
from bnexp.config.yaml import LARGEST, parse, read_mapping
from bnexp.errors import ConfigError, InputError, Problem, nearest


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


KEYED_SECTIONS = ("grid", "zip", "arms", "labels", "tune.grid")
"""Below these a dotted key is one name, not a path: grid.train.lr, arms.wide.model.width."""


def override(raw: dict[str, Any], written: str) -> None:
    """Put one override into a raw configuration.

    Raises:
        ValueError: it has no `=`, no such key, or something that is no section stands in its way.
        InputError: the value is not YAML.
    """
    key, equals, text = written.partition("=")
    if not equals or not key:
        raise ValueError("expected dotted.key=value")
    override_with(raw, key, parse(text, "value"))


def override_with(raw: dict[str, Any], key: str, value: Any) -> None:
    """Put a value under a dotted key of a raw configuration.

    Raises:
        ValueError: no such key, or something that is no section stands in its way.
    """
    section = next((name for name in KEYED_SECTIONS if key.startswith(f"{name}.") and key != f"{name}."), "")
    rest = key.removeprefix(f"{section}.")
    if not section:
        check_key(ExperimentConfig, key)
        put(raw, key, value, ExperimentConfig)
    elif section == "arms":
        arm, _, setting = rest.partition(".")
        arms = _mapping(_written_arms(raw), section)
        raw["arms"] = {**arms, arm: {**_mapping(arms.get(arm), f"arms.{arm}"), setting: value} if setting else value}
    elif section == "tune.grid":
        tune = _mapping(raw.get("tune"), "tune")
        raw["tune"] = {**tune, "grid": {**_mapping(tune.get("grid"), section), rest: value}}
    else:
        raw[section] = {**_mapping(raw.get(section), section), rest: value}


def _mapping(written: Any, place: str) -> Mapping[str, Any]:
    if written is None:
        return {}
    if not isinstance(written, Mapping):
        raise ValueError(f"{place} is expected to be a mapping there")
    return written


def _written_arms(raw: Mapping[str, Any]) -> Any:
    """Return the arms with their names as keys, those left out included where a built-in one may be meant."""
    arms = raw.get("arms")
    if isinstance(arms, list | tuple) and all(isinstance(arm, str) for arm in arms):
        return dict.fromkeys(once(arms))
    return dict.fromkeys(default_arms(_norm(raw))) if arms is None else arms


def _norm(raw: Mapping[str, Any]) -> NormSettings:
    try:
        return ModelSettings.model_validate(raw.get("model") or {}).norm
    except ValidationError:
        return NormSettings()  # what is wrong will be said


MOST_FINDINGS = 100
"""Problems that are said at once of each kind: the first of them are enough to read."""
LONGEST_RESOLVED = LARGEST // 8
"""Characters of the resolved form as JSON. YAML takes up to five times as many, and it has to be read again."""


def check(raw: Mapping[str, Any]) -> tuple[ExperimentConfig | None, list[Finding]]:
    """Return the configuration, or None, and all that is wrong with it."""
    if odd := _first(odd_values(raw)):
        return None, odd
    config, found = None, []
    try:
        config = ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        found = _first(explain(error))
    found += _first((place, fault) for key, value, place in _swept_values(raw) for fault in faults(key, value))
    if config and not found:
        found = _first(_same_values(config)) or list(_too_long(config))
        found = found or _first(_conflicts(first_stage(config)))
    return config, found


def _first(findings: Iterator[Finding]) -> list[Finding]:
    """Return what was found, each once; of very many the first ones."""
    kept: dict[Finding, None] = {}
    for each in findings:
        if len(kept) == MOST_FINDINGS:
            return [*kept, ("", "and more; mend these first")]
        kept[each] = None
    return list(kept)


def _swept_values(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted key, value, place in the file) of every value in lists of the sweep and in the arms."""
    tune = raw.get("tune")
    tried = tune.get("grid") if isinstance(tune, Mapping) else None
    for section, columns in (("grid", raw.get("grid")), ("zip", raw.get("zip")), ("tune.grid", tried)):
        for key, column in columns.items() if isinstance(columns, Mapping) else ():
            with suppress(ValueError):  # said already, for the column
                listed = isinstance(column, list | tuple)
                for i, value in enumerate(values(column)):
                    yield key, value, f"{section}.{key}[{i}]" if listed else f"{section}.{key}"
    arms = raw.get("arms")
    for arm, settings in arms.items() if isinstance(arms, Mapping) else ():
        for key, value in settings.items() if isinstance(settings, Mapping) else ():
            yield key, value, f"arms.{arm}.{key}"


def _same_values(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield values of a sweep that are written in two ways and mean one setting: 0.1 and "0.1", or batch and before."""
    columns = {f"grid.{key}": {key: column} for key, column in config.grid.items()}
    columns |= {f"tune.grid.{key}": {key: column} for key, column in config.tune.grid.items()}
    for place, column in ({"zip": config.zip} | columns).items():
        rows = list(zip(*column.values(), strict=True))
        if all(isinstance(value, int | float) for row in rows for value in row):
            continue  # equal numbers are found where the column is read
        meant = [repr([typed(key, value) for key, value in zip(column, row, strict=True)]) for row in rows]
        first: dict[str, int] = {}
        for number, row in enumerate(rows):
            if (before := first.setdefault(meant[number], number)) < number:
                twins = (json.dumps(each[0] if len(each) == 1 else each, default=str) for each in (row, rows[before]))
                yield f"{place}[{number}]", "{}: means the same as {}; list it once".format(*twins)


def _conflicts(config: ExperimentConfig) -> Iterator[Finding]:
    """Yield what makes an arm at a grid point impossible although each setting alone is fine."""
    for arm in config.arms:
        for point in config.points():
            try:
                config.settings(arm, point)
            except ValidationError as error:
                for key, message in explain(error):
                    yield key, f"{message} (arm {arm})"


def _too_long(config: ExperimentConfig) -> Iterator[Finding]:
    if (length := len(config.model_dump_json())) > LONGEST_RESOLVED:
        yield (
            "",
            f"written out it takes {length:,} characters, more than {LONGEST_RESOLVED:,}; "
            "shorten seeds, grid, zip, arms, model.width or train.record_at",
        )


COMMAND_LINE = "command line"
Overrides = Sequence[str] | Mapping[str, Any]
"""`dotted.key=value` with the value in YAML, as on the command line; or values by dotted key, as in a script."""


def load(path: Path, overrides: Overrides = ()) -> ExperimentConfig:
    """Read a configuration file; the experiment is named after the file where it has no name.

    Args:
        path: the YAML file.
        overrides: applied in turn.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: all other problems, listed at once.
    """
    return resolve({"name": path.stem} | read_mapping(path), str(path), overrides)


def resolve(raw: Mapping[str, Any], source: str, overrides: Overrides = ()) -> ExperimentConfig:
    """Check a raw configuration and return its resolved form; `source` names it in messages.

    Raises:
        ConfigError: lists every problem.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError([Problem(source, "", "expected a mapping of keys")])
    merged = dict(raw)
    problems: list[Problem] = []
    given = "overrides" if isinstance(overrides, Mapping) else COMMAND_LINE
    for written in overrides:
        try:
            if isinstance(overrides, Mapping):
                override_with(merged, written, overrides[written])
            else:
                override(merged, written)
        except (ValueError, InputError) as error:
            problems.append(Problem(given, printable(written), printable(str(error))))
    config, found = check(merged)
    # What is wrong without the overrides too is the file's fault.
    in_file = set(check(raw)[1]) if overrides and found else found
    # Hints write values as YAML, which can't hold odd ones.
    hinted = None if not found or any(odd_values(merged)) else plain(merged)
    for key, message in found:
        typed = (key, message) not in in_file
        said = message if hinted is None else message + hint(hinted, key, typed=typed)
        problems.append(Problem(given if typed else source, printable(key), printable(said)))
    if problems or config is None:
        raise ConfigError(problems)
    return config
