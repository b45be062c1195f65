"""The convolutional network of fastai course v3, part 2, notebook 07_batchnorm, with batch norm behind each ReLU."""

from itertools import pairwise

from torch import Tensor, nn


class Net(nn.Module):
    """Five convolutions of stride 2; takes images (batch, 1, 28, 28) and returns logits."""

    def __init__(self, num_classes: int = 10, bias: bool = False):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((1, 8, 16, 32, 64, 64)):
            size = 5 if inputs == 1 else 3
            convolution = nn.Conv2d(inputs, outputs, size, stride=2, padding=size // 2, bias=bias)
            nn.init.kaiming_normal_(convolution.weight, a=0.1)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
            layers += [convolution, nn.ReLU(), nn.BatchNorm2d(outputs)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes): after the last convolution an image is a single place."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
