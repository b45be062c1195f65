"""Damage to any file of a run folder: seen and named, never shown as a result, and made good by the same command."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bnexp.errors import BnexpError
from bnexp.plan import run_name
from bnexp.report.run_list import list_runs
from bnexp.report.summary import write_report_files
from bnexp.runner import run as runner
from bnexp.runner.prepare import prepare
from bnexp.runner.resume import RunSession
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.finding import find_runs, find_together
from bnexp.store.reader import RunRecord, finished_run, recorded_groups, whole_png
from tests.helpers import crossed, rewrite
from tests.reliability.faults import (
    EXPERIMENT,
    Made,
    fast_folder,
    in_a_child,
    made_runs,
    message,
    replayed,
    results,
    tiny,
    trained_again,
)

TABLES, DESCRIPTIONS = ("trials.csv", "curves.csv", "probes.csv"), ("config.yaml", "environment.json")
READ = (*TABLES, *DESCRIPTIONS, "checksums.txt")
"""Files that commands read."""
OTHERS = ("summary.csv", "summary.md", "curves.png", "log.txt", ".owner.json", ".lock")
"""Files that no command reads."""
FLIPS, TRUNCATIONS = 7_000, 300
"""At least so many bits are flipped one at a time, and so many files cut off, in files that commands read."""
HEALTHY = "healthy-00000000"
"""Another run in the same folder."""
BOTH = ("finished", "unfinished")

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with made_runs() as made, pytest.MonkeyPatch.context() as patch:
        replayed(patch, made)
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with exp.yaml in it."""
    with fast_folder() as folder:
        (folder / "exp.yaml").write_text(EXPERIMENT)
        yield folder


# Kinds of damage


def written(content: bytes) -> Damage:
    return lambda path: void(path.write_bytes(content))


def void(_: object) -> None:
    """Forget what a call returned."""


def folder_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    (path / "inner").mkdir(parents=True)


def pipe_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def loop_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


JUNK = bytes(range(256)) * 3 + b"\r\n\x00" + bytes(range(255, -1, -1))
OTHER_CONTENT = {
    "empty": b"",
    "junk": JUNK,
    "a break": b"\n",
    "a number": b"12\n",
    "a list": b"[1, 2]\n",
    "null": b"null\n",
    "a mapping": b"{}\n",
    "a text": b'"text"\n',
    "deep": b"[" * 100_000,
    "a long number": b"9" * 5_000 + b"\n",
    "commas": b"," * 100 + b"\n",
    "open quotes": b'0,"none,0\n',
    "no UTF-8": b"trial,arm\n\xff\xfe\n",
    "types": b'{"format": "2", "started": 5, "ended": [], "groups": [1, {}]}\n',
}
INSTEAD: dict[str, Damage] = {
    "removed": lambda path: path.unlink(),
    "folder": folder_instead,
    "pipe": pipe_instead,
    "link": link_instead,
    "loop": loop_instead,
    **{name: written(content) for name, content in OTHER_CONTENT.items()},
}
"""What may stand in the place of a file."""


def truncations(content: bytes) -> dict[str, bytes]:
    """The file cut off at 0, in its middle, and at, before and behind every line break."""
    ends = [at + 1 for at, byte in enumerate(content) if byte == 10]
    lengths = {0, len(content) // 2} | {end + more for end in ends for more in (-1, 0, 1)}
    return {f"cut to {length}": content[:length] for length in sorted(lengths) if length < len(content)}


def flipped(content: bytes, at: int) -> bytes:
    """The file with one bit of a byte turned."""
    return content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]


def restored(path: Path, content: bytes) -> None:
    """Put a file back."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(content)


# Never a wrong number


@dataclass(frozen=True)
class Shown:
    """All that commands know of a run."""

    config: Any
    environment: dict[str, Any]
    trials: pd.DataFrame
    curves: pd.DataFrame

    @classmethod
    def of(cls, run: Path) -> "Shown":
        """Read a run, in whatever order its rows are."""
        record = RunRecord(run)
        record.check()
        curves = record.curves.sort_values(["trial", "step"], ignore_index=True)
        return cls(record.config, record.environment, record.trials.sort_values("trial", ignore_index=True), curves)

    def may_show(self, other: "Shown") -> bool:
        """Whether another reading says nothing that this one doesn't; of trials in training it may miss the last."""
        same = (self.config, self.environment) == (other.config, other.environment)
        return same and self.trials.equals(other.trials) and _beginning(self, other.curves)


