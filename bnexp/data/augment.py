"""Random changes to training images: flips, crops after reflecting, cut-out squares; whole batches at once.

A step draws one tensor of uniforms in [0, 1) from the stream `augment` for each seed, of shape (5, B): a column
for each image, and the rows in this order, whichever of them the kind uses, so that kinds differ by what they do
and not by what they draw:

===  ==================================================================================
row  decides
===  ==================================================================================
0    the flip: left and right change places below a half
1    the crop's first row, in the image with its reflected border: floor(u · (2·pad + 1))
2    the crop's first column, likewise
3    the row of the cutout's centre: floor(u · H)
4    the column of the cutout's centre: floor(u · W)
===  ==================================================================================

All arms and grid points of a seed see the same images.

Shapes: S distinct seeds, B batch, C channels, H, W, P = C·H·W pixels of a flattened image.
"""

import torch
from jaxtyping import Bool, Float, Int64, Real
from torch import Tensor

from bnexp.config.train import Augment
from bnexp.data.dataset import Dataset
from bnexp.streams import TrialRandom

FLIP, CROP, CUTOUT = 0, slice(1, 3), slice(3, 5)
"""Rows of the uniforms."""


def training_inputs(
    data: Dataset,
    images_SBP: Real[Tensor, "S B P"],
    kind: Augment,
    draws: TrialRandom,
) -> Float[Tensor, "S B P"]:
    """Return a batch of training images as network inputs, changed at random.

    The padding is an eighth of the shorter side (4 pixels of 32) and the cutout's side a half of it (16 of 32), as
    in DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552: its centre may be any pixel, and the border cuts it
    off. It is filled with 0 after normalisation, which under `standard` is the mean. Kind none is `data.inputs`, and
    draws nothing. The images, bytes or whitened floats, are left as they are.
    """
    if kind == "none":
        return data.inputs(images_SBP)
    channels, height, width = data.shape.image
    uniform_S5B = draws.uniform("augment", 5, images_SBP.shape[1])
    source_SBN = _sources(uniform_S5B, height, width)
    # Bytes move, not floats, and all channels alike.
    images_SBCN = images_SBP.view(*images_SBP.shape[:2], channels, height * width)
    moved_SBCN = images_SBCN.gather(3, source_SBN[:, :, None].expand_as(images_SBCN))
    inputs_SBP = data.inputs(moved_SBCN.flatten(2))
    if kind == "flip_crop_cutout":
        cut_SBN = _cutouts(uniform_S5B, height, width)
        inputs_SBP.view(images_SBCN.shape).masked_fill_(cut_SBN[:, :, None], 0)
    return inputs_SBP


def _sources(uniform_S5B: Float[Tensor, "S 5 B"], height: int, width: int) -> Int64[Tensor, "S B N"]:
    """Return for every place of an image the place, counted row by row, that its pixel comes from."""
    pad = min(height, width) // 8
    first_S2B1 = _whole(uniform_S5B[:, CROP], 2 * pad + 1)[..., None] - pad
    device = uniform_S5B.device
    row_SBH = _reflected(first_S2B1[:, 0] + torch.arange(height, device=device), height)
    column_SBW = _reflected(first_S2B1[:, 1] + torch.arange(width, device=device), width)
    flipped_SB1 = uniform_S5B[:, FLIP, :, None] < 0.5
    column_SBW = torch.where(flipped_SB1, width - 1 - column_SBW, column_SBW)
    return (row_SBH[..., None] * width + column_SBW[:, :, None]).flatten(2)


def _cutouts(uniform_S5B: Float[Tensor, "S 5 B"], height: int, width: int) -> Bool[Tensor, "S B N"]:
    """Return which places are cut out."""
    side, device = min(height, width) // 2, uniform_S5B.device
    row_SB, column_SB = uniform_S5B[:, CUTOUT].unbind(1)
    row_SBH = torch.arange(height, device=device) - (_whole(row_SB, height)[..., None] - side // 2)
    column_SBW = torch.arange(width, device=device) - (_whole(column_SB, width)[..., None] - side // 2)
    rows_SBH, columns_SBW = ((line >= 0) & (line < side) for line in (row_SBH, column_SBW))
    return (rows_SBH[..., None] & columns_SBW[:, :, None]).flatten(2)


def _whole(uniform: Float[Tensor, "*any"], values: int) -> Int64[Tensor, "*any"]:
    """Return whole numbers from 0 to values - 1."""
    # The largest uniform, 1 - 2^-24, times a number rounds to below that number: none is out of range.
    return (uniform * values).long()


def _reflected(place: Int64[Tensor, "*any"], size: int) -> Int64[Tensor, "*any"]:
    """Fold places beyond either end back, the outermost pixel not repeated, as torch's padding mode reflect."""
    last = size - 1
    return last - (last - place.abs()).abs()
