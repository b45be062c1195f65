"""Random damage to run folders: whatever stands in the files, reading ends in what was written or in a message."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bnexp.errors import InputError
from bnexp.plan import trials
from bnexp.records import Snapshot
from bnexp.report.run_list import list_runs
from bnexp.store.checkpoints import Checkpoints
from bnexp.store.finding import find_runs, find_together, newest_runs
from bnexp.store.reader import finished_run, recorded_groups
from bnexp.store.writer import RunWriter
from tests.reliability.faults import Made, fast_folder, made_runs, message, replayed, results, tiny, trained_again
from tests.reliability.test_damaged_folders import Shown

READ_EXAMPLES, CHECKPOINT_EXAMPLES, RESTORED_EXAMPLES, CONTINUED_EXAMPLES = 1_500, 700, 400, 60
EXAMPLES = 2_660
"""Randomly damaged folders in all."""

NAMES = ("config.yaml", "environment.json", "trials.csv", "curves.csv", "checksums.txt")
KINDS = (
    "flip", "delete", "insert", "overwrite", "cut", "swap lines", "repeat a line", "drop a line", "other file",
    "append other file", "take a line of another file", "random bytes", "random text", "digit",
)  # fmt: skip
TEXTS = ("0,none,0,0.1,,,,,,,,,,,,\n", "{}", '{"format": 2}', '{"format": 1e9}', '{"groups": 5}', "a: &a [*a]", "\r\n")

Mutation = tuple[str, int, int, int, bytes]
"""Kind, file, two places, and some bytes."""
mutations = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 9_999), st.integers(0, 9_999), st.binary(max_size=9)
    ),
    min_size=1,
    max_size=4,
)


def fuzz(examples: int) -> settings:
    """The same examples at every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def mutated(content: bytes, other: bytes, mutation: Mutation) -> bytes:
    """A file after some damage; `other` is another file of the folder."""
    kind, _, one, two, some = mutation
    at, to = sorted((one % (len(content) + 1), two % (len(content) + 1)))
    lines = content.splitlines(keepends=True) or [b""]
    i, j = one % len(lines), two % len(lines)
    swapped = list(lines)
    swapped[i], swapped[j] = lines[j], lines[i]
    others = other.splitlines(keepends=True) or [b""]
    return {
        "flip": content[:at] + bytes(byte ^ 1 << two % 8 for byte in content[at : at + 1]) + content[at + 1 :],
        "delete": content[:at] + content[to:],
        "insert": content[:at] + some + content[at:],
        "overwrite": content[:at] + some + content[at + len(some) :],
        "cut": content[:at],
        "swap lines": b"".join(swapped),
        "repeat a line": b"".join([*lines[:i], lines[j], *lines[i:]]),
        "drop a line": b"".join(lines[:i] + lines[i + 1 :]),
        "other file": other,
        "append other file": content + other,
        "take a line of another file": b"".join([*lines[:i], others[two % len(others)], *lines[i + 1 :]]),
        "random bytes": some * (one % 50),
        "random text": TEXTS[one % len(TEXTS)].encode(),
        "digit": content[:at] + b"%d" % (two % 10) + content[at + 1 :],
    }[kind]