def _beginning(whole: Shown, curves: pd.DataFrame) -> bool:
    if whole.curves.equals(curves):
        return True
    ended = set(whole.trials.loc[whole.trials["outcome"].notna(), "trial"])
    for trial, rows in whole.curves.groupby("trial"):
        mine = curves[curves["trial"] == trial]
        fewer = rows if trial in ended else rows[: len(mine)]
        if not mine.reset_index(drop=True).equals(fewer.reset_index(drop=True)):
            return False
    return True


def judge(run: Path, whole: Shown) -> bool:
    """Read a run that may be damaged; return whether it is shown, and then as it was."""
    found: list[Any] = []
    for read in (recorded_groups, finished_run, Shown.of):
        if said := message(lambda read=read: found.append(read(run))):
            assert str(run) in said
            return False
    groups, finished, now = found
    assert groups in ([], [[1, 3], [0, 2]])
    assert finished is None or finished.complete
    assert whole.may_show(now)
    return True


@pytest.mark.parametrize(("which", "name"), crossed(BOTH, READ, fast=2))
def test_no_damage_is_ever_shown_as_a_result(made: Made, folder: Path, which: str, name: str) -> None:
    run = made.copy(which, folder / "runs")
    whole, path = Shown.of(run), run / name
    content = path.read_bytes()
    shown = set()
    cut, flips = truncations(content), {f"bit {at}": flipped(content, at) for at in range(len(content))}
    TRIED[which, name] = len(flips), len(cut)
    for label, damaged in {**cut, **flips}.items():
        path.write_bytes(damaged)
        if judge(run, whole):
            shown.add(label)
    for label, damage in INSTEAD.items():
        damage(path)
        assert not judge(run, whole), label
        restored(path, content)
    assert judge(run, whole)
    assert shown <= harmless(which, name, content), shown


TRIED: dict[tuple[str, str], tuple[int, int]] = {}


def test_that_were_as_many_as_is_said() -> None:
    if len(TRIED) < 2 * len(READ):
        pytest.skip("not all of them ran")
    assert sum(flips for flips, _ in TRIED.values()) >= FLIPS
    assert sum(cut for _, cut in TRIED.values()) >= TRUNCATIONS


def harmless(which: str, name: str, content: bytes) -> set[str]:
    """What may happen to a file without a word, since nothing of it is shown otherwise than it was."""
    if name == "checksums.txt":  # checksums of what is no longer in the folder, as it was written over
        return {*truncations(content), *(f"bit {at}" for at in range(len(content)))}
    last = len(content) - 1  # a last line without its break is still being written
    if name == "curves.csv" and which == "unfinished":
        in_training = content.index(b"\n0,0,0,")
        return {f"cut to {length}" for length in range(in_training, len(content))} | {f"bit {last}"}
    return set()


@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize("name", OTHERS)
def test_what_no_command_reads_can_be_anything(made: Made, folder: Path, which: str, name: str) -> None:
    run = made.copy(which, folder / "runs")
    whole, path = Shown.of(run), run / name
    content = path.read_bytes() if path.exists() else b""
    path.touch()
    for damage in INSTEAD.values():
        damage(path)
        assert judge(run, whole)
        restored(path, content)


def test_a_checksum_that_was_lost_is_no_other_rows(made: Made, folder: Path) -> None:
    """Without a line of checksums.txt exactly the row is missed that it stood for, and all behind it in its chain."""
    run = made.copy("finished", folder / "runs")
    lines = (run / "checksums.txt").read_bytes().splitlines(keepends=True)
    whole = Shown.of(run)
    missed = 0
    for at in range(len(lines)):
        (run / "checksums.txt").write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
        missed += not judge(run, whole)
    assert missed >= len(without_header(run, "curves.csv")) + 2 * len(without_header(run, "trials.csv"))


def without_header(run: Path, name: str) -> list[bytes]:
    return (run / name).read_bytes().splitlines()[1:]


@pytest.mark.parametrize("which", BOTH)
def test_a_row_that_is_lost_moved_or_repeated_is_seen(made: Made, folder: Path, which: str) -> None:
    run = made.copy(which, folder / "runs")
    whole, path = Shown.of(run), run / "curves.csv"
    head, *rows = path.read_bytes().splitlines(keepends=True)
    for at, row in enumerate(rows):
        trial = row.split(b",")[0]
        later = [other for other in rows[at + 1 :] if other.split(b",")[0] == trial]
        changed = {"repeated": [*rows[:at], row, *rows[at:]], "again at the end": [*rows, row]}
        if later:
            to = rows.index(later[0])
            changed["moved"] = [*rows[:at], later[0], *rows[at + 1 : to], row, *rows[to + 1 :]]
        if later or trial in (b"1", b"3") or which == "finished":
            changed["lost"] = [*rows[:at], *rows[at + 1 :]]
        for label, found in changed.items():
            path.write_bytes(b"".join([head, *found]))
            assert not judge(run, whole), (label, row)


