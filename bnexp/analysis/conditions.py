"""Under which conditions the trials of several runs are comparable.

A condition is a grid point of a run: all settings but what the arms change. A trial belongs to the condition that it
was trained under, and to one of another run wherever it would have been the very same training: the arm `none` doesn't
depend on the momentum of the running averages. Trials under one condition are pairs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from bnexp.config.dotted import below, leaves
from bnexp.config.effective import MEANINGS, NO_EFFECT, effective
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.sweep import Point
from bnexp.config.trial import TrialSettings, with_changes

REWRITTEN = {meaning.of for meaning in MEANINGS}
"""Keys whose values can be written in several ways."""
CONDITIONAL = {key for rule in NO_EFFECT for key in rule.about}
"""Keys that have no effect on some trainings."""
RELIED_ON = {key for meaning in MEANINGS for key in meaning.relies_on}
"""Keys that other settings are worked out from, even where they have no effect themselves."""

Changes = Mapping[str, Any]
"""What an arm changes, by dotted key."""


@dataclass(frozen=True, eq=False)
class Condition:
    """A grid point of a run: all settings but what the arms change."""

    run: int
    """Place of the run among all."""
    point: Point
    base: TrialSettings
    """Settings of the run outside grid and arms."""
    varying: Collection[str] = ()
    """As for effective."""

    def training(self, changes: Changes) -> dict[str, Any] | None:
        """Return the settings that have an effect on an arm here; None where the arm is impossible here."""
        try:
            return effective(with_changes(self.base, {**self.point, **changes}), varying=self.varying)
        except ValueError:
            return None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted key, as written."""
        try:
            return dict(leaves(with_changes(self.base, self.point)))
        except ValueError:  # what an arm makes good
            return dict(leaves(self.base))


@dataclass(frozen=True, eq=False)
class Cell:
    """The trials of an arm under one condition of its run; they differ in their seeds."""

    condition: Condition
    arm: str
    """Its name in the study."""
    changes: Changes

    @cached_property
    def training(self) -> Mapping[str, Any]:
        """The settings that have an effect on them."""
        return self.condition.training(self.changes) or {}

    def fits(self, condition: Condition) -> bool:
        """Tell whether they would be the same trainings under another condition."""
        return condition is self.condition or condition.training(self.changes) == self.training

    def depends_on(self, key: str, value: Any) -> bool:
        """Tell whether they would be other trainings with another value of a setting."""
        if value == self.condition.settings[key] or self.sets(key):
            return False
        if key in REWRITTEN and (key in self.training or key in RELIED_ON):
            return self.condition.training({key: value, **self.changes}) != self.training
        return key not in CONDITIONAL or key in self.training

    def inactive(self, tried: Mapping[str, Collection[Any]]) -> tuple[str, ...]:
        """Return the keys with several values that have no effect: with each value the trials train the same."""
        several = [key for key, values in tried.items() if len(values) > 1]
        return tuple(key for key in several if self.sets(key) or not self._depends_on_any(key, tried[key]))

    def identity(self, tried: Mapping[str, Collection[Any]], inactive: Collection[str]) -> str:
        """Return what tells its training from those of the arm with other values of some keys.

        Args:
            tried: the values of the keys.
            inactive: those that have no effect.
        """
        several = [key for key, values in tried.items() if len(values) > 1]
        if not REWRITTEN.isdisjoint(several):  # two values may come to the same
            return repr(self.training)
        known = {**self.condition.settings, **self.condition.point}
        return repr({key: known[key] for key in several if key not in inactive})

    def _depends_on_any(self, key: str, values: Iterable[Any]) -> bool:
        always = key not in CONDITIONAL and key not in REWRITTEN
        return always or any(self.depends_on(key, value) for value in values)

    def sets(self, key: str) -> bool:
        """Tell whether the arm decides about a setting, whatever the condition says."""
        return any(below(key, mine) for mine in self.changes)


