"""Under which conditions the trials of several runs are comparable.

A condition is a grid point of a run: all settings except those that the arms change. A trial belongs to the condition
that it was trained under, and to one of another run wherever it would have been the very same training: the arm `none`
doesn't depend on the momentum of the running averages. Trials under one condition are pairs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.keys import below, leaves
from bnexp.config.sweep import Point
from bnexp.config.trial import MEANINGS, NO_EFFECT, TrialSettings, effective, with_changes

REWRITTEN = {meaning.of for meaning in MEANINGS}
"""Keys whose values can be written in several ways."""
CONDITIONAL = {key for rule in NO_EFFECT for key in rule.about}
"""Keys that have no effect on some trainings."""
RELIED_ON = {key for meaning in MEANINGS for key in meaning.relies_on}
"""Keys from which other settings are computed, even if they have no effect themselves."""


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

    def training(self, changes: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the settings that have an effect on an arm here; None where the arm is impossible here."""
        try:
            return effective(with_changes(self.base, {**self.point, **changes}), varying=self.varying)
        except ValueError:
            return None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted key, as written."""
        try:
            found = dict(leaves(with_changes(self.base, self.point)))
        except ValueError:  # an arm may make them valid
            found = dict(leaves(self.base))
        arguments = {key: value for key, value in self.point.items() if below(key, "model.arguments")}
        return found | arguments  # which aren't settings of bnexp


@dataclass(frozen=True, eq=False)
class Cell:
    """The trials of an arm under one condition of its run; they differ in their seeds."""

    condition: Condition
    arm: str
    """Its name in the study."""
    changes: Mapping[str, Any]
    """Settings that the arm changes, by dotted key."""
    tuned: frozenset[str] = frozenset()
    """Settings that the run's arms chose."""

    @cached_property
    def training(self) -> Mapping[str, Any]:
        """The settings that have an effect on them."""
        return self.condition.training(self.changes) or {}

    def same_arm(self, other: "Cell") -> bool:
        """Tell whether two arms have the same settings under the conditions of one of them.

        A setting that only one of them decides must be the same for both in their own runs, and swept in neither.
        """
        lone = (self.changes.keys() | self.tuned) ^ (other.changes.keys() | other.tuned)
        varying = self.tuned | other.tuned | self.condition.point.keys() | other.condition.point.keys()
        if any(below(key, each) or below(each, key) for key in lone for each in varying):
            return False
        mine, theirs = (
            {leaf: value for leaf, value in cell.training.items() if any(below(leaf, key) for key in lone)}
            for cell in (self, other)
        )
        homes = (self.condition, other.condition)
        trainings = ((home.training(self.changes), home.training(other.changes)) for home in homes)
        return mine == theirs and any(first and first == second for first, second in trainings)

    def depends_on(self, key: str, value: Any) -> bool:
        """Tell whether they would train differently with another value of a setting."""
        if value == self.condition.settings.get(key) or self.sets(key):
            return False
        if key in REWRITTEN and (key in self.training or key in RELIED_ON):
            return self.condition.training({key: value, **self.changes}) != self.training
        return key not in CONDITIONAL or key in self.training

    def sets(self, key: str) -> bool:
        """Tell whether the arm decides about a setting, whatever the condition says."""
        return any(below(key, mine) for mine in self.changes)

    def effects(self, tried: Mapping[str, Collection[Any]]) -> tuple[tuple[str, ...], str]:
        """Return which of the keys with several values have no effect, and what tells its training from others.

        With each value of the former the trials train the same. The latter is equal for cells of an arm that do.
        """
        several = [key for key, values in tried.items() if len(values) > 1]
        inactive = tuple(key for key in several if not any(self.depends_on(key, value) for value in tried[key]))
        if not REWRITTEN.isdisjoint(several):  # two values may come to the same
            return inactive, repr(self.training)
        known = {**self.condition.settings, **self.condition.point}
        return inactive, repr({key: known[key] for key in several if key not in inactive})


