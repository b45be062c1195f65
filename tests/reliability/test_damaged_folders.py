"""Damage to any file of a run folder: seen and named wherever it is read, and made good by the same command."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bnexp.errors import BnexpError, InputError
from bnexp.report.listings import list_runs
from bnexp.runner import run as runner
from bnexp.runner.prepare import prepare
from bnexp.runner.run import RunSession
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.finding import find_together
from bnexp.store.reader import RunRecord, finished_run, recorded_groups
from tests.helpers import crossed, rewrite
from tests.reliability.faults import (
    Made,
    in_a_child,
    message,
    results,
    tiny,
)

pytestmark = pytest.mark.usefixtures("replay")
TABLES, DESCRIPTIONS = ("trials.csv", "curves.csv", "probes.csv"), ("config.yaml", "environment.json")
CHECKED = (*TABLES, *DESCRIPTIONS)
READ = (*CHECKED, "checksums.txt")
HEALTHY = "healthy-00000000"
"""Another run in the same folder."""
BOTH = ("finished", "unfinished")
FIRST, SECOND = (1, 3), (0, 2)
"""The groups, in the order in which they train."""

Damage = Callable[[Path], object]


# Kinds of damage


def folder_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    (path / "inner").mkdir(parents=True)


def pipe_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)  # to itself


JUNK = bytes(range(256)) * 3 + b"\r\n\x00" + bytes(range(255, -1, -1))
INSTEAD: dict[str, Damage] = {
    "removed": lambda path: path.unlink(),
    "folder": folder_instead,
    "pipe": pipe_instead,
    "link": link_instead,
    "empty": lambda path: path.write_bytes(b""),
    "junk": lambda path: path.write_bytes(JUNK),
    "a list": lambda path: path.write_bytes(b"[1, 2]\n"),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "open quotes": lambda path: path.write_bytes(b'0,"none,0\n'),
}
"""What may stand in the place of a file."""


def flipped(content: bytes, at: int) -> bytes:
    """The file with one bit of a byte turned."""
    return content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]


def damages(name: str, content: bytes, every: int) -> dict[str, bytes]:
    """A bit flipped in every so many bytes of a row of each trial, or of a description; and the file cut off."""
    lines = content.splitlines(keepends=True)
    chosen = [0, *range(1, len(lines), 3)] if name in TABLES else range(0, len(lines), 7)
    places = [sum(map(len, lines[:i])) + at for i in chosen for at in range(i % every, len(lines[i]) - 1, every)]
    lengths = {0, len(content) // 2, len(content) - len(lines[-1]), len(content) - 5}
    return {f"bit {at}": flipped(content, at) for at in places} | {f"cut at {n}": content[:n] for n in lengths}


# Reading


@dataclass(frozen=True)
class Shown:
    """All that commands know of a run."""

    config: Any
    environment: dict[str, Any]
    trials: str
    records: frozenset[tuple[Any, ...]]

    @classmethod
    def of(cls, run: Path) -> "Shown":
        """Read a run."""
        record = RunRecord(run)
        record.check()
        curves = frozenset(map(tuple, record.curves.fillna(-1).itertuples(index=False)))
        return cls(record.config, record.environment, record.trials.to_csv(), curves)


def read(run: Path, whole: Shown, *, may_lack: bool = False) -> str:
    """Read a run that may be damaged; return what is said of it: nothing only where it is shown as it was.

    The last records of trials in training may be missing.
    """
    for look in (recorded_groups, finished_run):
        message(lambda look=look: look(run))  # type: ignore[misc]  # no other error than one for the reader
    found: list[Shown] = []
    said = message(lambda: found.append(Shown.of(run))) or "; ".join(RunRecord(run).warnings)
    if not said:
        (now,) = found
        assert (now.config, now.environment, now.trials) == (whole.config, whole.environment, whole.trials)
        assert now.records == whole.records or (may_lack and now.records < whole.records)
    return said


@pytest.mark.parametrize("every", [23, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("which", "name"), crossed(BOTH, CHECKED, fast=2))
def test_damage_is_named_wherever_it_is_read(made: Made, folder: Path, which: str, name: str, every: int) -> None:
    run = made.copy(which, folder / "runs")
    whole, path = Shown.of(run), run / name
    content = path.read_bytes()
    assert read(run, whole) == ""
    for label, damaged in damages(name, content, every).items():
        path.write_bytes(damaged)
        said = read(run, whole, may_lack=which == "unfinished" and label.startswith("cut"))
        assert f"{run}/{name}" in said or "written by a" in said or not said, label
    for label, damage in INSTEAD.items():
        damage(path)
        assert f"{run}/{name}" in read(run, whole), label
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(("name", "label"), crossed(READ, ["removed", "junk", "folder"], fast=2))
def test_commands_name_what_is_damaged_and_show_the_rest(made: Made, folder: Path, name: str, label: str) -> None:
    run = made.copy("finished", folder / "runs")
    shutil.copytree(made.finished, folder / "runs" / HEALTHY)
    INSTEAD[label](run / name)
    rows = {row.run: row for row in list_runs(folder / "runs")}
    assert (rows[HEALTHY].state, rows[run.name].state) == ("complete", "damaged")
    assert f"{run}/{name}" in rows[run.name].headline
    warned: list[str] = []
    ((*shown, kept),) = find_together([run.name, HEALTHY], folder / "runs", warned.append)
    assert (kept.path.name, len(shown)) == (HEALTHY, name != "config.yaml")
    assert [f"{run}/{name}" in line for line in warned] == [True]


def test_the_command_line_says_it(made: Made, folder: Path) -> None:
    run = made.copy("finished", folder / "runs")
    content = (run / "curves.csv").read_bytes()
    (run / "curves.csv").write_bytes(content.replace(b"\n1,1,5,", b"\n1,1,5,9"))
    said = f"bnexp: runs/{run.name}/curves.csv: changed or lost since it was written: trial 1 from step 5\n"
    assert in_a_child(folder, "compare") == (0, said)
    (run / "config.yaml").write_bytes(JUNK)
    code, said = in_a_child(folder, "compare")
    assert code == 2
    assert said.endswith("no run is left; bnexp run with its configuration restores one\n")


# The same command restores what it can


@dataclass
class Continued:
    """What `bnexp run` did with a damaged folder."""

    run: Path
    damage: tuple[str, ...]
    """What it says was damaged."""
    trained: list[tuple[int, ...]]
    """The groups it trained, by their trials."""


def continued(made: Made, runs: Path) -> Continued:
    made.replay.trained.clear()
    opened: list[RunSession] = []
    record = runner.run(prepare(tiny(), runs, "cpu"), begin=opened.append)
    return Continued(record.path, opened[0].damage if opened else (), list(made.replay.trained))


def check_restored(made: Made, done: Continued) -> None:
    """It ends as an undisturbed run, with everything in it."""
    assert results(done.run) == made.results
    assert finished_run(done.run)
    assert {path.name for path in made.finished.iterdir()} <= {path.name for path in done.run.iterdir()}


@pytest.mark.parametrize(("which", "name"), crossed(BOTH, TABLES, fast=2))
def test_only_the_group_of_a_damaged_row_is_trained_again(made: Made, folder: Path, which: str, name: str) -> None:
    lines = (getattr(made, which) / name).read_bytes().splitlines(keepends=True)
    for at, line in [*enumerate(lines)][1::3]:
        run = made.copy(which, folder / "runs")
        (run / name).write_bytes(
            b"".join([*lines[:at], line[:-4] + bytes([line[-4] ^ 1]) + line[-3:], *lines[at + 1 :]])
        )
        number = int(line.split(b",")[0])
        done = continued(made, folder / "runs")
        group = FIRST if number in FIRST else SECOND
        assert done.trained == sorted({group, *([SECOND] if which == "unfinished" else [])}, reverse=True)
        (said,) = done.damage
        assert said.startswith(f"{name}: changed or lost since it was written: trial {number}")
        assert said.endswith(f" (kept as {name}.damaged-1)")
        kept = (run / f"{name}.damaged-1").read_bytes().splitlines(keepends=True)
        assert (kept[at] != line, kept[:at] + kept[at + 1 :]) == (True, lines[:at] + lines[at + 1 :])
        check_restored(made, done)


@pytest.mark.parametrize(("which", "name", "label"), crossed(BOTH, READ, sorted(INSTEAD), fast=6))
def test_whatever_stands_in_place_of_a_file_the_run_is_restored(
    made: Made, folder: Path, which: str, name: str, label: str
) -> None:
    run = made.copy(which, folder / "runs")
    INSTEAD[label](run / name)
    done = continued(made, folder / "runs")
    check_restored(made, done)
    lost = [FIRST] if name in TABLES else []
    going_on = [SECOND] if which == "unfinished" or lost else []
    assert done.trained == [*lost, *going_on]
    kept = f" (kept as {name}.damaged-1)" if label != "removed" else ""
    assert [(line.startswith(f"{name}: "), line.endswith(kept)) for line in done.damage] == [(True, True)]


@pytest.mark.parametrize("which", BOTH)
def test_checksums_that_are_damaged_cost_no_more_than_time(made: Made, folder: Path, which: str) -> None:
    content = (getattr(made, which) / "checksums.txt").read_bytes()
    for damaged in (content[:300], content[300:], *(flipped(content, at) for at in range(3, len(content), 211))):
        run = made.copy(which, folder / "runs")
        (run / "checksums.txt").write_bytes(damaged)
        check_restored(made, continued(made, folder / "runs"))
        assert RunRecord(run).warnings == ()


@pytest.mark.parametrize("name", ["summary.csv", "summary.md", "curves.png"])
@pytest.mark.parametrize("label", ["removed", "folder", "pipe", "link"])
def test_a_report_that_is_lost_is_made_again_without_training(made: Made, folder: Path, name: str, label: str) -> None:
    run = made.copy("finished", folder / "runs")
    INSTEAD[label](run / name)
    done = continued(made, folder / "runs")
    assert (done.trained, (run / name).read_bytes()) == ([], (made.finished / name).read_bytes())
    check_restored(made, done)


@pytest.mark.parametrize("name", ["log.txt", ".owner.json"])
@pytest.mark.parametrize("label", ["removed", "junk"])
def test_notes_for_people_may_be_lost(made: Made, folder: Path, name: str, label: str) -> None:
    run = made.copy("unfinished", folder / "runs")
    INSTEAD[label](run / name)
    done = continued(made, folder / "runs")
    assert (results(done.run), done.damage) == (made.results, ())


def test_what_is_in_the_way_of_the_log_is_moved_away(made: Made, folder: Path) -> None:
    run = made.copy("unfinished", folder / "runs")
    folder_instead(run / "log.txt")
    done = continued(made, folder / "runs")
    assert done.damage == ("log.txt: not a file (kept as log.txt.damaged-1)",)
    check_restored(made, done)


@pytest.mark.parametrize("name", [".owner.json", ".lock", "checkpoints/group-000.safetensors"])
def test_a_folder_in_the_way_of_a_file_is_named(made: Made, folder: Path, name: str) -> None:
    run = made.copy("unfinished", folder / "runs")
    folder_instead(run / name)
    before = (run / "curves.csv").read_bytes()
    with pytest.raises(BnexpError) as error:
        continued(made, folder / "runs")
    reason = f"{run}: {Path(name).name}: Is a directory; the same command continues once that is solved"
    assert (error.value.exit_code, str(error.value)) == (1, reason)
    assert (run / "curves.csv").read_bytes() == before


# Checkpoints


@pytest.mark.parametrize(("which", "name"), [("unfinished", "group-000"), ("finished", "weights-001-15")])
def test_no_damaged_state_is_ever_used(made: Made, folder: Path, which: str, name: str) -> None:
    run = made.copy(which, folder / "runs")
    path, checkpoints = run / "checkpoints" / f"{name}.safetensors", Checkpoints(run)
    content = path.read_bytes()

    def usable() -> bool:
        numbers = [number for each in checkpoints.kept() for number in each.trials]
        return checkpoints.load(0) is not None if name.startswith("group") else numbers.count(1) == 1

    assert usable()
    for at in range(3, len(content), len(content) // 60):
        for damaged in (flipped(content, at), content[:at]):
            path.write_bytes(damaged)
            assert not usable()
    for damage in INSTEAD.values():
        damage(path)
        assert not usable()
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("label", ["removed", "pipe", "junk"])
def test_a_damaged_checkpoint_only_costs_time(made: Made, folder: Path, label: str) -> None:
    run = made.copy("unfinished", folder / "runs")
    INSTEAD[label](run / "checkpoints" / "group-000.safetensors")
    done = continued(made, folder / "runs")
    assert done.trained == [SECOND]
    check_restored(made, done)


# What is said


@pytest.mark.parametrize(
    ("name", "label", "said"),
    [
        ("trials.csv", "removed", "trials.csv: missing\n"),
        ("curves.csv", "junk", "curves.csv: the first line is not as it was written (kept as curves.csv.damaged-1)\n"),
        ("config.yaml", "junk", "config.yaml: changed since it was written (kept as config.yaml.damaged-1)\n"),
    ],
)
def test_the_command_says_what_was_damaged_and_where_it_is_kept(
    made: Made, folder: Path, name: str, label: str, said: str
) -> None:
    run = made.copy("finished", folder / "runs")
    INSTEAD[label](run / name)
    assert in_a_child(folder, "run", "exp.yaml", "--quiet") == (0, f"bnexp: runs/{run.name}: {said}")
    check_restored(made, done := continued(made, folder / "runs"))
    assert (done.damage, done.trained) == ((), [])
    assert f" {said}" in (run / "log.txt").read_text()


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (99, "written by a newer bnexp (format 99, this one reads 4); upgrade"),
        (1, "written by an earlier bnexp (format 1, this one reads 2 to 4); train it again with bnexp run --rerun"),
    ],
)
def test_another_format_is_refused_and_left_alone(made: Made, folder: Path, version: int, said: str) -> None:
    run = made.copy("unfinished", folder / "runs")
    path = run / "environment.json"
    rewrite(path, json.dumps(json.loads(path.read_text()) | {"format": version, "new": {"things": [1]}}))
    before = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert in_a_child(folder, "run", "exp.yaml") == (2, f"bnexp: runs/{run.name}: {said}\n")
    with pytest.raises(InputError) as error:
        find_together([run.name], folder / "runs", pytest.fail)
    assert str(error.value).startswith(f"{run}: {said}")
    assert {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