@dataclass(frozen=True, eq=False)
class Alignment:
    """The runs' cells, and the conditions under which they are compared."""

    cells: Sequence[Sequence[Cell]]
    """The cells of each run, in the order of its trial numbers."""
    conditions: Sequence[Condition]
    """Those that are needed: the trials of the others all belong to one of these."""
    homes: Mapping[Cell, Sequence[Condition]]
    """The conditions of each cell."""
    spare: Mapping[Cell, Sequence[Condition]]
    """Conditions under which it can stand in where its arm is missing."""

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The settings that tell conditions apart: those swept, and those that differ between runs.

        Of a section that is swept as a whole they are the settings that change.
        """
        swept = dict.fromkeys(key for cells in self.cells for each in cells for key in each.condition.point)
        known = self.conditions[0].settings
        inside = [key for key in known if key not in swept and any(below(key, other) for other in swept)]
        changing = [key for key in inside if len({repr(condition.settings[key]) for condition in self.conditions}) > 1]
        apart = [key for key in known if len(self.cells) > 1 and key not in inside and self._apart(key)]
        return tuple(dict.fromkeys((*(key for key in swept if key in known), *changing, *apart)))

    def label(self, condition: Condition, key: str) -> Any:
        """Return a setting of a condition, as written."""
        return condition.point[key] if key in condition.point else condition.settings[key]

    @cached_property
    def tried(self) -> Mapping[str, Collection[Any]]:
        """The values of each key."""
        labels = {key: [self.label(condition, key) for condition in self.conditions] for key in self.keys}
        return {key: list({repr(value): value for value in values}.values()) for key, values in labels.items()}

    @cached_property
    def inactive(self) -> Mapping[Cell, tuple[str, ...]]:
        """The keys that have no effect on a cell, whichever of their values it has."""
        return {cell: cell.inactive(self.tried) for cells in self.cells for cell in cells}

    @cached_property
    def identities(self) -> Mapping[Cell, str]:
        """What is equal for the cells of an arm that train the same."""
        return {cell: cell.identity(self.tried, inactive) for cell, inactive in self.inactive.items()}

    def told(self, key: str) -> dict[int, Any]:
        """Return each run's value of a setting that has an effect on it; "swept" where it has several."""
        values = [self._values(run, key) for run in range(len(self.cells))]
        return {
            run: mine[0] if len(mine) == 1 else "swept"
            for run, mine in enumerate(values)
            if len(mine) > 1 or any(self._depends_on(run, key, other) for others in values for other in others)
        }

    def _apart(self, key: str) -> bool:
        """Tell whether there are two runs that have one value each, and neither could have the other's."""
        values = [self._values(run, key) for run in range(len(self.cells))]
        single = [(run, mine[0]) for run, mine in enumerate(values) if len(mine) == 1]
        return any(
            self._depends_on(one, key, theirs) and self._depends_on(other, key, mine)
            for (one, mine), (other, theirs) in combinations(single, 2)
        )

    def _values(self, run: int, key: str) -> list[Any]:
        if not any(below(key, swept) for swept in self.cells[run][0].condition.point):
            return [self.cells[run][0].condition.settings[key]]
        found = {repr(value): value for each in self.cells[run] for value in [each.condition.settings[key]]}
        return list(found.values())

    def _depends_on(self, run: int, key: str, value: Any) -> bool:
        """Tell whether any trial of a run would be another one with another value of a setting."""
        return any(each.depends_on(key, value) for each in self.cells[run])


def align(
    configs: Sequence[ExperimentConfig], names: Sequence[Mapping[str, str]], varying: Collection[str] = ()
) -> Alignment:
    """Find the conditions that the trials of runs belong to.

    Args:
        configs: of the runs.
        names: what each run's arms are called in the study.
        varying: as for effective.
    """
    runs = [list(_cells(run, *each, varying)) for run, each in enumerate(zip(configs, names, strict=True))]
    fitting = _fitting([cell for cells in runs for cell in cells])
    common = {condition: _common(fitting[cell] for cell in own) for condition, own in _by_condition(runs).items()}
    kept = _kept(common)
    homes, spare = {}, {}
    for cell, conditions in fitting.items():
        at = (
            [cell.condition]
            if cell.condition in kept
            else [condition for condition in common[cell.condition] if condition in kept]
        )
        homes[cell] = at
        spare[cell] = [condition for condition in conditions if condition in kept and condition not in at]
    return Alignment(runs, kept, homes, spare)


def _cells(run: int, config: ExperimentConfig, names: Mapping[str, str], varying: Collection[str]) -> Iterator[Cell]:
    for point in config.points():
        condition = Condition(run, point, config.base, varying)
        for arm in config.arms:
            yield Cell(condition, names[arm], config.changes(arm, point))


def _by_condition(runs: Sequence[Sequence[Cell]]) -> dict[Condition, list[Cell]]:
    found: dict[Condition, list[Cell]] = {}
    for cells in runs:
        for cell in cells:
            found.setdefault(cell.condition, []).append(cell)
    return found


def _fitting(cells: Sequence[Cell]) -> dict[Cell, list[Condition]]:
    """Return for each cell the conditions of other runs that it fits, in order."""
    conditions = list(dict.fromkeys(cell.condition for cell in cells))
    if len({condition.run for condition in conditions}) == 1:
        return {cell: [] for cell in cells}
    known: dict[tuple[str, ...], dict[tuple[str, ...], list[Condition]]] = {}
    found = {}
    for cell in cells:
        # Grounds that differ in what is read as it is written are none; few are left to be tried.
        keys = tuple(key for key in cell.training if key not in REWRITTEN and not cell.sets(key))
        if keys not in known:
            known[keys] = {}
            for condition in conditions:
                known[keys].setdefault(_values(condition, keys), []).append(condition)
        alike = known[keys][_values(cell.condition, keys)]
        found[cell] = [condition for condition in alike if condition.run != cell.condition.run and cell.fits(condition)]
    return found


def _values(condition: Condition, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(repr(condition.settings[key]) for key in keys)


def _common(fitting: Iterable[Sequence[Condition]]) -> list[Condition]:
    first, *others = fitting
    return [condition for condition in first if all(condition in other for other in others)]


def _kept(common: dict[Condition, list[Condition]]) -> list[Condition]:
    """Return the conditions that are needed: whose trials don't all fit another one that is kept."""
    kept = set(common)
    for condition in reversed(common):  # of two that can stand in for each other the first is kept
        if any(other in kept for other in common[condition]):
            kept.remove(condition)
    lost = [condition for condition, others in common.items() if condition not in kept and kept.isdisjoint(others)]
    return [condition for condition in common if condition in kept or condition in lost]
