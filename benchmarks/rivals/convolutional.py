"""VGG and ResNet in plain PyTorch, and three ways to train one: a plain loop, a tuned one, a DataLoader's."""

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bnexp.config.model import resnet_blocks, vgg_stages

MEAN, SPREAD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
MOMENTUM = 0.9
WARM_UPS = 3

Step = Callable[[Tensor], None]
"""Makes one update from the numbers of a batch's images."""


def vgg(depth: int, widths: tuple[int, ...], norm: bool) -> nn.Sequential:
    """Return a VGG for 32×32 pixels."""
    layers: list[nn.Module] = []
    features = 3
    for convolutions, channels in zip(vgg_stages(depth), widths, strict=True):
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, channels, 3, padding=1, bias=not norm)]
            layers += [nn.BatchNorm2d(channels)] if norm else []
            layers += [nn.ReLU()]
            features = channels
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 10))


class Block(nn.Module):
    """A residual block with BN before each activation and the addition."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        self.missing, self.stride = channels - features, 2 if channels > features else 1
        self.conv1 = nn.Conv2d(features, channels, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum."""
        skip = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.missing)) if self.missing else x
        return F.relu(skip + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def resnet(depth: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Return a ResNet for 32×32 pixels, with BN."""
    channels = [widths[0], *(width for width in widths for _ in range(resnet_blocks(depth)))]
    blocks = [Block(features, wide) for features, wide in pairwise(channels)]
    stem = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


def normalised(images_NCHW: Tensor) -> Tensor:
    """Return images as inputs, the channels last in memory."""
    mean, spread = (images_NCHW.new_tensor(each, dtype=torch.float32)[:, None, None] for each in (MEAN, SPREAD))
    return ((images_NCHW / 255 - mean) / spread).contiguous(memory_format=torch.channels_last)


def plain_step(network: nn.Module, x_NCHW: Tensor, labels_N: Tensor, lr: float) -> Step:
    """Train as a careful user does on a CPU: inputs in memory, the channels last."""
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr, MOMENTUM)

    def step(batch_B: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x_NCHW[batch_B]), labels_N[batch_B]).backward()
        optimizer.step()

    return step


def tuned_step(network: nn.Module, x_NCHW: Tensor, labels_N: Tensor, lr: float, batch_size: int) -> Step:
    """Train as an expert does on a GPU: the data there, bfloat16, the channels last, the step one CUDA graph."""
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr, MOMENTUM, fused=True)
    place_B = torch.zeros(batch_size, dtype=torch.int64, device=x_NCHW.device)

    def update() -> None:
        optimizer.zero_grad()  # to None: the graph writes gradients to the same places each time
        with torch.autocast(x_NCHW.device.type, torch.bfloat16):
            loss = F.cross_entropy(network(x_NCHW[place_B]), labels_N[place_B])
        loss.backward()
        optimizer.step()

    main, side, graph = torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                update()
        main.wait_stream(side)
        with torch.cuda.graph(graph):
            update()

    def step(batch_B: Tensor) -> None:
        place_B.copy_(batch_B)
        graph.replay()

    return step


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images that are turned one by one into tensors, as torchvision's sets do."""

    def __init__(self, images_NHWC: np.ndarray, labels: list[int]):
        from torchvision.transforms import Compose, Normalize, ToTensor  # a second that the other ways don't take

        self.images, self.labels = images_NHWC, labels
        self.transform = Compose([ToTensor(), Normalize(MEAN, SPREAD)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return cast(Tensor, self.transform(Image.fromarray(self.images[index]))), self.labels[index]


def loader_epoch(network: nn.Module, pictures: Pictures, lr: float, batch_size: int, workers: int) -> None:
    """Train an epoch as the tutorials do: a DataLoader, and the loss read after every step."""
    device = next(network.parameters()).device
    optimizer = torch.optim.SGD(network.parameters(), lr, MOMENTUM)
    for x, y in DataLoader(pictures, batch_size, shuffle=True, num_workers=workers, drop_last=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
        loss.item()