# Other runs in the same folder


SELECTED = ("removed", "folder", "pipe", "link", "junk", "empty", "a list", "types", "deep")


def with_a_healthy_one(made: Made, which: str, runs: Path) -> Path:
    """A folder with the run in it that is to be damaged, and another; return the first."""
    run = made.copy(which, runs)
    shutil.copytree(made.finished, runs / HEALTHY)
    return run


@pytest.mark.parametrize(("which", "name"), crossed(BOTH, READ, fast=2))
def test_a_damaged_run_is_listed_as_that_and_hides_no_other(made: Made, folder: Path, which: str, name: str) -> None:
    run = with_a_healthy_one(made, which, folder / "runs")
    path, content = run / name, (run / name).read_bytes()
    healthy = {row.run: row for row in list_runs(folder / "runs")}[HEALTHY]
    for label in SELECTED:
        INSTEAD[label](path)
        rows = {row.run: row for row in list_runs(folder / "runs")}
        assert rows.pop(HEALTHY) == healthy
        assert [(row.run, row.state) for row in rows.values()] == [(run.name, "damaged")], label
        assert str(run) in rows[run.name].headline
        warned: list[str] = []
        ((kept,),) = find_together([], folder / "runs", warned.append)
        assert kept.path.name == HEALTHY
        assert [name in line or name == "checksums.txt" for line in warned] == [True]
        restored(path, content)


COMMANDS = [
    *crossed(["compare", "compare --json", "list"], READ, fast=2),
    ("report", "curves.csv"),
    ("report", "config.yaml"),
]


@pytest.mark.parametrize(("words", "name"), COMMANDS)
def test_commands_name_what_is_damaged_and_show_the_rest(made: Made, folder: Path, words: str, name: str) -> None:
    run = with_a_healthy_one(made, "finished", folder / "runs")
    (run / name).write_bytes(JUNK)
    code, said = in_a_child(folder, *words.split())
    if words == "list":
        assert (code, said) == (0, "")
        return
    assert (code, said.count("\n")) == (0, 1), said
    assert said.startswith(f"bnexp: left out: runs/{run.name}/")
    code, said = in_a_child(folder, *words.split(), run.name)
    assert (code, said.count("Traceback")) == (2, 0)
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
    damage = opened[0].damage if opened else ()
    return Continued(record.path, damage, list(made.replay.trained))


def check_restored(made: Made, done: Continued) -> None:
    """It ends as an undisturbed run, with everything in it."""
    assert results(done.run) == made.results
    assert finished_run(done.run)
    assert {path.name for path in made.finished.iterdir()} <= {path.name for path in done.run.iterdir()}


FIRST, SECOND = (1, 3), (0, 2)
"""The groups, in the order in which they train."""


def group_of(line: bytes) -> tuple[int, ...]:
    return FIRST if int(line.split(b",")[0]) in FIRST else SECOND


@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize("name", TABLES)
def test_only_the_group_of_a_damaged_row_is_trained_again(made: Made, folder: Path, which: str, name: str) -> None:
    going_on = [SECOND] if which == "unfinished" else []
    lines = (getattr(made, which) / name).read_bytes().splitlines(keepends=True)
    for at, line in enumerate(lines[1:], 1):
        run = made.copy(which, folder / "runs")
        (run / name).write_bytes(b"".join([*lines[:at], flipped(line, len(line) - 2), *lines[at + 1 :]]))
        done = continued(made, folder / "runs")
        assert done.trained == sorted({group_of(line), *going_on}, reverse=True)
        number = int(line.split(b",")[0])
        what = f"missing or not as it was written: trial {number}"
        if name != "trials.csv":
            what = f"missing or not as they were written: records of trial {number}"
        assert done.damage == (f"{name}: {what} (kept as {name}.damaged-1)",)
        kept = (run / f"{name}.damaged-1").read_bytes().splitlines(keepends=True)
        assert (kept[at] != line, kept[:at] + kept[at + 1 :]) == (True, lines[:at] + lines[at + 1 :])
        check_restored(made, done)


