"""On what a claim was tested, which is what its verdict holds for: every setting that isn't as by default."""

from collections.abc import Iterator, Mapping
from typing import Any

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.families import USUAL_WIDTH
from bnexp.config.stages import untuned
from bnexp.config.train import DEFAULT_EPOCHS
from bnexp.config.trial import TrialSettings
from bnexp.report.labels import short_keys, value_text

ALWAYS = (
    "data.name",
    "model.family",
    "model.depth",
    "model.width",
    "model.activation",
    "train.optimizer",
    "train.batch_size",
    "train.epochs",
    "train.steps",
    "train.lr",
)
"""Told even where they are as by default."""
UNTOLD = ("data.root", "train.record_at", "train.checkpoint_every")
"""Where the images lie, and how often something is written down."""
MOST_VALUES = 4
"""Of a swept setting that are named; of more the first and the last."""


def setting_text(config: ExperimentConfig) -> str:
    """Say what all arms share, what is swept, and what every arm chose from.

    What is swept, chosen, or differs between arms is no shared setting.
    """
    written = untuned(config)
    first = {arm: _flat(written.settings(arm, config.points()[0])) for arm in config.arms}
    usual, own = _flat(TrialSettings()), next(iter(first.values()))
    apart = {key for key in own for flat in first.values() if flat.get(key) != own[key]}
    apart |= {*config.swept, *config.tune.grid, *UNTOLD}
    told = {
        key: value
        for key, value in own.items()
        if value is not None and (key in ALWAYS or value != usual.get(key)) and not _below(key, apart)
    }
    sections = [_section(name, told) for name in TrialSettings.model_fields]
    swept = _axes({key: [point[key] for point in config.points()] for key in config.swept})
    tuned = _axes(config.tune.grid)
    return "; ".join(
        filter(None, [*sections, f"over {swept}" if swept else "", f"every arm chose of {tuned}" if tuned else ""])
    )


def _section(name: str, told: Mapping[str, Any]) -> str:
    """Write the settings of a section after its name; the first of `data` is the data set's own name."""
    here = {key.partition(".")[2]: value for key, value in told.items() if key.partition(".")[0] == name}
    texts = [value_text(value) if key == "name" else f"{key} {value_text(value)}" for key, value in here.items()]
    return f"{name}: {', '.join(texts)}" if texts else ""


def _axes(axes: Mapping[str, Any]) -> str:
    short = short_keys(list(axes))
    return ", ".join(f"{short[key]} {_values(values)}" for key, values in axes.items())


def _values(values: Any) -> str:
    texts = list(dict.fromkeys(map(value_text, values)))
    return f"{texts[0]} … {texts[-1]} ({len(texts)})" if len(texts) > MOST_VALUES else " / ".join(texts)


def _flat(settings: TrialSettings) -> dict[str, Any]:
    """Return every setting by its dotted key, with the numbers that null stands for."""
    model, train = settings.model, settings.train
    flat = dict(_leaves(settings.model_dump(mode="json"), ""))
    flat |= {"model.depth": model.layers, "model.width": model.width or USUAL_WIDTH[model.family]}
    return flat if train.steps else flat | {"train.epochs": train.epochs or DEFAULT_EPOCHS}


def _leaves(raw: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in raw.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _below(key: str, keys: set[str]) -> bool:
    """Tell whether a key is one of some, or lies in a section that is."""
    return any(key == each or key.startswith(f"{each}.") for each in keys)
