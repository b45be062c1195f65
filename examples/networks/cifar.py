"""Networks of torchvision for images of 32×32 pixels: their first layers are made for pictures of 224×224.

Each first convolution keeps height and width, and where a pooling follows it, that is taken out (as in He et al. 2016,
section 4.2, for CIFAR). All else is torchvision's.
"""

from torch import nn
from torchvision import models


def resnet18(num_classes: int = 10) -> nn.Module:
    """ResNet-18 (He et al. 2016): batch norm behind every convolution."""
    network = models.resnet18(num_classes=num_classes)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def mobilenet_v3_small(num_classes: int = 10) -> nn.Module:
    """MobileNetV3 (Howard et al. 2019): batch norm with depthwise convolutions."""
    network = models.mobilenet_v3_small(num_classes=num_classes)
    network.features[0][0] = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    return network


def densenet121(num_classes: int = 10) -> nn.Module:
    """DenseNet-121 (Huang et al. 2017): batch norm before the activations that come before the convolutions."""
    network = models.densenet121(num_classes=num_classes)
    network.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.features.pool0 = nn.Identity()
    return network


def convnext_tiny(num_classes: int = 10) -> nn.Module:
    """ConvNeXt (Liu et al. 2022): layer norm over the channels."""
    network = models.convnext_tiny(num_classes=num_classes)
    network.features[0][0] = nn.Conv2d(3, 96, 3, padding=1)
    return network