@pytest.mark.parametrize(("which", "name", "label"), crossed(BOTH, READ, sorted(INSTEAD), fast=2))
def test_whatever_stands_in_place_of_a_file_the_run_is_restored(
    made: Made, folder: Path, which: str, name: str, label: str
) -> None:
    run = made.copy(which, folder / "runs")
    INSTEAD[label](run / name)
    done = continued(made, folder / "runs")
    check_restored(made, done)
    nothing_lost = name in DESCRIPTIONS and which == "finished"
    assert done.trained == ([] if nothing_lost else [SECOND] if name in DESCRIPTIONS else [FIRST, SECOND])
    assert any(line.startswith(name) for line in done.damage) or name == "checksums.txt"
    assert done.damage
    if label != "removed" and name != "checksums.txt":
        assert f"kept as {name}.damaged-1" in " ".join(done.damage)
        assert os.path.lexists(run / f"{name}.damaged-1")


@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 11])
def test_checksums_that_are_damaged_cost_no_more_than_time(made: Made, folder: Path, which: str, stride: int) -> None:
    content = (getattr(made, which) / "checksums.txt").read_bytes()
    damaged = [*truncations(content).values(), *(flipped(content, at) for at in range(0, len(content), 7))]
    for each in damaged[::stride]:
        run = made.copy(which, folder / "runs")
        (run / "checksums.txt").write_bytes(each)
        check_restored(made, continued(made, folder / "runs"))


@pytest.mark.parametrize("name", ["summary.csv", "summary.md", "curves.png"])
@pytest.mark.parametrize("label", ["removed", "folder", "pipe", "junk", "empty", "link"])
def test_a_report_that_is_damaged_is_made_again_without_training(
    made: Made, folder: Path, name: str, label: str
) -> None:
    run = made.copy("finished", folder / "runs")
    INSTEAD[label](run / name)
    done = continued(made, folder / "runs")
    assert (done.trained, (run / name).read_bytes()) == ([], (made.finished / name).read_bytes())
    check_restored(made, done)


