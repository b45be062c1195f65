"""The convolutional network of Page's post on batch norm: seven convolutions, batch norm before each ReLU."""

from torch import Tensor, nn


class Net(nn.Module):
    """Eight layers with weights; takes images (batch, 3, 32, 32) and returns logits."""

    def __init__(self, num_classes: int = 10, width: int = 64):
        super().__init__()

        def convolution(inputs: int, outputs: int) -> list[nn.Module]:
            layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            nn.init.kaiming_uniform_(layer.weight)
            return [layer, nn.BatchNorm2d(outputs, affine=False), nn.ReLU()]

        layers = convolution(3, width)
        for stage in range(3):
            channels = width * 2**stage
            layers += [*convolution(channels, 2 * channels), nn.MaxPool2d(2), *convolution(2 * channels, 2 * channels)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(8 * width, num_classes, bias=False)
        nn.init.kaiming_uniform_(self.classifier.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes); the factors are those of the post."""
        pooled = self.features(images / 2**0.5).amax((2, 3))
        logits: Tensor = self.classifier(pooled) * 0.125 / 6**0.5
        return logits
