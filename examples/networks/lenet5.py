"""LeNet-5 (LeCun et al. 1998, figure 2) as it is written today: ReLU, max pooling, batch norm behind convolutions."""

from torch import Tensor, nn


class LeNet5(nn.Module):
    """Takes images of 28×28 pixels and returns logits."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits
