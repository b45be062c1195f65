"""Networks as users write them, for the tests."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Small(nn.Module):
    """Convolutions with batch norm, a ReLU that serves twice, dropout, a frozen scale and a buffer that is replaced."""

    def __init__(self, width: int = 4, classes: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.relu, self.drop, self.fc = nn.ReLU(), nn.Dropout(0.3), nn.Linear(2 * width, classes)
        self.scale = nn.Parameter(torch.tensor(1.5), requires_grad=False)
        self.register_buffer("passes", torch.zeros(()))

    passes: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes = self.passes + 1
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(F.max_pool2d(x, 2))))
        logits: Tensor = self.fc(self.drop(x.mean((2, 3)) * self.scale))
        return logits


def perceptron(width: int = 8, classes: int = 3, pixels: int = 16) -> nn.Sequential:
    """Return the network that bnexp's own mlp of depth 2 with norm layers before the activation is."""
    layers: list[nn.Module] = [nn.Flatten()]
    for features in (pixels, width):
        layers += [nn.Linear(features, width, bias=False), nn.BatchNorm1d(width), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


class Perceptron(nn.Module):
    """Activates by a function and by layers, with batch norm, layer norm and dropout."""

    def __init__(self, width: int = 6, classes: int = 3, pixels: int = 16):
        super().__init__()
        self.fc1, self.norm1 = nn.Linear(pixels, width, bias=False), nn.BatchNorm1d(width)
        self.fc2, self.norm2 = nn.Linear(width, width), nn.LayerNorm(width)
        self.act, self.drop, self.fc3 = nn.Tanh(), nn.Dropout(0.3), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.fc1(x.view(x.size(0), -1))))
        logits: Tensor = self.fc3(self.drop(self.act(self.norm2(self.fc2(x)))))
        return logits


def group_and_rms_norm(width: int = 6, classes: int = 3, pixels: int = 16) -> nn.Sequential:
    """Return a perceptron with two kinds of norm that take statistics of each image."""
    first = [nn.Linear(pixels, width), nn.GroupNorm(2, width), nn.ReLU()]
    second = [nn.Linear(width, width, bias=False), nn.RMSNorm(width), nn.Tanh()]
    return nn.Sequential(nn.Flatten(), *first, *second, nn.Linear(width, classes))


def vgg11(width: int = 2, classes: int = 3, side: int = 4) -> nn.Sequential:
    """Return VGG-11 for small images, pooled where there is still something to pool."""
    layers: list[nn.Module] = []
    features = 1
    for convolutions, channels in zip(
        (1, 1, 2, 2, 2), (width, 2 * width, *[4 * width, 8 * width, 8 * width]), strict=True
    ):
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            features = channels
        if side > 1:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


class Block(nn.Module):
    """Two convolutions and a shortcut, which halves the image and adds channels of zeros where the block grows."""

    def __init__(self, features: int, channels: int):
        super().__init__()
        self.added = channels - features
        self.conv1 = nn.Conv2d(features, channels, 3, 2 if self.added else 1, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(channels), nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(channels), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added)) if self.added else x
        joined: Tensor = self.relu2(shortcut + self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        return joined


class ResNet8(nn.Sequential):
    """The residual network of He et al. 2016, section 4.2, with one block a stage."""

    def __init__(self, width: int = 2, classes: int = 3):
        stem = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        blocks = Block(width, width), Block(width, 2 * width), Block(2 * width, 4 * width)
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))


class Tokens(nn.Module):
    """Rows of an image as tokens, with layer norm over the last axis and dropout as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.fc = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = F.dropout(torch.relu(self.norm(self.embed(x[:, 0]))), 0.5, self.training)
        logits: Tensor = self.fc(tokens.mean(1))
        return logits


class Backwards(nn.Module):
    """Defines its layers in another order than it calls them, behind a SyncBatchNorm and an RMSNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.rms = nn.Linear(8, 3), nn.RMSNorm(8)
        self.conv, self.sync = nn.Conv2d(1, 8, 3, bias=False), nn.SyncBatchNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.rms(torch.relu(self.sync(self.conv(x))).mean((2, 3))))
        return logits


class Lottery(nn.Linear):
    """Leaves its layer out by chance, and adds noise, with the generators of Python and NumPy; also in evaluation."""

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        logits = super().forward(input.flatten(1))
        return logits * (random.random() < 0.5) + np.random.normal()


class FunctionalNorm(nn.Module):
    """Normalises with a function."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(16, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc2(F.relu(F.batch_norm(self.fc1(x.flatten(1)), None, None, training=True)))
        return logits


class Tied(nn.Module):
    """Uses one matrix in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight


class Broken(nn.Module):
    """Fails when it is made with width 0, and otherwise when data pass."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        if not width:
            raise ValueError("width must be positive\nand more lines")
        self.fc = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.flatten(1))
        return logits


class Growing(nn.Module):
    """Lets a buffer grow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 3)
        self.register_buffer("seen", torch.zeros(0))

    seen: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.seen = torch.cat([self.seen, torch.ones(1)])
        logits: Tensor = self.fc(x.flatten(1))
        return logits


