"""Checkpoints: what goes in comes out, and what is damaged counts as absent."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from bnexp.records import Snapshot
from bnexp.store.checkpoints import Checkpoints

ARRAYS = {
    "network.hidden.0.linear.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7,
    "network.hidden.0.norm.running_mean": np.array([[np.nan, 1e-45], [np.inf, -0.0]], dtype=np.float32),
    "optimizer.count": np.array([[3.0], [3.0]]),
    "diverged": np.array([0, 2**40]),
}
SNAPSHOT = Snapshot((4, 9), 3, 18, 1 / 3, ARRAYS)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    (tmp_path / "checkpoints").mkdir()
    return Checkpoints(tmp_path)


@pytest.fixture
def file(tmp_path: Path, checkpoints: Checkpoints) -> Path:
    """A checkpoint of group 2 on disk."""
    checkpoints.save(2, SNAPSHOT)
    return tmp_path / "checkpoints" / "group-002.safetensors"


@pytest.mark.usefixtures("file")
def test_a_snapshot_comes_back_to_the_bit(checkpoints: Checkpoints) -> None:
    found = checkpoints.load(2)
    assert found is not None
    assert (found.trials, found.epoch, found.step, found.seconds) == ((4, 9), 3, 18, 1 / 3)
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.arrays.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in ARRAYS.items()
    }


@pytest.mark.usefixtures("file")
def test_groups_have_checkpoints_of_their_own(checkpoints: Checkpoints) -> None:
    assert checkpoints.load(1) is None
    assert checkpoints.load(2) is not None


def test_a_later_checkpoint_replaces_the_earlier_one(checkpoints: Checkpoints, file: Path) -> None:
    checkpoints.save(2, Snapshot((9,), 4, 24, 0.5, {"x": np.ones((1, 2))}))
    found = checkpoints.load(2)
    assert found is not None
    assert (found.trials, found.step, list(found.arrays)) == ((9,), 24, ["x"])
    assert list(file.parent.iterdir()) == [file]


def test_a_dropped_checkpoint_is_gone_and_may_be_dropped_again(checkpoints: Checkpoints, file: Path) -> None:
    for _ in range(2):
        checkpoints.drop(2)
        assert checkpoints.load(2) is None
    assert list(file.parent.iterdir()) == []


def test_what_is_kept_at_the_end_are_the_networks_under_their_own_names(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.finish(2, SNAPSHOT)
    arrays = load_file(tmp_path / "checkpoints" / "weights-002-18.safetensors")
    assert set(arrays) == {"hidden.0.linear.weight", "hidden.0.norm.running_mean"}
    assert np.array_equal(arrays["hidden.0.linear.weight"], ARRAYS["network.hidden.0.linear.weight"])
    assert checkpoints.load(2) is None


def numbered(step: int, *trials: int) -> Snapshot:
    """A snapshot whose array holds the trials' numbers."""
    return Snapshot(trials, step // 6, step, 0.5, {"x": np.array(trials)})


def test_what_is_unfinished_is_found_by_its_trials_and_the_rest_is_removed(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.save(0, numbered(6, 0, 2, 4))
    checkpoints.save(1, numbered(6, 1, 3))
    (tmp_path / "checkpoints" / "group-7.safetensors").write_bytes(b"damaged")
    found = checkpoints.unfinished([2, 4, 5])
    assert {number: (each.trials, each.arrays["x"].tolist()) for number, each in found.items()} == {0: ((2, 4), [2, 4])}
    assert [path.name for path in (tmp_path / "checkpoints").glob("group-00*")] == ["group-000.safetensors"]


def test_of_two_checkpoints_with_a_trial_the_one_that_got_furthest_counts(checkpoints: Checkpoints) -> None:
    checkpoints.save(0, numbered(6, 0, 2, 4, 6))
    checkpoints.save(4, numbered(12, 4, 6))
    found = checkpoints.unfinished([0, 2, 4, 6])
    assert {number: (each.trials, each.step) for number, each in found.items()} == {0: ((0, 2), 6), 4: ((4, 6), 12)}


def test_a_cut_that_was_stopped_halfway_loses_nothing(checkpoints: Checkpoints) -> None:
    checkpoints.save(0, numbered(6, 0, 2, 4, 6))
    checkpoints.save(4, numbered(6, 4, 6))
    found = checkpoints.unfinished([0, 2, 4, 6])
    assert sorted(trial for each in found.values() for trial in each.trials) == [0, 2, 4, 6]


@pytest.mark.parametrize("name", ["group-x.safetensors", "group-.safetensors"])
def test_files_with_other_names_are_left_alone(checkpoints: Checkpoints, tmp_path: Path, name: str) -> None:
    (tmp_path / "checkpoints" / name).write_bytes(b"")
    assert checkpoints.unfinished([0]) == {}
    assert (tmp_path / "checkpoints" / name).exists()


def test_trials_that_end_at_another_step_have_a_file_of_their_own(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.finish(0, SNAPSHOT.only([4]))
    checkpoints.finish(0, Snapshot((9,), 4, 24, 0.5, ARRAYS).only([9]))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["weights-000-18.safetensors", "weights-000-24.safetensors"]


def test_a_checkpoint_cut_short_anywhere_counts_as_absent(checkpoints: Checkpoints, file: Path) -> None:
    content = file.read_bytes()
    for end in range(len(content)):
        file.write_bytes(content[:end])
        assert checkpoints.load(2) is None


def _spoilt(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new, 1)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"no checkpoint at all\n",
    "zeros": lambda content: bytes(len(content)),
    "longer": lambda content: content + b"\0",
    "not UTF-8": _spoilt(b"network", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9"),
    "trials are no list": _spoilt(b"[4, 9]", b"[4, 9}"),
    "epoch is no number": _spoilt(b'"epoch":"3"', b'"epoch":"x"'),
    "step is missing": _spoilt(b'"step"', b'"stop"'),
    "of another program": lambda content: save({"x": np.ones(2)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_counts_as_absent(checkpoints: Checkpoints, file: Path, damage: str) -> None:
    spoilt = DAMAGES[damage](file.read_bytes())
    assert spoilt != file.read_bytes()
    file.write_bytes(spoilt)
    assert checkpoints.load(2) is None


def test_a_folder_in_its_place_counts_as_absent(checkpoints: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "group-000.safetensors").mkdir()
    assert checkpoints.load(0) is None
    assert checkpoints.unfinished([0]) == {}
