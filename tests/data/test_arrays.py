"""Arrays of one's own become images or rows of features, from a file or from Python; what can't is refused by name."""

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bnexp
from bnexp.config.data import DataSettings
from bnexp.data import npz
from bnexp.data.arrays import from_arrays, keep
from bnexp.data.catalog import DataShape, describe
from bnexp.data.dataset import Dataset, load
from bnexp.data.own_files import kept_arrays, pinned
from bnexp.data.raw import RawImages, fixed_order, read_digits
from bnexp.errors import InputError
from bnexp.plan import run_name, trials
from tests.helpers import EXACT_FLOAT64, assert_close, experiment

LABELS = np.array([0, 2, 1, 0, 1, 2, 2, 0])


def features(rows: int = 8, **changed: Any) -> dict[str, Any]:
    """Training rows of three features and two test rows, with some arrays changed or, where they are None, left out."""
    x = np.arange(3.0 * rows).reshape(rows, 3)
    arrays = {"x_train": x, "y_train": LABELS[:rows], "x_test": x[:2], "y_test": LABELS[:2]} | changed
    return {name: array for name, array in arrays.items() if array is not None}


def settings(path: Path | None = None, **others: Any) -> DataSettings:
    return DataSettings(**{"name": "arrays", "root": path and str(path)} | others)


def read(arrays: dict[str, Any], **others: Any) -> RawImages:
    return from_arrays(arrays, settings(**others))


def loaded(path: Path, dtype: torch.dtype = torch.float32, **others: Any) -> Dataset:
    return load(settings(path, **others), torch.device("cpu"), dtype)


