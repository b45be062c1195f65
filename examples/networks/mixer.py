"""MLP-Mixer (Tolstikhin et al. 2021, arXiv:2105.01601) for images of 8×8 pixels."""

from torch import Tensor, nn


class MixerBlock(nn.Module):
    """Mixes all patches channel by channel, then all channels patch by patch."""

    def __init__(self, patches: int, channels: int, hidden: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.patch_mlp = nn.Sequential(nn.Linear(patches, hidden), nn.GELU(), nn.Linear(hidden, patches))
        self.channel_mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.patch_mlp(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel_mlp(self.norm2(x))


class Mixer(nn.Module):
    """Cuts an image into patches of 2×2 pixels and returns logits."""

    def __init__(self, channels: int = 32, hidden: int = 64, depth: int = 2, num_classes: int = 10):
        super().__init__()
        self.patches = nn.Conv2d(1, channels, 2, stride=2)
        self.blocks = nn.Sequential(*(MixerBlock(16, channels, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.patches(images).flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(1))
