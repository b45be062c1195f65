"""Downloaded sets: read in file order, damage is named, and a failed download leaves no trace."""

import pickle
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from bnexp.config.data import DATASETS, DataSettings
from bnexp.data.catalog import DataShape, published
from bnexp.data.raw import RawImages
from bnexp.errors import InputError

MNIST = DataSettings(name="mnist")
TINY = DataShape((1, 28, 28), 10, train=7, val=0, test=3)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue in which MNIST has 7 + 3 images and CIFAR-10 10 + 2."""
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], train=7, test=3))
    monkeypatch.setitem(DATASETS, "cifar10", replace(DATASETS["cifar10"], train=10, test=2))


@pytest.fixture
def raw_folder(shared_folder: Path, write_mnist: Callable[..., None], tiny: None) -> Path:
    """The files of that small MNIST."""
    write_mnist(shared_folder / "MNIST" / "raw")
    return shared_folder / "MNIST" / "raw"


def read(data: DataSettings) -> RawImages:
    """Read a set; torchvision takes seconds to import, which workers with other tests do without."""
    from bnexp.data import torchvision_sets

    return torchvision_sets.read(data)


def refused(data: DataSettings = MNIST) -> str:
    with pytest.raises(InputError) as caught:
        read(data)
    return str(caught.value)


def test_real_mnist(real_mnist: str) -> None:
    raw = read(DataSettings(name="mnist", root=real_mnist))
    assert raw.shape == published("mnist")
    assert raw.train.labels_N[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert raw.test.labels_N[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert raw.train.images_NCHW.mean() == pytest.approx(33.318, abs=1e-3)


def test_mnist_files_are_read_in_their_order(raw_folder: Path) -> None:
    raw = read(MNIST)
    assert raw.shape == TINY
    assert raw.train.images_NCHW.tobytes() == (raw_folder / "train-images-idx3-ubyte").read_bytes()[16:]
    assert raw.test.labels_N.tolist() == [0, 1, 2]


def test_cifar_keeps_channels_and_order(shared_folder: Path, tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DATASETS["cifar10"]
    files = [[name, None] for name in source.files[:-1]]
    monkeypatch.setattr("torchvision.datasets.CIFAR10.train_list", files[:5])
    monkeypatch.setattr("torchvision.datasets.CIFAR10.test_list", files[5:])
    monkeypatch.setattr("torchvision.datasets.CIFAR10.meta", {"filename": "batches.meta", "key": "names", "md5": None})
    folder = shared_folder / source.folder
    folder.mkdir(parents=True)
    images_NP = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
    for i, (name, _) in enumerate(files):
        batch = {"data": images_NP[2 * i : 2 * i + 2], "labels": [i, 9 - i]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"names": list("abcdefghij")}))
    raw = read(DataSettings(name="cifar10"))
    assert np.array_equal(raw.train.images_NCHW.reshape(10, 3072), images_NP[:10])
    assert np.array_equal(raw.test.images_NCHW.reshape(2, 3072), images_NP[10:])
    assert raw.train.labels_N.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]


def test_kmnist_and_emnist_are_read_like_mnist_emnist_upright(
    shared_folder: Path, write_mnist: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, names in (("kmnist", ("train", "t10k")), ("emnist", ("emnist-balanced-train", "emnist-balanced-test"))):
        source = DATASETS[name]
        monkeypatch.setitem(DATASETS, name, replace(source, train=50, test=3))
        write_mnist(shared_folder / source.folder, 50, 3, names, source.classes)
        raw = read(DataSettings(name=name))
        assert raw.shape == DataShape((1, 28, 28), source.classes, train=50, val=0, test=3)
        assert raw.train.labels_N[-3:].tolist() == [each % source.classes for each in (47, 48, 49)]
        written = (shared_folder / source.folder / source.files[0]).read_bytes()[16:]
        pixels_NHW = np.frombuffer(written, np.uint8).reshape(50, 28, 28)
        upright_NHW = pixels_NHW.transpose(0, 2, 1) if name == "emnist" else pixels_NHW
        assert np.array_equal(raw.train.images_NCHW[:, 0], upright_NHW)


def test_svhn_has_0_for_the_digit_0(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import SVHN

    source = DATASETS["svhn"]
    monkeypatch.setitem(DATASETS, "svhn", replace(source, train=4, test=2))
    images_NHWC = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    shared_folder.mkdir(parents=True)
    for half, count in (("train", 4), ("test", 2)):
        content = {"X": images_NHWC[:count].transpose(1, 2, 3, 0), "y": np.array([[10], [1], [2], [3]])[:count]}
        savemat(shared_folder / f"{half}_32x32.mat", content)
        monkeypatch.setitem(SVHN.split_list, half, ["", f"{half}_32x32.mat", None])
    raw = read(DataSettings(name="svhn"))
    assert np.array_equal(raw.train.images_NCHW, images_NHWC.transpose(0, 3, 1, 2))
    assert raw.train.labels_N.tolist() == [0, 1, 2, 3]
    assert raw.test.labels_N.tolist() == [0, 1]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _other_magic(path: Path) -> None:
    path.write_bytes(b"\x00\x00\x99\x99" + path.read_bytes()[4:])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage"), [*zip(DATASETS["mnist"].files, [_cut, _other_magic, _empty, _cut], strict=True)]
)
def test_damaged_mnist(raw_folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(raw_folder / name)
    message = refused()
    assert message.startswith(f"data.name: the files of mnist in {raw_folder} are damaged (")
    assert message.endswith("-idx1-ubyte there and run again to download them again")
    assert "damaged ()" not in message


@pytest.mark.parametrize(
    ("labels", "cause"),
    [
        (bytes([0, 0, 8, 1, 0, 0, 0, 6, *range(6)]), "(train labels of int64 and shape (6,), expected int64 and (7,))"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 7, *range(4, 11)]), "(train label 10, expected 0 to 9)"),
    ],
)
def test_labels_that_do_not_fit(raw_folder: Path, labels: bytes, cause: str) -> None:
    (raw_folder / "train-labels-idx1-ubyte").write_bytes(labels)
    assert cause in refused()


class _Touching:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(("name", "place"), [("cifar10", 0), ("cifar100", -1)])
def test_a_pickle_that_is_not_the_published_one_is_never_unpickled(
    shared_folder: Path, tmp_path: Path, name: str, place: int
) -> None:
    source, ran = DATASETS[name], tmp_path / "ran"
    (shared_folder / source.folder).mkdir(parents=True)
    content = pickle.dumps({"data": _Touching(ran)})
    for file in source.files:
        (shared_folder / source.folder / file).write_bytes(content if file == source.files[place] else b"")
    pickle.loads(content)
    assert ran.exists()  # so it would
    ran.unlink()
    message = refused(DataSettings(name=name))
    assert message.startswith(f"data.name: the files of {name} in {shared_folder / source.folder} are damaged (")
    assert not ran.exists()


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_without_a_network(name, shared_folder: Path, tmp_path: Path, no_network: None) -> None:
    source = DATASETS[name]
    message = refused(DataSettings(name=name))
    assert message.startswith(f"data.name: {name} is not in {shared_folder}, and downloading it failed (")
    assert "Name or service not known" in message
    assert "connect to the internet and run the same command again" in message
    assert f"{source.files[0]}, " in message
    assert f"into {shared_folder / source.folder}" in message
    assert f"or set BNEXP_DATA or data.root to a folder that has them in its {source.folder}\n" in message
    assert message.endswith("use data.name=digits, which is bundled")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["data.root", "BNEXP_DATA"])
def test_a_file_is_no_folder(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("BNEXP_DATA", str(file))
    data = DataSettings(name="mnist", root=str(file) if key == "data.root" else None)
    own = "; to read a file of your own, set data.name to arrays (.npz) or csv" if key == "data.root" else ""
    assert refused(data) == f"{key}: {file} is not a folder; set it to the folder that holds the data sets{own}"


def test_download_puts_whole_files_in_place(
    shared_folder: Path, tmp_path: Path, write_mnist: Callable[..., None], tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts = []

    def fetch(self: Any) -> None:
        if self._check_exists():
            return
        timeouts.append(socket.getdefaulttimeout())
        write_mnist(Path(self.raw_folder))
        (Path(self.raw_folder) / "train-images-idx3-ubyte.gz").write_text("the archive, of no more use")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", fetch)
    assert read(MNIST).shape == TINY
    raw_folder = shared_folder / "MNIST" / "raw"
    assert {path.name for path in raw_folder.iterdir()} == set(DATASETS["mnist"].files)
    assert list(tmp_path.iterdir()) == [tmp_path / "shared"]
    assert list(shared_folder.parent.iterdir()) == [shared_folder]
    assert timeouts == [30.0]
    assert socket.getdefaulttimeout() is None
    read(MNIST)
    assert len(timeouts) == 1


def test_download_keeps_files_that_are_there(
    raw_folder: Path, write_mnist: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, missing = raw_folder / "train-images-idx3-ubyte", raw_folder / "t10k-labels-idx1-ubyte"
    kept.write_bytes(kept.read_bytes()[:-1] + b"\x7b")
    missing.unlink()
    monkeypatch.setattr("torchvision.datasets.MNIST.download", lambda self: write_mnist(Path(self.raw_folder)))
    assert read(MNIST).train.images_NCHW.flat[-1] == 0x7B
    assert missing.exists()


def test_an_interrupted_download_leaves_nothing(
    tmp_path: Path, write_mnist: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(self: Any) -> None:
        write_mnist(Path(self.raw_folder))
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.MNIST.download", fetch)
    with pytest.raises(KeyboardInterrupt):
        read(MNIST)
    assert list(tmp_path.iterdir()) == []
