"""Which images a trial trains on, and how they are scaled; the record of every data set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from bnexp.config.base import WRITTEN_BY_RUNS, Count, Number, OneOf, Positive, Settings, Size, Spec
from bnexp.config.text import Line

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Scaling = Literal["none", "unit", "center", "standard", "pca_whiten", "zca_whiten"]
WHITENINGS: tuple[Scaling, ...] = ("pca_whiten", "zca_whiten")


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """All that is known of a data set before its files are read. If it has no image size, the files tell it.

    The implementation takes the settings and returns `bnexp.data.raw.RawImages`.
    """

    options: tuple[str, ...] = ()
    """Settings that are read for this set, of those that not all sets read."""
    image: tuple[int, int, int] | None = None
    """C, H, W of every image."""
    classes: int = 0
    train: int = 0
    """Training images, before validation images are split off."""
    test: int = 0
    pooled: bool = False
    """The test images are a part of one set that nobody split, so that another split has others."""
    torchvision: str = ""
    """Class in `torchvision.datasets` that downloads and reads the set."""
    halves: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"train": True}, {"train": False})
    """Arguments of that class for the training and for the test images."""
    transposed: bool = False
    """Its files hold the images column by column."""
    folder: str = ""
    """Where its files lie in the folder of data sets."""
    files: tuple[str, ...] = ()
    """Names of the files that are read."""


_KINDS = ("images-idx3", "labels-idx1")
_MNIST = DatasetSpec(
    "bnexp.data.torchvision_sets:read",
    image=(1, 28, 28),
    classes=10,
    train=60_000,
    test=10_000,
    torchvision="MNIST",
    folder="MNIST/raw",
    files=tuple(f"{half}-{kind}-ubyte" for half in ("train", "t10k") for kind in _KINDS),
)
_CIFAR10 = replace(
    _MNIST,
    image=(3, 32, 32),
    train=50_000,
    torchvision="CIFAR10",
    folder="cifar-10-batches-py",
    files=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
)

DATASETS = {
    "digits": DatasetSpec("bnexp.data.raw:read_digits", image=(1, 8, 8), classes=10, train=1437, test=360, pooled=True),
    "mnist": _MNIST,
    "fashion_mnist": replace(_MNIST, torchvision="FashionMNIST", folder="FashionMNIST/raw"),
    "kmnist": replace(_MNIST, torchvision="KMNIST", folder="KMNIST/raw"),
    "emnist": replace(
        _MNIST,
        classes=47,
        train=112_800,
        test=18_800,
        torchvision="EMNIST",
        halves=({"split": "balanced", "train": True}, {"split": "balanced", "train": False}),
        transposed=True,
        folder="EMNIST/raw",
        files=tuple(f"emnist-balanced-{half}-{kind}-ubyte" for half in ("train", "test") for kind in _KINDS),
    ),
    "svhn": replace(
        _CIFAR10,
        train=73_257,
        test=26_032,
        torchvision="SVHN",
        halves=({"split": "train"}, {"split": "test"}),
        folder="",
        files=("train_32x32.mat", "test_32x32.mat"),
    ),
    "cifar10": _CIFAR10,
    "cifar100": replace(
        _CIFAR10, classes=100, torchvision="CIFAR100", folder="cifar-100-python", files=("train", "test", "meta")
    ),
    "image_folder": DatasetSpec("bnexp.data.image_folder:read", options=("root", "digest", "size")),
    "arrays": DatasetSpec("bnexp.data.arrays:read", options=("root", "digest", "channels")),
    "csv": DatasetSpec("bnexp.data.table:read", options=("root", "digest", "label")),
}
"""Every data set by the name that `data.name` takes."""


class DataSettings(Settings):
    """The images and how they are scaled. Short form: the data set's name."""

    main_setting = "name"

    name: Annotated[str, OneOf(DATASETS)] = "mnist"
    """Data set: digits comes with bnexp, image_folder, arrays and csv read your own images or tables, and the others
    are downloaded once."""
    root: Line | None = None
    """Folder of the data; null = the environment variable BNEXP_DATA. For image_folder: a folder with train/<class>/,
    test/<class>/ and, if there are separate validation images, val/<class>/; or with <class>/ alone. For arrays: an
    .npz file with x_train, y_train, x_test, y_test and perhaps x_val, y_val; or with x and y. For csv: a file, or a
    folder with train.csv, test.csv and perhaps val.csv."""
    channels: Literal["first", "last"] | None = None
    """arrays: whether channels come first (N×C×H×W) or last (N×H×W×C); null = the axis with 1 to 4 entries."""
    label: Line | None = None
    """csv: the column that holds the class of each row. All other columns are features."""
    split: Literal["fixed", "per_seed"] = "fixed"
    """per_seed: each seed draws a split of its own, as if it were `split_seed`, so that intervals include the choice of
    the images; fixed = one split for all seeds."""
    split_seed: Size = 0
    """Seed of the random split, which draws the validation images. For digits, arrays with x and y, csv with one file
    and image_folder without train/ and test/, it also draws the test images: a fifth, or `test_size`. 0 = the usual
    split of data sets that come with one."""
    size: Count | None = None
    """image_folder: resize the shorter side of each image to this many pixels, and cut out the square in the middle;
    null = all images must have one size, and keep it."""
    digest: Annotated[Digest | dict[str, Digest] | None, WRITTEN_BY_RUNS] = None
    """arrays, csv: first 16 digits of the SHA-256 of the files; image_folder: of the names and sizes of the images.
    Other data are refused. `bnexp run` fills it in, so that a changed file starts another run. If arms or sweeps name
    other files, it is a mapping from `data.root` to digests."""
    train_size: Size | None = None
    """Number of training images, from the beginning of a fixed order; null = all but the validation images."""
    val_size: Size | None = None
    """Number of validation images, from the end of the same order; null = 5,000, or a tenth where there are fewer than
    20,000 training images. For an image_folder with val/: the first of its images; null = all of them."""
    test_size: Size | None = None
    """Number of test images, from the beginning; null = all, 0 = none."""
    normalize: Scaling = "standard"
    """Scaling of the pixels: none (0 to 255), unit (minimum and maximum to 0 and 1), center (the mean of each pixel
    is subtracted), standard (zero mean and unit variance per channel); pca_whiten and zca_whiten also remove the
    correlations between pixels, and give principal components (largest variance first) or an image. All are fitted
    on the training images."""
    whiten_eps: Positive = 1e-5
    """pca_whiten, zca_whiten: added to the variance λ of each component before the component is divided by its square
    root. Components in which the training images don't vary (λ up to pixels · 2^-52 of the largest), as at MNIST's
    border, are 0. If other images vary there, pca_whiten leaves them 0 and zca_whiten enlarges them by 1/√eps."""
    feature_scale: dict[Size, Number] = Field(default={})
    """Factors on single pixels after the scaling, by index into C·H·W from 0 (by component under pca_whiten), such as
    `{3: 100.0}`. No product may overflow."""

    def sizes(self, train: int, val: int, test: int) -> tuple[int, int, int]:
        """Return the images to train, to validate and to test on, of a data set with so many; they need not fit.

        If it has no validation images of its own, they are taken from the training images.
        """
        usual = val or (train // 10 if train < 20_000 else 5_000)
        validated = usual if self.val_size is None else self.val_size
        spare = train if val else train - validated
        return (
            spare if self.train_size is None else self.train_size,
            validated,
            test if self.test_size is None else self.test_size,
        )
