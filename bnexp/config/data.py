"""Which images a trial trains on, and how they are scaled; the record of every data set."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from bnexp.config.base import Number, OneOf, Positive, Settings, Size, Spec
from bnexp.config.text import Line

Scaling = Literal["none", "unit", "standard", "pca_whiten", "zca_whiten"]


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """All that is known of a data set before its files are read. A set without an image size tells it by its files.

    The implementation takes the settings and returns `bnexp.data.raw.RawImages`.
    """

    image: tuple[int, int, int] | None = None
    """C, H, W of every image."""
    classes: int = 0
    train: int = 0
    """Training images, before validation images are split off."""
    test: int = 0
    torchvision: str = ""
    """Class in `torchvision.datasets` that downloads and reads the set."""
    folder: str = ""
    """Where its files lie in the folder of data sets."""
    files: tuple[str, ...] = ()
    """Names of the files that are read."""


_TORCHVISION = "bnexp.data.torchvision_sets:read"
_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")

DATASETS = {
    "digits": DatasetSpec("bnexp.data.digits:read", image=(1, 8, 8), classes=10, train=1437, test=360),
    "mnist": DatasetSpec(
        _TORCHVISION, (1, 28, 28), 10, 60_000, 10_000, torchvision="MNIST", folder="MNIST/raw", files=_IDX_FILES
    ),
    "fashion_mnist": DatasetSpec(
        _TORCHVISION,
        (1, 28, 28),
        10,
        60_000,
        10_000,
        torchvision="FashionMNIST",
        folder="FashionMNIST/raw",
        files=_IDX_FILES,
    ),
    "cifar10": DatasetSpec(
        _TORCHVISION,
        (3, 32, 32),
        10,
        50_000,
        10_000,
        torchvision="CIFAR10",
        folder="cifar-10-batches-py",
        files=_CIFAR10_FILES,
    ),
    "cifar100": DatasetSpec(
        _TORCHVISION,
        (3, 32, 32),
        100,
        50_000,
        10_000,
        torchvision="CIFAR100",
        folder="cifar-100-python",
        files=("train", "test", "meta"),
    ),
    "image_folder": DatasetSpec("bnexp.data.image_folder:read"),
}
"""Every data set by the name that `data.name` takes."""


class DataSettings(Settings):
    """The `data:` section. Short form: the data set's name. Train and validation images come from one fixed order."""

    main_setting = "name"

    name: Annotated[str, OneOf(DATASETS)] = "mnist"
    """Data set; digits is bundled, image_folder reads any tree of images, the others are downloaded once."""
    root: Line | None = None
    """Folder of the files; null = BNEXP_DATA. image_folder: the folder with train/<class>/, test/<class>/ and, if there
    are validation images of their own, val/<class>/."""
    train_size: Size | None = None
    """Train on the first N images of the training order; null = all that validation leaves."""
    val_size: Size | None = None
    """Validate on the last N images of the training order; null = 5000, or a tenth where there are under 20,000. Where
    an image_folder has val/: on the first N of its images; null = all of them."""
    test_size: Size | None = None
    """Test on the first N test images; null = all, 0 = never look at them."""
    normalize: Scaling = "standard"
    """none (0-255), unit (min-max to [0, 1]), standard (zero mean and unit variance per channel), or after standard
    also without correlations between pixels: pca_whiten (principal components, the largest variance first) or
    zca_whiten (still an image). All are fitted on the training images."""
    whiten_eps: Positive = 1e-5
    """pca_whiten, zca_whiten: added to each component's variance λ before its root divides it. Where the training
    images don't vary (λ up to pixels · 2^-52 of the largest), as at MNIST's border, they stay 0. Other images that do
    are enlarged by 1/√eps there by zca_whiten; pca_whiten leaves such components out: they are 0 for every image."""
    feature_scale: dict[Size, Number] = Field(default={})
    """Factors that single pixels (index into C·H·W; under pca_whiten components, from 0) are multiplied with after
    normalisation; none may overflow."""

    def sizes(self, train: int, val: int, test: int) -> tuple[int, int, int]:
        """Return the images to train, to validate and to test on, of a data set with so many; they need not fit.

        Where it has no validation images of its own, they come off the training images.
        """
        usual = val or (train // 10 if train < 20_000 else 5_000)
        validated = usual if self.val_size is None else self.val_size
        spare = train if val else train - validated
        return (
            spare if self.train_size is None else self.train_size,
            validated,
            test if self.test_size is None else self.test_size,
        )
