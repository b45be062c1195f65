"""Checkpoints: what goes in comes out, and what is damaged counts as absent."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from bnexp.records import PREDICTIONS, Snapshot
from bnexp.store.checkpoints import IMAGES, Checkpoints, KeptImages

ARRAYS: dict[str, np.ndarray] = {
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


def furthest(checkpoints: Checkpoints, *trials: int) -> dict[int, tuple[tuple[int, ...], int, list[int]]]:
    """Trials, step and array of what continues some trials, by group."""
    found = checkpoints.furthest(trials, lambda snapshot: True)
    return {number: (each.trials, each.step, each.arrays["x"].tolist()) for number, each in found.items()}


def test_what_continues_some_trials_continues_all_that_were_saved_with_them(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    checkpoints.save(0, numbered(6, 0, 2, 4))
    checkpoints.save(1, numbered(6, 1, 3))
    (tmp_path / "checkpoints" / "group-7.safetensors").write_bytes(b"damaged")
    assert furthest(checkpoints, 2, 4, 5) == {0: ((0, 2, 4), 6, [0, 2, 4])}
    assert checkpoints.numbers == {0, 1, 7}


def test_what_training_can_not_go_on_from_is_left_out(checkpoints: Checkpoints) -> None:
    checkpoints.save(0, numbered(6, 0, 2))
    checkpoints.save(2, numbered(12, 2))
    found = checkpoints.furthest([0, 2], lambda snapshot: snapshot.step < 12)
    assert {number: each.trials for number, each in found.items()} == {0: (0, 2)}


def test_of_two_checkpoints_with_a_trial_the_one_that_got_furthest_counts(checkpoints: Checkpoints) -> None:
    checkpoints.save(0, numbered(6, 0, 2, 4, 6))
    checkpoints.save(4, numbered(12, 4, 6))
    assert furthest(checkpoints, 0, 2, 4, 6) == {0: ((0, 2), 6, [0, 2]), 4: ((4, 6), 12, [4, 6])}


@pytest.mark.parametrize("name", ["group-x.safetensors", "group-.safetensors"])
def test_files_with_other_names_are_left_alone(checkpoints: Checkpoints, tmp_path: Path, name: str) -> None:
    (tmp_path / "checkpoints" / name).write_bytes(b"")
    assert furthest(checkpoints, 0) == {}
    assert checkpoints.numbers == set()


def test_trials_that_end_at_another_step_have_a_file_of_their_own(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.finish(0, SNAPSHOT.only([4]))
    checkpoints.finish(0, Snapshot((9,), 4, 24, 0.5, ARRAYS).only([9]))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["weights-000-18.safetensors", "weights-000-24.safetensors"]


def test_every_bit_of_a_checkpoint_counts(checkpoints: Checkpoints, file: Path) -> None:
    content = file.read_bytes()
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        assert checkpoints.load(2) is None, f"byte {at} of {len(content)}"


def test_weights_are_read_file_by_file_and_damaged_ones_left_out(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for trials, step in (((4,), 18), ((9,), 24)):
        checkpoints.finish(4, Snapshot(trials, 3, step, 0.5, ARRAYS).only(trials))
    assert [(each.trials, each.step) for each in checkpoints.kept()] == [((4,), 18), ((9,), 24)]
    (tmp_path / "checkpoints" / "weights-004-18.safetensors").write_bytes(b"")
    assert [each.trials for each in checkpoints.kept()] == [(9,)]


def test_predictions_are_kept_apart_from_the_weights(checkpoints: Checkpoints) -> None:
    predicted_KN = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
    checkpoints.finish(4, Snapshot((4, 9), 3, 18, 0.5, ARRAYS | {PREDICTIONS: predicted_KN}))
    (weights,) = checkpoints.kept()
    assert set(weights.arrays) == {"hidden.0.linear.weight", "hidden.0.norm.running_mean"}
    found = checkpoints.predictions()
    assert {trial: row.tolist() for trial, row in found.items()} == {4: [1, 2, 3], 9: [4, 5, 6]}


def test_damaged_predictions_are_left_out(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for trials, step in (((4,), 18), ((9,), 24)):
        arrays = ARRAYS | {PREDICTIONS: np.array([[1, 2], [3, 4]], dtype=np.int16)}
        checkpoints.finish(4, Snapshot((4, 9), 3, step, 0.5, arrays).only(trials))
    path = tmp_path / "checkpoints" / "predictions-004-18.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    assert {trial: row.tolist() for trial, row in checkpoints.predictions().items()} == {9: [3, 4]}


def test_kept_images_come_back_or_count_as_absent_where_they_are_damaged(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    assert (checkpoints.has_images, checkpoints.images()) == (False, None)
    kept = KeptImages(np.arange(5, dtype=np.uint8), np.array([1, 4]), np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2))
    checkpoints.keep_images(kept)
    found = checkpoints.images()
    assert found is not None
    for name, array in vars(kept).items():
        assert (vars(found)[name].dtype, vars(found)[name].tolist()) == (array.dtype, array.tolist())
    path = tmp_path / "checkpoints" / IMAGES
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert (checkpoints.has_images, checkpoints.images()) == (True, None)


@pytest.mark.parametrize("content", [b"no checkpoint at all\n", save({"x": np.ones(2)})], ids=["text", "foreign"])
def test_what_is_no_checkpoint_counts_as_absent(checkpoints: Checkpoints, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert checkpoints.load(2) is None