def refused(path: Path, **others: Any) -> str:
    with pytest.raises(InputError) as caught:
        loaded(path, **others)
    return str(caught.value).replace(str(path), "FILE")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of rows of features."""
    np.savez(tmp_path / "my.npz", **features())
    return tmp_path / "my.npz"


# What is read.


@pytest.mark.parametrize(
    ("shape", "channels", "image"),
    [
        ((8, 5), None, (5, 1, 1)),
        ((8, 4, 5), None, (1, 4, 5)),
        ((8, 3, 4, 5), None, (3, 4, 5)),
        ((8, 4, 5, 3), "last", (3, 4, 5)),
        ((8, 6, 5, 3), None, (3, 6, 5)),
        ((8, 7, 6, 5), "first", (7, 6, 5)),
    ],
)
def test_channels_stand_where_the_shape_or_the_setting_says(shape, channels, image) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    raw = read(features(x_train=x, x_test=x[:2]), channels=channels)
    raw.check()
    assert raw.shape == DataShape(image, 3, train=8, val=0, test=2)
    last = len(shape) == 4 and shape[3] == image[0]
    expected = x.transpose(0, 3, 1, 2) if last else x.reshape(8, *image)
    assert np.array_equal(raw.train.images_NCHW, expected)


@pytest.mark.parametrize(
    ("labels", "remark"),
    [
        (LABELS, ()),
        (LABELS[:, None].astype(np.uint8), ()),
        (LABELS * 10 - 7, ("classes, from 0: -7, 3, 13",)),
        (np.array(["cat", "dog", "eel"])[LABELS], ("classes, from 0: cat, dog, eel",)),
        (np.array([b"cat", b"dog", b"eel"])[LABELS], ("classes, from 0: cat, dog, eel",)),
    ],
)
def test_labels_of_any_kind_become_numbers_in_their_order(labels, remark) -> None:
    raw = read(features(y_train=labels, y_test=labels[:2]))
    assert raw.train.labels_N.tolist() == LABELS.tolist()
    assert raw.test.labels_N.tolist() == [0, 2]
    assert raw.classes == 3
    assert raw.findings.remarks == remark


def test_a_class_without_test_images_is_warned_of(file: Path) -> None:
    np.savez(file, **features(y_test=np.array([2, 2])))
    assert describe(settings(file, val_size=0)).findings.warnings == ("y_test lacks labels that y_train has: 0, 1",)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_data_set_as_a_file_is_the_same_data_set(save, tmp_path: Path) -> None:
    raw = read_digits(DataSettings(name="digits"))
    (x, y), (x_test, y_test) = raw.train, raw.test
    save(tmp_path / "digits.npz", train_images=x[:, 0], train_labels=y, X_test=x_test[:, 0], y_test=y_test, author="me")
    own, known = loaded(tmp_path / "digits.npz"), load(DataSettings(name="digits"), torch.device("cpu"), torch.float32)
    assert own.shape == known.shape
    assert own.shape.findings.remarks == ("not read: author",)
    for mine, theirs in zip((own.train, own.val, own.test), (known.train, known.val, known.test), strict=True):
        assert torch.equal(own.inputs(mine.images_NP), known.inputs(theirs.images_NP))
        assert torch.equal(mine.labels_N, theirs.labels_N)


def test_floats_are_scaled_feature_by_feature_in_double_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(1e7, 1, 40), rng.normal(0, 1e-9, 40), np.full(40, 0.1), rng.integers(0, 2, 40)], axis=1)
    y = np.tile([0, 1], 20)
    np.savez(tmp_path / "x.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    data = loaded(tmp_path / "x.npz", torch.float64, val_size=0)
    spread = x[:30].std(0)
    spread[2] = 1
    expected = (x - x[:30].mean(0)) / spread
    expected[:, 2] = 0  # exactly, although the mean of many 0.1 is not 0.1
    assert_close(data.inputs(data.train.images_NP), expected[:30], EXACT_FLOAT64 * 1e4)
    assert_close(data.inputs(data.test.images_NP), expected[30:], EXACT_FLOAT64 * 1e4)
    assert (data.train.images_NP[:, 2] == 0).all()
    single = loaded(tmp_path / "x.npz", val_size=0).train.images_NP
    assert_close(single.double(), expected[:30], 1e-6)
    unit = loaded(tmp_path / "x.npz", normalize="unit", val_size=0).train.images_NP
    assert unit.amin(0).tolist() == [0, 0, 0, 0]
    assert unit.amax(0).tolist() == [1, 1, 0, 1]
    assert data.shape.tabular
    assert data.shape.findings.warnings == ("1 of 4 features is constant over the training images: 2",)


def test_rows_sorted_by_class_are_put_in_the_fixed_order_and_others_keep_theirs() -> None:
    x, y = np.arange(120.0)[:, None], np.repeat([0, 1, 2], 40)
    sorted_by_class = read({"x_train": x, "y_train": y, "x_test": x[:5], "y_test": y[:5]})
    assert sorted_by_class.train.images_NCHW.ravel().tolist() == fixed_order(120).tolist()
    assert sorted_by_class.findings.remarks == ("x_train is sorted by class, and was put in a fixed random order",)
    mixed = read({"x_train": x, "y_train": np.tile([0, 1, 2], 40), "x_test": x[:5], "y_test": y[:5]})
    assert mixed.train.images_NCHW.ravel().tolist() == x.ravel().tolist()


def test_arrays_beside_those_that_are_read_are_named() -> None:
    assert read(features(x=LABELS, extra=LABELS)).findings.remarks == ("not read: extra, x",)


def test_x_and_y_alone_are_split_by_seed() -> None:
    x, y = np.arange(50.0)[:, None], np.tile([0, 1], 25)
    first, again, other = (read({"x": x, "y": y}, split_seed=seed) for seed in (0, 0, 1))
    assert (first.shape.train, first.shape.test) == (40, 10)
    assert np.array_equal(first.test.images_NCHW, again.test.images_NCHW)
    assert not np.array_equal(first.test.images_NCHW, other.test.images_NCHW)
    both = np.concatenate([first.train.images_NCHW, first.test.images_NCHW]).ravel()
    assert sorted(both) == x.ravel().tolist()
    assert (np.concatenate([first.train.labels_N, first.test.labels_N]) == both % 2).all()
    assert read({"x": x, "y": y}, test_size=30).shape.train == 20


# What is refused.


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_test": None}, "x_test is missing; expected x_train, y_train, x_test and y_test (and perhaps"),
        ({"x_val": np.zeros((2, 3))}, "y_val is missing"),
        (
            {"x_train": np.full((8, 3), np.nan)},
            "x_train[0, 0] is nan; 24 values of it are NaN or beyond 3.4e+38; leave",
        ),
        ({"x_test": np.array([[0, 0, 0], [0, np.inf, 0]])}, "x_test[1, 1] is inf; 1 value of it is NaN or beyond"),
        ({"x_train": np.full((8, 3), 1j)}, "x_train is of complex128; expected numbers: uint8 or floats"),
        ({"x_train": np.zeros((8, 0))}, "x_train has the shape (8, 0); expected N×F, N×H×W, N×H×W×C or N×C×H×W"),
        ({"x_train": np.zeros(8)}, "x_train has the shape (8,)"),
        ({"x_test": np.zeros((2, 4))}, "x_test and x_train have the shapes (2, 4) and (8, 3); only N may differ"),
        ({"x_test": np.zeros((2, 3), int)}, "x_test and x_train are of int64 and float64; give both in one way"),
        ({"x_train": np.zeros((7, 3))}, "x_train has 7 rows, and y_train 8 labels; each row needs one"),
        ({"y_train": LABELS / 2}, "y_train is of float64; classes are integers or text: y_train.astype(int), if"),
        (
            {"y_train": np.eye(3)[LABELS]},
            "one label for each image; for one-hot rows, give y_train.argmax(1)",
        ),
        ({"y_train": LABELS * 0}, "y_train holds a single class, 0, and there is nothing to tell apart"),
        ({"y_test": np.array([0, 3])}, "y_test has the label 3, which y_train doesn't have"),
        ({"y_test": np.array(["0", "2"])}, "y_test and y_train are of <U1 and int64; give both in one way"),
    ],
)
def test_arrays_that_nothing_can_be_trained_on(changed, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(features(**changed))


@pytest.mark.parametrize(("shape", "axes"), [((8, 5, 6, 7), "neither the second"), ((8, 3, 5, 3), "both the second")])
def test_channels_that_could_stand_in_two_places_are_asked_for(shape, axes: str) -> None:
    with pytest.raises(ValueError, match=rf"{axes} .*; set data.channels: first or last$"):
        read(features(x_train=np.zeros(shape), x_test=np.zeros((2, *shape[1:]))))


class _Touching:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(file: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    np.savez(file, **features(x_train=np.array([_Touching(ran)], object)))
    assert refused(file).startswith("data.root: x_train of FILE holds Python objects, which could run any program")
    file.write_bytes(pickle.dumps(_Touching(ran)))
    assert refused(file).startswith("data.root: FILE is not an .npz file, or a damaged one (File is not a zip file)")
    assert not ran.exists()


def _claiming(path: Path, shape: tuple[int, ...], content: bytes) -> None:
    """Write a file whose training images claim a shape."""
    np.savez(path, **features(x_train=None))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("x_train.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
        member.write(content)


def test_a_file_that_unpacks_to_more_than_fits_is_refused_before_it_is_read(file: Path, monkeypatch) -> None:
    monkeypatch.setattr("bnexp.data.machine.free_memory", lambda device=None: 2**20)
    _claiming(file, (2**21, 4), bytes(2**23))
    assert file.stat().st_size < 20_000
    assert refused(file) == (
        "data.root: the arrays of FILE take 8 MiB, and 1 MiB of memory are free; store fewer or smaller ones, as uint8 "
        "if they are images"
    )


def test_names_in_an_archive_write_no_file_and_move_no_cursor(file: Path) -> None:
    np.savez(file, **features())
    with zipfile.ZipFile(file, "a") as archive:
        for name in ("../../evil.npy", "/tmp/evil.npy", "\x1b[31m.npy", *(f"{number}.npy" for number in range(10_000))):
            archive.writestr(name, b"")
    (remark,) = loaded(file, val_size=0).shape.findings.remarks
    assert remark.startswith("not read: ../../evil, /tmp/evil, \\x1b[31m, 0, 1, ")
    assert remark.endswith(", 8, …")
    assert sorted(path.name for path in file.parent.iterdir() if path.is_file()) == [file.name]


def test_two_arrays_of_one_name_are_refused(file: Path) -> None:
    np.savez(file, **features(), train_images=np.zeros((8, 3)))
    assert "x_train is there twice; the second is called train_images" in refused(file)


def test_a_shape_that_is_not_the_content_s_and_damage_are_refused(file: Path) -> None:
    _claiming(file, (2**50, 2**50), b"12345678")
    assert "claims the shape (1125899906842624, 1125899906842624), but is longer or shorter" in refused(file)
    np.savez(file, **features())
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    assert "FILE is not an .npz file, or a damaged one" in refused(file)
    middle = whole.index(np.arange(24.0).tobytes()) + 8
    file.write_bytes(whole[:middle] + b"\xff" + whole[middle + 1 :])
    assert "Bad CRC-32" in refused(file)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (
            None,
            "data.root: null, but arrays reads your own files; set data.root to the file, or give data= to bnexp.run",
        ),
        ("nowhere.npz", f"data.root: {Path.cwd()}/nowhere.npz is not there; name the file that arrays is to read"),
        (".", f"data.root: {Path.cwd()} is not a file; name the file that arrays is to read"),
    ],
)
def test_a_file_that_is_none(root: str | None, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        describe(DataSettings(name="arrays", root=root))


def test_bytes_that_would_take_much_of_the_memory_stay_in_their_file(file: Path, monkeypatch) -> None:
    x = np.random.default_rng(0).integers(0, 256, (8, 4, 5), dtype=np.uint8)
    np.savez(file, **features(x_train=x, x_test=x[:2]))
    before = loaded(file, val_size=0)
    monkeypatch.setattr(npz, "free_memory", lambda: 0)
    arrays, _ = npz.read_npz(file, str)
    assert isinstance(arrays["x_train"], np.memmap)
    assert not arrays["x_train"].flags.writeable
    after = loaded(file, val_size=0)
    assert torch.equal(after.train.images_NP, before.train.images_NP)
    assert torch.equal(after.inputs(after.test.images_NP), before.inputs(before.test.images_NP))


def test_inputs_beyond_floats_are_refused_unless_the_precision_holds_them(file: Path) -> None:
    x = np.tile([[0.0], [1e-20]], (4, 1))
    np.savez(file, x_train=x, y_train=LABELS, x_test=x[:2] + 1e30, y_test=LABELS[:2])
    assert "data.normalize: standard leaves inputs beyond the largest number of float32" in refused(file)
    assert loaded(file, torch.float64).test.images_NP.isfinite().all()
    assert loaded(file, normalize="none").test.images_NP.isfinite().all()
    assert refused(file, normalize="none", feature_scale={0: 1e20}).startswith(
        "data.feature_scale: 1e+20 takes pixel 0"
    )
    assert refused(file, feature_scale={1: 2.0}) == "data.feature_scale: no pixel 1; there are 1 feature, 0 to 0"


# The digest, and arrays from Python.


def test_a_changed_file_is_another_run_and_no_data_of_the_first(file: Path) -> None:
    config = experiment(data={"name": "arrays", "root": str(file)})
    first = pinned(config)
    assert pinned(first) == first
    np.savez(file, **features(rows=7))
    second = pinned(config)
    assert run_name(first) != run_name(second)
    assert describe(second.data).train == 7
    with pytest.raises(
        InputError, match=r"^data\.digest: .*my\.npz has changed: its digest is now .*; put it back as it was"
    ):
        describe(first.data)


def test_an_experiment_over_several_files_has_the_digest_of_each(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, **features(rows=7))
    arms = {"digits": {"data.name": "digits"}, "own": {}, "other": {"data": {"name": "arrays", "root": str(other)}}}
    for changes in ({"arms": arms}, {"grid": {"data.root": [str(file), str(other)]}}):
        config = experiment(data={"name": "arrays", "root": str(file)}, **changes)
        first = pinned(config)
        alone = {each: pinned(experiment(data={"name": "arrays", "root": str(each)})).data for each in (file, other)}
        assert first.data.digest == {str(each): settings.digest for each, settings in alone.items()}
        used = {(trial.settings.data.root, trial.settings.data.digest) for trial in trials(first)}
        own = {(str(each), settings.digest) for each, settings in alone.items()}
        assert used == own | ({(str(file), None)} if "arms" in changes else set())
        assert pinned(first) == first
        np.savez(other, **features(rows=6))
        assert run_name(pinned(config)) != run_name(first)
        changed = next(each.settings.data for each in trials(first) if each.settings.data.root == str(other))
        with pytest.raises(InputError, match=r"^data\.digest: .*other\.npz has changed"):
            describe(changed)
        np.savez(other, **features(rows=7))


def test_two_files_are_two_points_of_a_comparison(file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", **features(rows=8))
    roots = [str(file), str(tmp_path / "other.npz")]
    config = experiment(
        data={"name": "arrays", "root": roots[0]},
        model={"depth": 1, "width": 2},
        grid={"data.root": roots},
        train={"epochs": None, "steps": 1, "batch_size": 4},
        seeds=1,
    )
    run = bnexp.run(config, runs=tmp_path / "runs", workers=1, progress=False)
    compared = run.compare()
    assert set(compared.equal["data.root"]) == {*roots}
    assert compared.overall.empty  # a mean over data sets means nothing


def test_arrays_from_python_are_kept_once_and_found_by_their_digest() -> None:
    given = features()
    four = keep(settings(), tuple(given.values()))
    tensors = keep(settings(), {name: torch.from_numpy(array) for name, array in given.items()})
    lists = keep(settings(), {name.capitalize(): array.tolist() for name, array in given.items()})
    assert four == tensors == lists
    assert describe(four).train == 8
    assert four.digest is not None
    assert os.listdir(kept_arrays()) == [f"{four.digest}.npz"]
    (kept_arrays() / f"{four.digest}.npz").unlink()
    with pytest.raises(InputError, match=r"is gone; call bnexp\.run with the same data= again"):
        describe(four)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 2, 3), "data: 3 arrays; expected (x, y, x_test, y_test), or (x, y)"),
        ((np.zeros((2, 2)), [None, 1]), "data: y holds Python objects; give numbers or text, such as y.astype(float)"),
        ((np.zeros((2, 2)), [0, 0]), "data: y holds a single class, 0, and there is nothing to tell apart"),
    ],
)
def test_what_can_not_be_trained_on_is_not_kept(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        keep(settings(), given)
    assert not kept_arrays().exists()
