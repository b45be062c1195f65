"""Where the trials of several runs meet.

A ground is a grid point of a run: all settings but what the arms change. A trial stands on the ground that it was
trained on, and on one of another run wherever it would have been the very same training there: to the arm `none` it
doesn't matter which momentum the running averages of others have. Trials on one ground are pairs.
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
"""Keys that decide what others come to, perhaps without being left themselves."""

Changes = Mapping[str, Any]
"""What an arm changes, by dotted key."""


@dataclass(frozen=True, eq=False)
class Ground:
    """A grid point of a run, without its arms."""

    run: int
    """Place of the run among all."""
    point: Point
    base: TrialSettings
    """Settings of the run outside grid and arms."""
    varying: Collection[str] = ()
    """As for effective."""

    def training(self, changes: Changes) -> dict[str, Any] | None:
        """Return what matters to an arm here; None where it can't be here."""
        try:
            return effective(with_changes(self.base, {**self.point, **changes}), varying=self.varying)
        except ValueError:
            return None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its key, as it is written."""
        try:
            return dict(leaves(with_changes(self.base, self.point)))
        except ValueError:  # what an arm makes good
            return dict(leaves(self.base))


@dataclass(frozen=True, eq=False)
class Cell:
    """The trials of an arm on the ground of its run; they differ in their seeds."""

    ground: Ground
    arm: str
    """Its name in the study."""
    changes: Changes

    @cached_property
    def training(self) -> Mapping[str, Any]:
        """What matters to them."""
        return self.ground.training(self.changes) or {}

    def fits(self, ground: Ground) -> bool:
        """Tell whether they would be the same trainings on another ground."""
        return ground is self.ground or ground.training(self.changes) == self.training

    def minds(self, key: str, value: Any) -> bool:
        """Tell whether they would be other trainings with another value of a setting."""
        if value == self.ground.settings[key] or self.sets(key):
            return False
        if key in REWRITTEN and (key in self.training or key in RELIED_ON):
            return self.ground.training({key: value, **self.changes}) != self.training
        return key not in CONDITIONAL or key in self.training

    def inactive(self, tried: Mapping[str, Collection[Any]]) -> tuple[str, ...]:
        """Return the keys with several values that have no effect: with each value the trials train the same."""
        several = [key for key, values in tried.items() if len(values) > 1]
        return tuple(key for key in several if self.sets(key) or not self._minds_any(key, tried[key]))

    def identity(self, tried: Mapping[str, Collection[Any]], inactive: Collection[str]) -> str:
        """Return what tells its training from those of the arm with other values of some keys.

        Args:
            tried: the values of the keys.
            inactive: those that have no effect.
        """
        several = [key for key, values in tried.items() if len(values) > 1]
        if not REWRITTEN.isdisjoint(several):  # two values may come to the same
            return repr(self.training)
        known = {**self.ground.settings, **self.ground.point}
        return repr({key: known[key] for key in several if key not in inactive})

    def _minds_any(self, key: str, values: Iterable[Any]) -> bool:
        always = key not in CONDITIONAL and key not in REWRITTEN
        return always or any(self.minds(key, value) for value in values)

    def sets(self, key: str) -> bool:
        """Tell whether the arm decides about a setting, whatever the ground says."""
        return any(below(key, mine) for mine in self.changes)


@dataclass(frozen=True, eq=False)
class Meeting:
    """The runs' cells, and the grounds on which they meet."""

    cells: Sequence[Sequence[Cell]]
    """The cells of each run, in the order of its trial numbers."""
    grounds: Sequence[Ground]
    """Those that are left when the trials of some stand elsewhere, too."""
    homes: Mapping[Cell, Sequence[Ground]]
    """Where each cell stands."""
    guests: Mapping[Cell, Sequence[Ground]]
    """Where it could stand besides."""

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The settings that tell grounds apart: those swept, and those that differ between runs.

        Of a section that is swept as a whole they are the settings that change.
        """
        swept = dict.fromkeys(key for cells in self.cells for each in cells for key in each.ground.point)
        known = self.grounds[0].settings
        inside = [key for key in known if key not in swept and any(below(key, other) for other in swept)]
        changing = [key for key in inside if len({repr(ground.settings[key]) for ground in self.grounds}) > 1]
        apart = [key for key in known if len(self.cells) > 1 and key not in inside and self._apart(key)]
        return tuple(dict.fromkeys((*(key for key in swept if key in known), *changing, *apart)))

    def label(self, ground: Ground, key: str) -> Any:
        """Return a setting of a ground, as it is written."""
        return ground.point[key] if key in ground.point else ground.settings[key]

    @cached_property
    def tried(self) -> Mapping[str, Collection[Any]]:
        """The values of each key."""
        labels = {key: [self.label(ground, key) for ground in self.grounds] for key in self.keys}
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
        """Return what runs have for a setting, as far as it matters to them; "swept" where it is several values."""
        values = [self._values(run, key) for run in range(len(self.cells))]
        return {
            run: mine[0] if len(mine) == 1 else "swept"
            for run, mine in enumerate(values)
            if len(mine) > 1 or any(self._minds(run, key, other) for others in values for other in others)
        }

    def _apart(self, key: str) -> bool:
        """Tell whether there are two runs that have one value each, and neither could have the other's."""
        values = [self._values(run, key) for run in range(len(self.cells))]
        single = [(run, mine[0]) for run, mine in enumerate(values) if len(mine) == 1]
        return any(
            self._minds(one, key, theirs) and self._minds(other, key, mine)
            for (one, mine), (other, theirs) in combinations(single, 2)
        )

    def _values(self, run: int, key: str) -> list[Any]:
        if not any(below(key, swept) for swept in self.cells[run][0].ground.point):
            return [self.cells[run][0].ground.settings[key]]
        found = {repr(value): value for each in self.cells[run] for value in [each.ground.settings[key]]}
        return list(found.values())

    def _minds(self, run: int, key: str, value: Any) -> bool:
        """Tell whether any trial of a run would be another one with another value of a setting."""
        return any(each.minds(key, value) for each in self.cells[run])


