"""A small U-Net (Ronneberger et al. 2015, arXiv:1505.04597) whose last map is averaged: a classifier."""

import torch
from torch import Tensor, nn


def double_conv(features: int, channels: int) -> nn.Sequential:
    """Return two convolutions with batch norm."""
    first = nn.Conv2d(features, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    second = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    return nn.Sequential(*first, *second)


class UNet(nn.Module):
    """Takes images whose sides are multiples of 4 and returns logits."""

    def __init__(self, width: int = 8, num_classes: int = 10):
        super().__init__()
        self.down1, self.down2 = double_conv(1, width), double_conv(width, 2 * width)
        self.bottom = double_conv(2 * width, 4 * width)
        self.up2, self.merge2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2), double_conv(4 * width, 2 * width)
        self.up1, self.merge1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2), double_conv(2 * width, width)
        self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        one = self.down1(images)
        two = self.down2(self.pool(one))
        x = self.up2(self.bottom(self.pool(two)))
        x = self.up1(self.merge2(torch.cat([two, x], 1)))
        logits: Tensor = self.head(self.merge1(torch.cat([one, x], 1))).mean((2, 3))
        return logits