class Ground:
    """A run folder that is damaged and put right again for every example."""

    def __init__(self, made: Made, which: str, runs: Path):
        self.made, self.run = made, made.copy(which, runs)
        self.whole = Shown.of(self.run)
        files = [path for path in self.run.rglob("*") if path.is_file()]
        self.files = {str(path.relative_to(self.run)): path.read_bytes() for path in files}

    def damage(self, names: Sequence[str], found: Sequence[Mutation]) -> None:
        """Put the folder right and damage it."""
        now = dict(self.files)
        for mutation in found:
            name, other = (names[number % len(names)] for number in (mutation[1], mutation[1] // len(names)))
            now[name] = mutated(now[name], self.files[other], mutation)
        for name, content in now.items():
            (self.run / name).write_bytes(content)


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with made_runs() as made, pytest.MonkeyPatch.context() as patch:
        replayed(patch, made)
        yield made


@pytest.fixture(scope="module")
def grounds(made: Made) -> Iterator[list[Ground]]:
    """A finished and an unfinished run, each in a folder of its own."""
    with fast_folder() as folder:
        yield [Ground(made, which, folder / which) for which in ("finished", "unfinished")]


def test_these_are_as_many_as_is_said() -> None:
    assert EXAMPLES == READ_EXAMPLES + CHECKPOINT_EXAMPLES + RESTORED_EXAMPLES + CONTINUED_EXAMPLES


@pytest.mark.slow
@fuzz(READ_EXAMPLES)
@given(number=st.integers(0, 1), found=mutations)
def test_reading_ends_in_what_was_written_or_in_a_message(
    grounds: list[Ground], number: int, found: list[Mutation]
) -> None:
    ground = grounds[number]
    ground.damage(NAMES, found)
    run, runs = ground.run, ground.run.parent
    for read in (recorded_groups, finished_run):
        message(lambda read=read: read(run))
    assert [each.path for each in find_runs(runs)] == [each.path for each in newest_runs(runs)] == [run]
    shown: list[Shown] = []
    if said := message(lambda: shown.append(Shown.of(run))):
        assert str(run) in said
        assert [row.state for row in list_runs(runs)] == ["damaged"]
        with pytest.raises(InputError, match="no run is left"):
            find_together([], runs, pytest.fail)
        return
    assert ground.whole.may_show(shown[0])


def the_same(one: Snapshot, other: Snapshot) -> bool:
    arrays = [{name: array.tobytes() for name, array in each.arrays.items()} for each in (one, other)]
    return (one.trials, one.epoch, one.step, arrays[0]) == (other.trials, other.epoch, other.step, arrays[1])


@pytest.mark.slow
@fuzz(CHECKPOINT_EXAMPLES)
@given(number=st.integers(0, 1), found=mutations)
def test_a_state_is_as_it_was_written_or_none(grounds: list[Ground], number: int, found: list[Mutation]) -> None:
    ground = grounds[1]
    whole = Checkpoints(ground.made.unfinished)
    name = ("checkpoints/group-000.safetensors", "checkpoints/weights-001-15.safetensors")[number]
    ground.damage([name], [each for each in found if "other" not in each[0]])
    state, weights = Checkpoints(ground.run).load(0), list(Checkpoints(ground.run).weights())
    (kept,), right = whole.weights(), whole.load(0)
    assert right
    assert state is None or the_same(state, right)
    assert not weights or the_same(weights[0], kept)
    assert (len(weights) == 1) if number == 0 else (state is not None)


@pytest.mark.slow
@fuzz(RESTORED_EXAMPLES)
@given(number=st.integers(0, 1), found=mutations)
def test_restoring_keeps_nothing_but_what_was_written(
    grounds: list[Ground], number: int, found: list[Mutation]
) -> None:
    ground = grounds[number]
    ground.damage(NAMES, found)
    copy = ground.run.parent.with_name("restored") / ground.run.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ground.run, copy)
    groups = [[1, 3], [0, 2]]
    if said := message(lambda: RunWriter.restore(copy, tiny(), trials(tiny()), {"device": "cpu"}, groups).close()):
        assert ": written by a" in said  # of another format
        return
    now = Shown.of(copy)
    assert now.config == ground.whole.config
    rows = set(map(repr, ground.whole.curves.itertuples(index=False)))
    assert set(map(repr, now.curves.itertuples(index=False))) <= rows
    ended = now.trials[now.trials["outcome"].notna()]
    assert ended.equals(ground.whole.trials.loc[ended.index].astype(ended.dtypes))
    for trial in ended["trial"]:
        there, then = (shown.curves[shown.curves["trial"] == trial] for shown in (now, ground.whole))
        assert there.reset_index(drop=True).equals(then.reset_index(drop=True))


@fuzz(CONTINUED_EXAMPLES)
@given(number=st.integers(0, 1), found=mutations)
def test_the_same_command_ends_in_the_undisturbed_result(
    grounds: list[Ground], number: int, found: list[Mutation]
) -> None:
    ground = grounds[number]
    for path in ground.run.glob("*.damaged-*"):
        path.unlink()
    shutil.rmtree(ground.run / "checkpoints")
    (ground.run / "checkpoints").mkdir()
    ground.damage((*NAMES, *(name for name in ground.files if "group" in name)), found)
    if said := message(lambda: trained_again(ground.run.parent)):
        assert ": written by a" in said
        return
    ended, whole = results(ground.run), ground.made.results
    for name in ("trials.csv", "curves.csv"):  # in a run that counts as finished, rows may be in another order
        assert sorted(ended.pop(name)) == sorted(whole[name])
    assert ended == {"weights": whole["weights"]}
    assert finished_run(ground.run)