def meet(
    configs: Sequence[ExperimentConfig], names: Sequence[Mapping[str, str]], varying: Collection[str] = ()
) -> Meeting:
    """Find out where the trials of runs stand.

    Args:
        configs: of the runs.
        names: what each run's arms are called in the study.
        varying: as for effective.
    """
    runs = [list(_cells(run, *each, varying)) for run, each in enumerate(zip(configs, names, strict=True))]
    fitting = _fitting([cell for cells in runs for cell in cells])
    common = {ground: _common(fitting[cell] for cell in own) for ground, own in _by_ground(runs).items()}
    kept = _kept(common)
    homes, guests = {}, {}
    for cell, grounds in fitting.items():
        at = [cell.ground] if cell.ground in kept else [ground for ground in common[cell.ground] if ground in kept]
        homes[cell], guests[cell] = at, [ground for ground in grounds if ground in kept and ground not in at]
    return Meeting(runs, kept, homes, guests)


def _cells(run: int, config: ExperimentConfig, names: Mapping[str, str], varying: Collection[str]) -> Iterator[Cell]:
    for point in config.points():
        ground = Ground(run, point, config.base, varying)
        for arm in config.arms:
            yield Cell(ground, names[arm], config.changes(arm, point))


def _by_ground(runs: Sequence[Sequence[Cell]]) -> dict[Ground, list[Cell]]:
    found: dict[Ground, list[Cell]] = {}
    for cells in runs:
        for cell in cells:
            found.setdefault(cell.ground, []).append(cell)
    return found


def _fitting(cells: Sequence[Cell]) -> dict[Cell, list[Ground]]:
    """Return for each cell the grounds of other runs that it fits, in order."""
    grounds = list(dict.fromkeys(cell.ground for cell in cells))
    if len({ground.run for ground in grounds}) == 1:
        return {cell: [] for cell in cells}
    known: dict[tuple[str, ...], dict[tuple[str, ...], list[Ground]]] = {}
    found = {}
    for cell in cells:
        # Grounds that differ in what is read as it is written are none; few are left to be tried.
        keys = tuple(key for key in cell.training if key not in REWRITTEN and not cell.sets(key))
        if keys not in known:
            known[keys] = {}
            for ground in grounds:
                known[keys].setdefault(_values(ground, keys), []).append(ground)
        alike = known[keys][_values(cell.ground, keys)]
        found[cell] = [ground for ground in alike if ground.run != cell.ground.run and cell.fits(ground)]
    return found


def _values(ground: Ground, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(repr(ground.settings[key]) for key in keys)


def _common(fitting: Iterable[Sequence[Ground]]) -> list[Ground]:
    first, *others = fitting
    return [ground for ground in first if all(ground in other for other in others)]


def _kept(common: dict[Ground, list[Ground]]) -> list[Ground]:
    """Return the grounds that are needed: whose trials don't all fit another one that is kept."""
    kept = set(common)
    for ground in reversed(common):  # of two that can stand in for each other the first is kept
        if any(other in kept for other in common[ground]):
            kept.remove(ground)
    lost = [ground for ground, others in common.items() if ground not in kept and kept.isdisjoint(others)]
    return [ground for ground in common if ground in kept or ground in lost]
