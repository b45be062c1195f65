"""Claims in files: which ones there are, and checking one as any other configuration, for both of its tiers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bnexp.config.claims import ClaimSettings, MeasureSettings, OverSettings, Tier
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.overrides import override_with
from bnexp.config.plain import odd_values
from bnexp.config.problems import explain
from bnexp.config.reader import read_mapping
from bnexp.config.shipped import shipped
from bnexp.config.text import printable
from bnexp.errors import ConfigError, InputError, Problem, nearest, refuse_twice

SEEDS = range(300, 306)
"""Of a claim that names none: six, none of which was looked at while the claims were written."""


@dataclass(frozen=True)
class Claim:
    """A claim that has been checked."""

    id: str
    """Name of its file."""
    source: str
    """Its file, for messages."""
    settings: ClaimSettings
    experiments: Mapping[Tier, ExperimentConfig]
    """By tier, named after the claim; empty where a check in code tests it."""


def find_claims(written: Sequence[str] = ()) -> list[Claim]:
    """Return the claims meant by their names or files, without any all that come with bnexp: exact ones first.

    Raises:
        InputError: no such claim, and the message lists what there is; or a file can't be read.
        ConfigError: a file is wrong, or has another's name; lists every problem of all files.
    """
    known = shipped("claims")
    if unknown := [name for name in written if name not in known and not Path(name).is_file()]:
        raise InputError(f"{unknown[0]}: no such claim{nearest(unknown[0], list(known))}; there are {', '.join(known)}")
    claims: list[Claim] = []
    problems: list[Problem] = []
    for path in _files(written or list(known), known):
        try:
            claims.append(load_claim(path))
        except ConfigError as error:
            problems += error.problems
    problems += _same_names(claims)
    if problems:
        raise ConfigError(problems)
    return sorted(claims, key=lambda claim: claim.settings.kind != "exact")


def _files(written: Sequence[str], known: Mapping[str, Path]) -> list[Path]:
    paths = [known.get(name, Path(name)) for name in written]
    refuse_twice((name, path.resolve()) for name, path in zip(written, paths, strict=True))
    return paths


def _same_names(claims: Sequence[Claim]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for claim in claims:
        if first.setdefault(claim.id, claim.source) != claim.source:
            yield Problem(claim.source, "", f"{first[claim.id]} is called {claim.id}, too; rename one of the files")


def load_claim(path: Path) -> Claim:
    """Read and check a claim.

    Raises:
        InputError: the file can't be read as a YAML mapping.
        ConfigError: lists every problem.
    """
    raw, source = read_mapping(path), str(path)
    settings = _settings(raw, source)
    experiments: dict[Tier, ExperimentConfig] = {}
    problems: list[Problem] = []
    for tier in settings.tiers:
        try:
            experiments[tier] = _experiment(path.stem, settings, tier, source)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    wrong = dict.fromkeys(
        problem
        for experiment in experiments.values()
        for number, measure in enumerate(settings.measures)
        for problem in _misfits(measure, experiment, f"measures.{number}")
    )
    if wrong:
        raise ConfigError([Problem(source, *each) for each in wrong])
    return Claim(path.stem, source, settings, experiments)


def _settings(raw: Mapping[str, Any], source: str) -> ClaimSettings:
    found = list(odd_values(raw))
    if not found:
        try:
            return ClaimSettings.model_validate(raw)
        except ValidationError as error:
            found = list(explain(error, ClaimSettings))
    raise ConfigError([Problem(source, *map(printable, each)) for each in found])


def _experiment(name: str, settings: ClaimSettings, tier: Tier, source: str) -> ExperimentConfig:
    raw: dict[str, Any] = {"name": name, "question": settings.claim, "seeds": list(SEEDS)} | (settings.experiment or {})
    wrong: list[Problem] = []
    for key, value in settings.tiers[tier].items():
        try:
            override_with(raw, key, value)
        except ValueError as error:
            wrong.append(Problem(source, f"tiers.{tier}.{printable(key)}", printable(str(error))))
    if wrong:
        raise ConfigError(wrong)
    try:
        return resolve(raw, source)
    except ConfigError as error:
        at = [Problem(each.source, f"experiment.{each.key}".rstrip("."), each.message) for each in error.problems]
        raise ConfigError(at) from None


def _misfits(measure: MeasureSettings, experiment: ExperimentConfig, place: str) -> Iterator[tuple[str, str]]:
    """Yield what of a measure the experiment doesn't have."""
    for field in ("arm", "baseline"):
        name, arms = getattr(measure, field), list(experiment.arms)
        if name not in arms:
            yield f"{place}.{field}", f"{name}: no such arm{nearest(name, arms)}; arms: {', '.join(arms)}"
    looked_at = {f"at.{key}": (key, [value]) for key, value in measure.at.items()}
    looked_at |= {f"change.{key}": (key, list(ends)) for key, ends in measure.change.items()}
    if measure.over:
        looked_at["over.key"] = measure.over.key, []
        yield from _no_axis(measure.over, experiment, place)
    for field, (key, wanted) in looked_at.items():
        tried = [point[key] for point in experiment.points() if key in point]
        if not tried:
            yield f"{place}.{field}", f"{key}: not swept in the experiment{nearest(key, list(experiment.swept))}"
        elif absent := [value for value in wanted if value not in tried]:
            yield f"{place}.{field}", f"{absent[0]}: not among the values that are swept"
    taken = [probe.name for probe in experiment.probes]
    if measure.probe and measure.probe.partition(".")[0] not in taken:
        listed = ", ".join(taken) or "none"
        yield f"{place}.probe", f"{measure.probe}: the experiment takes no such probe; it takes {listed}"


def _no_axis(over: OverSettings, experiment: ExperimentConfig, place: str) -> Iterator[tuple[str, str]]:
    """Yield values that are no place on an axis of numbers, where the measure needs one."""
    values = [point[over.key] for point in experiment.points() if over.key in point]
    least = 0 if over.by == "slope" else float("-inf")
    if over.by in ("slope", "largest"):
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= least:
                kind = "numbers above 0" if over.by == "slope" else "numbers"
                yield f"{place}.over.key", f"{over.key}: {over.by} is along {kind}, and {value} is none"
                return
