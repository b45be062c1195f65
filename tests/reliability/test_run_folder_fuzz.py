"""Random damage to run folders: whatever stands in the files, it is said, and the same command makes it good."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bnexp.report.listings import list_runs
from bnexp.store.files import CHECKSUMS
from bnexp.store.reader import RunRecord, finished_run, recorded_groups
from tests.reliability.faults import Made, fast_folder, message, replayed, results, trained_again
from tests.reliability.test_damaged_folders import TABLES, Shown, read

READ_EXAMPLES, CONTINUED_EXAMPLES = 400, 60
NAMES = ("config.yaml", "environment.json", "trials.csv", "curves.csv", "probes.csv")
KINDS = ("flip", "delete", "insert", "overwrite", "swap lines", "repeat a line", "drop a line", "other file", "digit")
Mutation = tuple[str, int, int, int, bytes]
"""Kind, file, two places, and some bytes."""
places = st.integers(0, 9_999)
mutations = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 99), places, places, st.binary(max_size=9)), min_size=1, max_size=4
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
    return {
        "flip": content[:at] + bytes(byte ^ 1 << two % 8 for byte in content[at : at + 1]) + content[at + 1 :],
        "delete": content[:at] + content[to:],
        "insert": content[:at] + some + content[at:],
        "overwrite": content[:at] + some + content[at + len(some) :],
        "swap lines": b"".join(swapped),
        "repeat a line": b"".join([*lines[:i], lines[j], *lines[i:]]),
        "drop a line": b"".join(lines[:i] + lines[i + 1 :]),
        "other file": other,
        "digit": content[:at] + b"%d" % (two % 10) + content[at + 1 :],
    }[kind]


class Ground:
    """A run folder that is damaged and put right again for every example."""

    def __init__(self, made: Made, which: str, runs: Path):
        self.made, self.which, self.run = made, which, made.copy(which, runs)
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
def grounds(made: Made) -> Iterator[list[Ground]]:
    """A finished and an unfinished run, each in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch, fast_folder() as folder:
        replayed(patch, made)
        yield [Ground(made, which, folder / which) for which in ("finished", "unfinished")]


@pytest.mark.slow
@fuzz(READ_EXAMPLES)
@given(number=st.integers(0, 1), found=mutations)
def test_reading_ends_in_what_was_written_or_says_that_it_does_not(
    grounds: list[Ground], number: int, found: list[Mutation]
) -> None:
    ground = grounds[number]
    ground.damage(NAMES, found)
    for look in (recorded_groups, finished_run):
        message(lambda look=look: look(ground.run))  # type: ignore[misc]
    said = read(ground.run, ground.whole, may_lack=number == 1)
    assert (list_runs(ground.run.parent)[0].state == "damaged") == bool(said)


@pytest.mark.slow
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
    ground.damage((*NAMES, CHECKSUMS, *(name for name in ground.files if "group" in name)), found)
    if message(lambda: trained_again(ground.run.parent)):
        return  # of another format
    record, whole = RunRecord(ground.run), ground.made.results
    assert (record.warnings, finished_run(ground.run)) == ((), record)
    if "checksums.txt: missing" not in (ground.run / "log.txt").read_text():
        ended = results(ground.run)
        for name in TABLES:  # in a run that counts as finished, rows may be in another order
            assert sorted(ended.pop(name)) == sorted(whole[name])
        assert ended == {"weights": whole["weights"]}
