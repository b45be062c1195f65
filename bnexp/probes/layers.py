"""Layers that probes ask for by name, held against those that the networks have."""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from bnexp.config.probes import ProbeSettings
from bnexp.data.catalog import DataShape
from bnexp.errors import Problem, nearest
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup


def unknown_layers(
    groups: Sequence[TrialGroup],
    shape_of: Callable[[TrialGroup], DataShape],
    probes: Sequence[ProbeSettings],
    source: str,
) -> Iterator[Problem]:
    """Yield the names that no layer of any network has.

    Args:
        groups: all trials.
        shape_of: what a group trains on.
        probes: of the experiment.
        source: names the configuration in messages; empty where the probes are an option of the command line.
    """
    if not any(probe.layers for probe in probes):
        return
    models = {(group.settings.model, shape_of(group)): None for group in groups}
    tables = (layer_table(model, shape.image, shape.classes) for model, shape in models)
    names = list(dict.fromkeys(row.name for table in tables for row in table))
    for i, probe in enumerate(probes):
        for pattern in probe.layers or ():
            if not any(fnmatchcase(name, pattern) for name in names):
                hint = nearest(pattern, names) or f" (there are {', '.join(names[:3])}, …)"
                place = f"probes.{i}.layers" if source else f"--probe {probe.name}: layers"
                yield Problem(source, place, f"{pattern}: no layer has this name{hint}; bnexp show lists them")