def test_the_real_report_is_made_again(made: Made, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made.copy("finished", folder / "runs")
    monkeypatch.setattr(runner, "write_report_files", write_report_files)
    names = ("summary.csv", "summary.md", "curves.png")
    for name in names:
        (run / name).write_bytes(flipped((run / name).read_bytes(), 100))
    assert finished_run(run) is None
    trained_again(folder / "runs")
    assert finished_run(run)
    assert {name: (run / name).read_bytes() for name in names} == {
        name: (made.finished / name).read_bytes() for name in names
    }


def test_every_flipped_bit_of_a_picture_is_seen(made: Made) -> None:
    content = (made.finished / "curves.png").read_bytes()
    assert whole_png(content)
    assert [at for at in range(0, len(content), 5) if whole_png(flipped(content, at))] == []
    assert not any(whole_png(content[:length]) for length in range(0, len(content), 11))
    assert not whole_png(content + b"\0")


@pytest.mark.parametrize("name", ["log.txt", ".owner.json"])
@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize("label", ["removed", "junk", "empty", "types"])
def test_notes_for_people_may_be_lost(made: Made, folder: Path, which: str, name: str, label: str) -> None:
    run = made.copy(which, folder / "runs")
    INSTEAD[label](run / name)
    done = continued(made, folder / "runs")
    assert (results(done.run), done.damage) == (made.results, ())


def test_what_is_in_the_way_of_the_log_is_moved_away(made: Made, folder: Path) -> None:
    run = made.copy("unfinished", folder / "runs")
    folder_instead(run / "log.txt")
    done = continued(made, folder / "runs")
    assert done.damage == ("log.txt: not a file (kept as log.txt.damaged-1)",)
    check_restored(made, done)


@pytest.mark.parametrize("name", [".owner.json", ".lock"])
def test_what_is_in_the_way_of_the_lock_is_named(made: Made, folder: Path, name: str) -> None:
    run = made.copy("unfinished", folder / "runs")
    folder_instead(run / name)
    before = (run / "curves.csv").read_bytes()
    with pytest.raises(BnexpError) as error:
        continued(made, folder / "runs")
    assert error.value.exit_code == 1
    reason = f"{run}: {name}: Is a directory; the same command continues once that is mended"
    assert str(error.value) == reason
    assert (run / "curves.csv").read_bytes() == before


# Checkpoints

CHECKPOINT_DAMAGES = 150
"""Of each kind of file with weights or states."""


def checkpoint_damages(content: bytes) -> Iterator[bytes]:
    """A file cut off, or with a bit turned, at evenly spread places, most of its header among them."""
    head = int.from_bytes(content[:8], "little") + 8
    places = sorted({*range(0, head, head // 100), *range(head, len(content), (len(content) - head) // 50)})
    for at in places:
        yield flipped(content, at)
        yield content[:at]


@pytest.mark.parametrize(("which", "name"), [("unfinished", "group-000"), ("finished", "weights-001-15")])
def test_no_damaged_state_is_ever_used(made: Made, folder: Path, which: str, name: str) -> None:
    run = made.copy(which, folder / "runs")
    path = run / "checkpoints" / f"{name}.safetensors"
    content, checkpoints = path.read_bytes(), Checkpoints(run)
    every = list(checkpoint_damages(content))
    assert len(every) >= CHECKPOINT_DAMAGES

    def usable() -> bool:
        numbers = [number for each in checkpoints.weights() for number in each.trials]
        return checkpoints.load(0) is not None if name.startswith("group") else numbers.count(1) == 1

    assert usable()
    for damaged in every:
        path.write_bytes(damaged)
        assert not usable()
    for damage in INSTEAD.values():
        damage(path)
        assert not usable()
        restored(path, content)


@pytest.mark.parametrize("label", sorted({*INSTEAD} - {"folder"}))
def test_a_damaged_checkpoint_only_costs_time(made: Made, folder: Path, label: str) -> None:
    run = made.copy("unfinished", folder / "runs")
    INSTEAD[label](run / "checkpoints" / "group-000.safetensors")
    done = continued(made, folder / "runs")
    assert done.trained == [SECOND]
    check_restored(made, done)


def test_a_folder_in_place_of_a_checkpoint_is_named(made: Made, folder: Path) -> None:
    run = made.copy("unfinished", folder / "runs")
    folder_instead(run / "checkpoints" / "group-000.safetensors")
    with pytest.raises(BnexpError, match=r": group-000\.safetensors: Is a directory; the same command continues"):
        continued(made, folder / "runs")


# What is said


@pytest.mark.parametrize(
    ("name", "label", "said"),
    [
        ("trials.csv", "removed", "trials.csv: missing\n"),
        ("trials.csv", "empty", "trials.csv: the first line is not as it was written (kept as trials.csv.damaged-1)\n"),
        ("curves.csv", "junk", "curves.csv: the first line is not as it was written (kept as curves.csv.damaged-1)\n"),
        ("config.yaml", "junk", "config.yaml: not as it was written (kept as config.yaml.damaged-1)\n"),
        (
            "environment.json",
            "a list",
            "environment.json: not as it was written (kept as environment.json.damaged-1)\n",
        ),
        ("environment.json", "removed", "environment.json: no such file or directory\n"),
    ],
)
def test_the_command_says_what_was_damaged_and_where_it_is_kept(
    made: Made, folder: Path, name: str, label: str, said: str
) -> None:
    run = made.copy("finished", folder / "runs")
    INSTEAD[label](run / name)
    assert in_a_child(folder, "run", "exp.yaml", "--quiet") == (0, f"bnexp: runs/{run.name}: {said}")
    assert results(run) == made.results
    assert in_a_child(folder, "run", "exp.yaml") == (0, "")
    assert f" {said}" in (run / "log.txt").read_text()


def state(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("which", BOTH)
@pytest.mark.parametrize(
    ("version", "said"),
    [
        (4, "written by a newer bnexp (format 4, this one reads 3); upgrade"),
        (99, "written by a newer bnexp (format 99, this one reads 3); upgrade"),
        (1, "written by an earlier bnexp (format 1, this one reads 2 and 3); train it anew with bnexp run --rerun"),
    ],
)
def test_another_format_is_refused_and_left_alone(
    made: Made, folder: Path, which: str, version: int, said: str
) -> None:
    run = with_a_healthy_one(made, which, folder / "runs")
    path = run / "environment.json"
    rewrite(path, json.dumps(json.loads(path.read_text()) | {"format": version, "new": {"things": [1]}}))
    before = state(folder)
    assert in_a_child(folder, "run", "exp.yaml") == (2, f"bnexp: runs/{run.name}: {said}\n")
    assert in_a_child(folder, "compare") == (0, f"bnexp: left out: runs/{run.name}: {said}\n")
    assert in_a_child(folder, "compare", run.name) == (
        2,
        f"bnexp: runs/{run.name}: {said}\nno run is left; bnexp run with its configuration restores one\n",
    )
    states = {row.run: row.state for row in list_runs(folder / "runs")}
    assert states == {HEALTHY: "complete", run.name: "damaged"}
    assert state(folder) == before


def test_a_folder_that_lost_its_configuration_is_still_a_run(made: Made, folder: Path) -> None:
    run = with_a_healthy_one(made, "finished", folder / "runs")
    (run / "config.yaml").unlink()
    assert {each.path.name for each in find_runs(folder / "runs")} == {run.name, HEALTHY}
    assert run.name == run_name(tiny())
