"""Which images a trial trains on, and how they are scaled."""

from typing import Literal

from pydantic import Field

from bnexp.config.base import Number, Positive, Settings, Size
from bnexp.config.text import Line

DataName = Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "image_folder"]
Scaling = Literal["none", "unit", "standard", "pca_whiten", "zca_whiten"]


class DataSettings(Settings):
    """The `data:` section. Short form: the data set's name. Train and validation images come from one fixed order."""

    main_setting = "name"

    name: DataName = "mnist"
    """Data set; digits is bundled, image_folder reads any tree of pictures, the others are downloaded once."""
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
    zca_whiten (still a picture). All are fitted on the training images."""
    whiten_eps: Positive = 1e-5
    """pca_whiten, zca_whiten: added to each component's variance λ before its root divides it. Where the training
    images don't vary (λ up to pixels · 2^-52 of the largest), as at MNIST's border, they stay 0. Other images that do
    are enlarged by 1/√eps there by zca_whiten; pca_whiten leaves such components out: they are 0 for every image."""
    feature_scale: dict[Size, Number] = Field(default={})
    """Factors that single pixels (index into C·H·W; under pca_whiten components, from 0) are multiplied with after
    normalisation; none may overflow."""