class PaddedConv(nn.Conv2d):
    """Keeps the size of an image by a layer of its own, as some published networks do."""

    def __init__(self) -> None:
        super().__init__(1, 4, 3, bias=False)
        self.pad = nn.ZeroPad2d(1)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.pad(input))


class NormWithActivation(nn.BatchNorm2d):
    """Does more than to normalise."""

    def __init__(self) -> None:
        super().__init__(4)
        self.act = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        activated: Tensor = self.act(super().forward(input))
        return activated


def padded() -> nn.Sequential:
    """Return a network with a convolution that has a layer inside."""
    return nn.Sequential(PaddedConv(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))


def joined() -> nn.Sequential:
    """Return a network with a norm layer that has a layer inside."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), NormWithActivation(), nn.Flatten(), nn.Linear(64, 3))


class Guess(nn.Linear):
    """Returns what no gradient comes back from: the classes, or logits cut off."""

    def __init__(self, cut: bool) -> None:
        super().__init__(16, 3)
        self.cut = cut

    def forward(self, input: Tensor) -> Tensor:
        logits = super().forward(input.flatten(1))
        return logits.detach() if self.cut else logits.argmax(1, keepdim=True).expand(-1, 3)


class Reads(nn.Linear):
    """Looks at a number of its own in each pass."""

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        logits = super().forward(input.flatten(1))
        return logits if logits.isfinite().all() else logits * 0


class Counts(nn.Linear):
    """Counts its passes where neither parameter nor buffer is."""

    def __init__(self) -> None:
        super().__init__(16, 3)
        self.passes = 0

    def forward(self, input: Tensor) -> Tensor:
        self.passes += self.training
        return super().forward(input.flatten(1)) * (1.0 if self.passes < 5 else 0.5)


class NoEvaluation(nn.Linear):
    """Fails in evaluation only."""

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            raise ValueError("no evaluation")
        return super().forward(input.flatten(1))


class Overwrites(nn.Linear):
    """Changes its images in place."""

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.mul_(2).flatten(1))


class Remembers(nn.Linear):
    """Keeps what came out for the next images, on itself."""

    hidden: Tensor | float = 0.0

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        logits = super().forward(input.flatten(1))
        logits, self.hidden = logits + self.hidden, logits.detach()
        return logits


class KeepsToLookAt(nn.Linear):
    """Keeps what came out, and never reads it."""

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        self.last = super().forward(input.flatten(1))
        return self.last


class Chance(nn.Linear):
    """Draws random numbers that nobody seeds."""

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(1)) * random.SystemRandom().random()


class OnGPU(nn.Linear):
    """Moves its images by itself."""

    def __init__(self) -> None:
        super().__init__(16, 3)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(1).cuda())


class Hidden(torch.autograd.Function):
    """An activation that torch doesn't know."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0] > 0)


class HiddenActivation(nn.Module):
    """Has an activation that is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2, self.fc3 = nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc3(Hidden.apply(self.fc2(self.act(self.fc1(x.flatten(1))))))
        return logits


class NormOfTokens(nn.Module):
    """Normalises each token behind a layer whose features are the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.fc = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(torch.relu(self.norm(self.embed(x[:, 0]))).mean(1))
        return logits


class AddsWhatItNormalises(nn.Module):
    """Adds a norm layer's input to its output."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.fc1(x.flatten(1))
        logits: Tensor = self.fc2(torch.relu(self.norm(features) + features))
        return logits


class LargeBatches(nn.Module):
    """Normalises in large batches alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc = nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.size(0), -1)
        logits: Tensor = self.fc(self.norm(x) if len(x) > 1 else x)
        return logits


class Asks(nn.Module):
    """Activates tensors, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x.flatten(1))
        logits: Tensor = self.fc2(F.relu(x) if isinstance(x, Tensor) else x)
        return logits


def cumulative() -> nn.Sequential:
    """Return a network whose batch norm averages over all batches alike."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3, momentum=None))


def hooked() -> nn.Sequential:
    """Return a network with a layer whose output something else changes."""
    network = no_norm()
    network[1].register_forward_hook(lambda layer, inputs, output: output / output.std())
    return network


def mixes_images() -> nn.Sequential:
    """Return a network that takes the columns of a batch for its rows."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Flatten(0), nn.Unflatten(0, (-1, 8)), nn.Linear(8, 3))


def leaves() -> None:
    """End the process."""
    raise SystemExit(3)


def no_norm() -> nn.Sequential:
    """Return a network with nothing to normalise."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def rows_of_tokens() -> nn.Sequential:
    """Return a network that takes the rows of an image as tokens, with layer norm over their last axis."""
    layers = nn.Linear(4, 6, bias=False), nn.LayerNorm(6), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)
    return nn.Sequential(nn.Flatten(1, 2), *layers)


def lazy() -> nn.Sequential:
    """Return a network whose sizes come with the data."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))


def words() -> str:
    """Return no network."""
    return "a network"


number = 3