@dataclass(frozen=True, eq=False)
class Alignment:
    """The runs' cells, and the conditions under which they are compared."""

    cells: Sequence[Sequence[Cell]]
    """The cells of each run, in the order of its trial numbers; where arms chose in several studies, one for each."""
    conditions: Sequence[Condition]
    """The conditions that are needed: trials of the others all belong to one of these."""
    homes: Mapping[Cell, Sequence[Condition]]
    """The conditions of each cell."""
    spare: Mapping[Cell, Sequence[Condition]]
    """Conditions under which it can replace its arm if that is missing."""

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The settings that tell conditions apart: those swept, and those that differ between runs.

        Of a section that is swept as a whole they are the settings that change.
        """
        swept = dict.fromkeys(key for cells in self.cells for each in cells for key in each.condition.point)
        known = self.conditions[0].settings
        inside = [key for key in known if key not in swept and any(below(key, other) for other in swept)]
        settings = [condition.settings for condition in self.conditions]
        changing = [key for key in inside if len({repr(each.get(key)) for each in settings}) > 1]
        apart = [key for key in known if key not in inside and self._apart(key)]
        return tuple(dict.fromkeys((*(key for key in swept if key in known), *changing, *apart)))

    def label(self, condition: Condition, key: str) -> Any:
        """Return a setting of a condition, as written."""
        return condition.point[key] if key in condition.point else condition.settings.get(key)

    @cached_property
    def effects(self) -> Mapping[Cell, tuple[tuple[str, ...], str]]:
        """The keys without effect on each cell, and what is equal for the cells of an arm that train the same."""
        labels = {key: [self.label(condition, key) for condition in self.conditions] for key in self.keys}
        tried = {key: list({repr(value): value for value in values}.values()) for key, values in labels.items()}
        return {cell: cell.effects(tried) for cells in self.cells for cell in cells}

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
        cells = self.cells[run]
        if not any(below(key, swept) for swept in cells[0].condition.point):
            return [cells[0].condition.settings[key]]
        return list({repr(value): value for each in cells for value in [each.condition.settings[key]]}.values())

    def _depends_on(self, run: int, key: str, value: Any) -> bool:
        """Tell whether any trial of a run would train differently with another value of a setting."""
        return any(each.depends_on(key, value) for each in self.cells[run])


def align(
    configs: Sequence[ExperimentConfig], names: Sequence[Mapping[str, str]], varying: Collection[str] = ()
) -> Alignment:
    """Find the conditions that trials of runs belong to; `names` are those of each run's arms in the study."""
    runs = [list(_cells(run, *each, varying)) for run, each in enumerate(zip(configs, names, strict=True))]
    fitting = _fitting([cell for cells in runs for cell in cells])
    common: dict[Condition, list[Condition]] = {}
    for cell, conditions in fitting.items():
        known = common.setdefault(cell.condition, conditions)
        common[cell.condition] = [condition for condition in known if condition in conditions]
    kept = set(common)
    for condition in reversed(common):  # of two that can stand in for each other the first is kept
        if any(other in kept for other in common[condition]):
            kept.remove(condition)
    # Some conditions may only have had cells that are gone now.
    kept |= {condition for condition, others in common.items() if condition not in kept and kept.isdisjoint(others)}
    homes, spare = {}, {}
    for cell, conditions in fitting.items():
        own = cell.condition
        homes[cell] = [own] if own in kept else [condition for condition in common[own] if condition in kept]
        spare[cell] = [condition for condition in conditions if condition in kept and condition not in homes[cell]]
    return Alignment(runs, [condition for condition in common if condition in kept], homes, spare)


def _cells(run: int, config: ExperimentConfig, names: Mapping[str, str], varying: Collection[str]) -> Iterator[Cell]:
    for point in config.points():
        condition = Condition(run, point, config.base, varying)
        for arm in config.arms:
            for study in range(config.studies):
                yield Cell(condition, names[arm], config.changes(arm, point, study))


def _fitting(cells: Sequence[Cell]) -> dict[Cell, list[Condition]]:
    """Return for each cell the conditions of other runs under which its trials would be the same trainings."""
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
                known[keys].setdefault(_written(condition, keys), []).append(condition)
        alike = [each for each in known[keys][_written(cell.condition, keys)] if each.run != cell.condition.run]
        found[cell] = [each for each in alike if each.training(cell.changes) == cell.training]
    return found


def _written(condition: Condition, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(repr(condition.settings[key]) for key in keys)
